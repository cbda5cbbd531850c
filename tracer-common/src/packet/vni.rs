//! Network identifiers of tunnels.

use super::{Bytes, Layer, protocol};
use crate::tunnel::Tunnel;

/// Where it is behind the start of the UDP header: VXLAN (RFC 7348) and Geneve (RFC 8926) have it in
/// the same place.
const VNI_AT: u32 = 8 + 4;

/// The network identifier of the tunnel's packet that `outer` is; `None` if its kind has none.
pub(super) fn vni<B: Bytes>(bytes: &B, outer: &Layer) -> Option<u32> {
    let port = (outer.tuple.proto == protocol::UDP).then_some(outer.tuple.dport)?;
    match Tunnel::of_port(port)? {
        Tunnel::Vxlan | Tunnel::Geneve => {}
        _ => return None,
    }
    let [high, middle, low]: [u8; 3] = bytes.load(outer.transport_at + VNI_AT)?;
    Some(u32::from_be_bytes([0, high, middle, low]))
}

#[cfg(test)]
mod tests {
    use crate::{
        packet::{headers, protocol},
        tunnel::Tunnel,
    };

    /// IPv4 and UDP to this port, eight bytes with VNI 0xabcdef, and a packet behind those.
    fn packet(port: u16, inner: &[u8]) -> Vec<u8> {
        let mut bytes = ipv4(protocol::UDP);
        bytes.extend([0x12, 0x34]);
        bytes.extend(port.to_be_bytes());
        bytes.extend([0, 0, 0, 0]);
        // Geneve's inner protocol is Ethernet.
        bytes.extend(match port {
            6081 => [0, 0, 0x65, 0x58],
            _ => [0x08, 0, 0, 0],
        });
        bytes.extend([0xab, 0xcd, 0xef, 0]);
        bytes.extend([0; 12]);
        bytes.extend([0x08, 0]);
        bytes.extend(inner);
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        bytes[2..4].copy_from_slice(&length);
        bytes
    }

    fn ipv4(protocol: u8) -> Vec<u8> {
        let mut bytes = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, protocol, 0, 0];
        bytes.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        bytes
    }

    #[test]
    fn tunnels_over_udp_have_one() {
        let mut inner = ipv4(protocol::UDP);
        inner.extend([0, 53, 0, 53, 0, 8, 0, 0]);
        for tunnel in [Tunnel::Vxlan, Tunnel::Geneve] {
            for port in tunnel.ports() {
                let found = headers(&packet(*port, &inner).as_slice()).unwrap();
                assert!(found.outer.is_some(), "{port}");
                assert_eq!(found.vni, Some(0xab_cdef), "{port}");
            }
        }
    }

    #[test]
    fn a_packet_in_no_tunnel_has_none() {
        let mut plain = ipv4(protocol::UDP);
        plain.extend([0, 53, 0, 53, 0, 8, 0, 0]);
        assert_eq!(headers(&plain.as_slice()).unwrap().vni, None);
        let mut ipip = ipv4(protocol::IPIP);
        ipip.extend(&plain);
        ipip[3] = u8::try_from(ipip.len()).unwrap();
        let found = headers(&ipip.as_slice()).unwrap();
        assert_eq!((found.outer.is_some(), found.vni), (true, None));
    }
}
