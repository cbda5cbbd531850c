//! A flow.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    ops::Deref,
};

use tracer_common::tuple::Tuple;

use super::Protocol;

/// An address, and a port where there is one.
pub type SocketAddress = (IpAddr, Option<u16>);

/// An address, with its port where it has one; IPv6 is in brackets then.
#[must_use]
pub fn address((ip, port): SocketAddress) -> String {
    match port {
        Some(port) => SocketAddr::new(ip, port).to_string(),
        None => ip.to_string(),
    }
}

/// A flow as one packet of it shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The IP protocol.
    pub proto: Protocol,
    /// Source address.
    pub src: IpAddr,
    /// Source port; `None` where the protocol has none, or the fragment does not carry it.
    pub sport: Option<u16>,
    /// Destination address.
    pub dst: IpAddr,
    /// Destination port.
    pub dport: Option<u16>,
}

/// The flow of a packet that encapsulates another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Outer {
    /// Its flow.
    pub flow: Flow,
    /// The network identifier of VXLAN or Geneve; `None` where it has none, or that was not seen.
    pub vni: Option<u32>,
}

impl Outer {
    /// The outer packet with these ends, if there is one.
    pub fn new(flow: Option<Flow>, vni: Option<u32>) -> Option<Self> {
        flow.map(|flow| Self { flow, vni })
    }
}

impl From<Flow> for Outer {
    fn from(flow: Flow) -> Self {
        Self { flow, vni: None }
    }
}

impl Deref for Outer {
    type Target = Flow;

    fn deref(&self) -> &Flow {
        &self.flow
    }
}

impl Flow {
    /// The same flow seen from the other end.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self {
            proto: self.proto,
            src: self.dst,
            sport: self.dport,
            dst: self.src,
            dport: self.sport,
        }
    }

    /// The source.
    pub fn source(&self) -> SocketAddress {
        (self.src, self.sport)
    }

    /// The destination.
    pub fn destination(&self) -> SocketAddress {
        (self.dst, self.dport)
    }
}

/// The protocol and both ends; an IPv6 address with a port is in brackets.
impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (address(self.source()), address(self.destination()));
        write!(f, "{} {from} → {to}", self.proto)
    }
}

impl From<&Tuple> for Flow {
    fn from(tuple: &Tuple) -> Self {
        let port = |port| tuple.has_ports().then_some(port);
        Self {
            proto: tuple.proto.into(),
            src: tuple.src.into(),
            sport: port(tuple.sport),
            dst: tuple.dst.into(),
            dport: port(tuple.dport),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_with_a_port_has_brackets() {
        let ip = "fd00::7".parse().expect("an address");
        assert_eq!(address((ip, Some(443))), "[fd00::7]:443");
        assert_eq!(address((ip, None)), "fd00::7");
    }
}
