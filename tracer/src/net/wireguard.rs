//! What a WireGuard device is set up with, by generic netlink: its port, and its peers.
//!
//! The kernel's answer also holds the device's keys. They are never read from it.

use std::{io, net::IpAddr, net::SocketAddr};

use ipnet::IpNet;

use super::{
    message::{Attributes, Message, Request, ip, u16_at, u64_at},
    netlink::Netlink,
    subsystem::Subsystem,
};

/// `GENL_ID_CTRL`
const CONTROLLER: u16 = 16;
/// Length of `struct genlmsghdr`.
const FIXED: usize = 4;
/// `CTRL_CMD_GETFAMILY`, in the second version of the controller's messages.
const GET_FAMILY: [u8; FIXED] = [3, 2, 0, 0];
/// `WG_CMD_GET_DEVICE`, in their first version.
const GET_DEVICE: [u8; FIXED] = [0, 1, 0, 0];
/// `WG_GENL_NAME`
const FAMILY: &[u8] = b"wireguard\0";

/// Numbers of include/uapi/linux/{genetlink,wireguard}.h.
mod attr {
    pub(super) const FAMILY_ID: u16 = 1;
    pub(super) const FAMILY_NAME: u16 = 2;
    pub(super) const DEVICE_IFINDEX: u16 = 1;
    pub(super) const DEVICE_LISTEN_PORT: u16 = 6;
    pub(super) const DEVICE_FWMARK: u16 = 7;
    pub(super) const DEVICE_PEERS: u16 = 8;
    pub(super) const PEER_PUBLIC_KEY: u16 = 1;
    pub(super) const PEER_ENDPOINT: u16 = 4;
    pub(super) const PEER_LAST_HANDSHAKE: u16 = 6;
    pub(super) const PEER_ALLOWED_IPS: u16 = 9;
    pub(super) const ALLOWED_IP: u16 = 2;
    pub(super) const ALLOWED_PREFIX: u16 = 3;
}

/// A peer of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WireguardPeer {
    /// By which the parts of a long answer are put together.
    key: Vec<u8>,
    /// Where packets to it go; `None` until it has sent one.
    pub(crate) endpoint: Option<SocketAddr>,
    /// When the last handshake was, in seconds of the node's clock; `None` if there was none.
    pub(crate) last_handshake: Option<u64>,
    /// What it is sent, and what is taken from it.
    pub(crate) allowed: Vec<IpNet>,
}

/// A device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WireguardDevice {
    /// The UDP port that its packets come from.
    pub(crate) port: u16,
    /// Their firewall mark, 0 for none.
    pub(crate) mark: u32,
    pub(crate) peers: Vec<WireguardPeer>,
}

impl WireguardDevice {
    /// Reads a device of the namespace that this thread is in.
    ///
    /// # Errors
    ///
    /// There is no such device, or the kernel cannot be asked without loading a module.
    pub(crate) fn read(ifindex: u32) -> io::Result<Self> {
        // Asked for a family that is not there, the kernel loads the module that has it.
        Subsystem::Wireguard.require()?;
        let netlink = Netlink::generic()?;
        let name = Request::new(CONTROLLER, &GET_FAMILY).with(attr::FAMILY_NAME, FAMILY);
        let family = netlink.ask(&name, |message| {
            let id = message.attributes(FIXED).get(attr::FAMILY_ID)?;
            u16_at(id, 0)
        })??;
        let family = family.ok_or(io::ErrorKind::NotFound)?;
        let request =
            Request::new(family, &GET_DEVICE).with_u32(attr::DEVICE_IFINDEX, Some(ifindex));
        let mut device = Self::default();
        for part in netlink.dump(&request, |message| Some(device_part(message)))? {
            device.add(part);
        }
        Ok(device)
    }

    /// The peer that a packet to this address is sent to: that with the narrowest range that it is in.
    pub(crate) fn peer_of(&self, dst: IpAddr) -> Option<&WireguardPeer> {
        let ranges = self.peers.iter().flat_map(|peer| {
            let allowed = peer.allowed.iter().filter(|net| net.contains(&dst));
            allowed.map(move |net| (net.prefix_len(), peer))
        });
        ranges
            .max_by_key(|(prefix, _)| *prefix)
            .map(|(_, peer)| peer)
    }

    /// A device with many peers comes in several parts, and so may a peer with many ranges: the later
    /// ones lack the figures.
    fn add(&mut self, part: Self) {
        if part.port != 0 {
            (self.port, self.mark) = (part.port, part.mark);
        }
        for peer in part.peers {
            match self.peers.iter_mut().find(|known| known.key == peer.key) {
                Some(known) => {
                    known.endpoint = known.endpoint.or(peer.endpoint);
                    known.last_handshake = known.last_handshake.or(peer.last_handshake);
                    known.allowed.extend(peer.allowed);
                }
                None => self.peers.push(peer),
            }
        }
    }
}

