//! The services of IPVS in a network namespace, and how many servers each has: `/proc/net/ip_vs`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use super::sysctl::read_if_there;

/// A virtual service (`ipvsadm -Ln`). Those by firewall mark are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IpvsService {
    /// `TCP`, `UDP` or `SCTP`.
    pub(crate) protocol: String,
    /// Its address.
    pub(crate) address: IpAddr,
    /// Its port; 0 for all.
    pub(crate) port: u16,
    /// How many servers it has.
    pub(crate) servers: usize,
    /// How many of them have a weight above 0: only these get new connections.
    pub(crate) weighted: usize,
}

impl IpvsService {
    /// Reads those of the network namespace this thread is in; none if IPVS is not in the kernel.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub(crate) fn read() -> Result<Vec<Self>> {
        let text = read_if_there("/proc/thread-self/net/ip_vs")?;
        Ok(text.as_deref().map(parse).unwrap_or_default())
    }

    /// Whether it takes packets of this protocol to this address and port.
    pub(crate) fn takes(&self, protocol: &str, address: IpAddr, port: Option<u16>) -> bool {
        self.protocol.eq_ignore_ascii_case(protocol)
            && self.address == address
            && (self.port == 0 || Some(self.port) == port)
    }
}

/// `TCP  0A60000A:0050 rr`, and a line `  -> 0A020002:1F90      Masq    1      0          0` for each server.
fn parse(text: &str) -> Vec<IpvsService> {
    let mut services: Vec<IpvsService> = Vec::new();
    let mut is_known = false;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("->"), Some(_)) => {
                let weight = words.nth(1).and_then(|word| word.parse::<i64>().ok());
                let service = services.last_mut().filter(|_| is_known);
                if let (Some(service), Some(weight)) = (service, weight) {
                    service.servers += 1;
                    service.weighted += usize::from(weight > 0);
                }
            }
            (Some(protocol), Some(end)) => {
                let end = socket(end);
                // Servers of what is not known belong to no service before it.
                is_known = end.is_some();
                services.extend(end.map(|(address, port)| IpvsService {
                    protocol: protocol.to_owned(),
                    address,
                    port,
                    servers: 0,
                    weighted: 0,
                }));
            }
            _ => {}
        }
    }
    services
}

/// `0A60000A:0050`, or `[2001:0db8:…]:0050`.
fn socket(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let address = match address.strip_prefix('[') {
        Some(rest) => IpAddr::V6(rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?),
        None if address.len() == 8 => {
            IpAddr::V4(Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?))
        }
        None => return None,
    };
    Some((address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_read_with_their_servers() {
        let text = "\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A60000A:0050 rr
  -> 0A020002:1F90      Masq    1      0          0
  -> 0A020003:1F90      Masq    0      0          0
FWM  00000001 rr
  -> 0A020004:1F90      Masq    1      0          0
UDP  [fd00:0000:0000:0000:0000:0000:0000:0009]:0035 rr
";
        let services = parse(text);
        let [tcp, udp] = &services[..] else {
            panic!("{services:?}");
        };
        assert_eq!((tcp.servers, tcp.weighted), (2, 1));
        assert!(tcp.takes("tcp", IpAddr::from([10, 96, 0, 10]), Some(80)));
        assert!(!tcp.takes("udp", IpAddr::from([10, 96, 0, 10]), Some(80)));
        assert_eq!((udp.servers, udp.port), (0, 53));
        assert!(udp.takes("udp", "fd00::9".parse().unwrap(), Some(53)));
    }
}