fn device_part(message: &Message<'_>) -> WireguardDevice {
    let all = message.attributes(FIXED);
    let peers = all.inside(attr::DEVICE_PEERS);
    WireguardDevice {
        port: all.u16(attr::DEVICE_LISTEN_PORT).unwrap_or(0),
        mark: all.u32(attr::DEVICE_FWMARK).unwrap_or(0),
        peers: peers
            .iter()
            .filter_map(|(_, bytes)| peer(Attributes(bytes)))
            .collect(),
    }
}

fn peer(all: Attributes<'_>) -> Option<WireguardPeer> {
    let seconds = all
        .get(attr::PEER_LAST_HANDSHAKE)
        .and_then(|at| u64_at(at, 0));
    let allowed = all.inside(attr::PEER_ALLOWED_IPS);
    Some(WireguardPeer {
        key: all.get(attr::PEER_PUBLIC_KEY)?.to_vec(),
        endpoint: all.get(attr::PEER_ENDPOINT).and_then(endpoint),
        last_handshake: seconds.filter(|seconds| *seconds != 0),
        allowed: allowed
            .iter()
            .filter_map(|(_, bytes)| {
                let range = Attributes(bytes);
                let address = range.address(attr::ALLOWED_IP)?;
                IpNet::new(address, range.u8(attr::ALLOWED_PREFIX)?).ok()
            })
            .collect(),
    })
}

/// `struct sockaddr_in` or `struct sockaddr_in6`.
fn endpoint(bytes: &[u8]) -> Option<SocketAddr> {
    let address = match i32::from(u16_at(bytes, 0)?) {
        libc::AF_INET => bytes.get(4..8)?,
        libc::AF_INET6 => bytes.get(8..24)?,
        _ => return None,
    };
    let port = u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]);
    Some(SocketAddr::new(ip(address)?, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct sockaddr_in`: 192.0.2.2, port 51820.
    const ENDPOINT: [u8; 16] = [2, 0, 0xca, 0x6c, 192, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0];

    fn answer(port: Option<u16>, key: u8, seconds: u64, ranges: &[(&str, u8)]) -> Request {
        let mut request = Request::new(0, &[0; FIXED]);
        if let Some(port) = port {
            request = request.with(attr::DEVICE_LISTEN_PORT, &port.to_ne_bytes());
        }
        let handshake = [seconds.to_ne_bytes(), [0; 8]].concat();
        request.nested(attr::DEVICE_PEERS, |peers| {
            peers.nested(0, |mut peer| {
                peer = peer.with(attr::PEER_PUBLIC_KEY, &[key; 32]);
                if port.is_some() {
                    peer = peer
                        .with(attr::PEER_ENDPOINT, &ENDPOINT)
                        .with(attr::PEER_LAST_HANDSHAKE, &handshake);
                }
                peer.nested(attr::PEER_ALLOWED_IPS, |mut allowed| {
                    for (address, prefix) in ranges {
                        allowed = allowed.nested(0, |range| {
                            range
                                .with_address(attr::ALLOWED_IP, address.parse().unwrap())
                                .with(attr::ALLOWED_PREFIX, &[*prefix])
                        });
                    }
                    allowed
                })
            })
        })
    }

    fn device(answers: &[Request]) -> WireguardDevice {
        let mut device = WireguardDevice::default();
        for answer in answers {
            device.add(device_part(&answer.message()));
        }
        device
    }

    #[test]
    fn a_packet_goes_to_the_peer_with_the_narrowest_range() {
        let found = device(&[
            answer(Some(51820), 1, 0, &[("0.0.0.0", 0)]),
            answer(
                Some(51820),
                2,
                1_700_000_000,
                &[("10.21.2.0", 24), ("fd00::", 64)],
            ),
        ]);
        assert_eq!(found.port, 51820);
        let peer = |dst: &str| found.peer_of(dst.parse().unwrap()).map(|peer| peer.key[0]);
        assert_eq!(peer("10.21.2.2"), Some(2));
        assert_eq!(peer("fd00::2"), Some(2));
        assert_eq!(peer("10.21.3.2"), Some(1));
        assert_eq!(peer("fd01::2"), None);
        assert_eq!(found.peers[1].endpoint, "192.0.2.2:51820".parse().ok());
        let handshakes = found.peers.iter().map(|peer| peer.last_handshake);
        assert_eq!(handshakes.collect::<Vec<_>>(), [None, Some(1_700_000_000)]);
    }

    #[test]
    fn a_peer_in_two_parts_is_one() {
        let found = device(&[
            answer(Some(51820), 1, 5, &[("10.0.1.0", 24)]),
            answer(None, 1, 0, &[("10.0.2.0", 24)]),
        ]);
        let [peer] = found.peers.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!(peer.allowed.len(), 2);
        assert_eq!((found.port, peer.last_handshake), (51820, Some(5)));
        assert!(peer.endpoint.is_some());
    }

    #[test]
    fn malformed_endpoints_are_none() {
        for bytes in [&[][..], &[2, 0], &[2, 0, 1], &[2, 0, 0, 1, 192], &[9; 28]] {
            assert_eq!(endpoint(bytes), None);
        }
    }
}
