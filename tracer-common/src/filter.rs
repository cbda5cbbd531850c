//! Which connection is looked at.
//!
//! The loader writes one [`Filter`] into the kernel programs' `.rodata`. The verifier sees its
//! fields as constants and removes the code of whatever the filter does not ask for.

use crate::{address::Address, packet::protocol, patched, tuple::Tuple};

/// How many network namespaces can be asked for at once.
pub const MAX_NETNS: usize = 16;

/// A connection, both directions of it, and the network namespaces to look into.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// One end of the connection.
    pub to: Side,
    /// The other end.
    pub from: Side,
    /// IP protocol number, 0 for any. [`protocol::ICMP`] stands for ICMPv6 too.
    pub proto: u32,
    /// How many entries of `netns` count; 0 is the whole node.
    pub netns_len: u32,
    /// Network namespaces, as inode numbers.
    pub netns: [u32; MAX_NETNS],
}

/// What one end of a connection must look like.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// The address.
    pub address: Address,
    /// Which of its bits count.
    pub mask: Address,
    /// 1 if `address` and `mask` count at all.
    pub has_address: u32,
    /// Port in host byte order; 0 for any.
    pub port: u32,
}

impl Filter {
    /// Whether the tuple is one of the connection's, in either direction.
    ///
    /// Not inlined, for the same reason as [`crate::packet::read_layer`].
    #[inline(never)]
    pub fn matches(&self, tuple: &Tuple) -> bool {
        self.matches_protocol(tuple.proto)
            && (self.matches_ends(tuple, &tuple.src, tuple.sport, &tuple.dst, tuple.dport)
                || self.matches_ends(tuple, &tuple.dst, tuple.dport, &tuple.src, tuple.sport))
    }

    /// Whether the network namespace is looked at.
    #[inline(always)]
    pub fn matches_netns(&self, inode: u32) -> bool {
        let len = patched(&self.netns_len);
        if len == 0 {
            return true;
        }
        for (index, wanted) in self.netns.iter().enumerate() {
            if index as u32 >= len {
                break;
            }
            if patched(wanted) == inode {
                return true;
            }
        }
        false
    }

    #[inline(always)]
    fn matches_protocol(&self, proto: u8) -> bool {
        let wanted = patched(&self.proto);
        wanted == 0
            || wanted == u32::from(proto)
            || (wanted == u32::from(protocol::ICMP) && proto == protocol::ICMPV6)
    }

    #[inline(always)]
    fn matches_ends(
        &self,
        tuple: &Tuple,
        from: &Address,
        from_port: u16,
        to: &Address,
        to_port: u16,
    ) -> bool {
        self.to.matches(tuple, to, to_port) && self.from.matches(tuple, from, from_port)
    }
}

impl Side {
    #[inline(always)]
    fn matches(&self, tuple: &Tuple, address: &Address, port: u16) -> bool {
        let wanted = patched(&self.port);
        if wanted != 0 {
            // A later fragment hides its ports: it matches by address alone.
            let port_matches = tuple.has_ports() && wanted == u32::from(port);
            if !port_matches && !tuple.is_later_fragment() {
                return false;
            }
        }
        if patched(&self.has_address) != 0 {
            return address.is_in(&self.address, &self.mask);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    fn side(ip: Option<IpAddr>, bits: u8, port: u16) -> Side {
        let mut side = Side {
            port: port.into(),
            ..Side::default()
        };
        if let Some(ip) = ip {
            side.has_address = 1;
            side.address = ip.into();
            side.mask = Address::mask(ip, bits);
        }
        side
    }

    fn tcp(src: &str, sport: u16, dst: &str, dport: u16) -> Tuple {
        Tuple {
            src: src.parse::<IpAddr>().unwrap().into(),
            dst: dst.parse::<IpAddr>().unwrap().into(),
            sport,
            dport,
            proto: protocol::TCP,
            flags: Tuple::HAS_PORTS,
            reserved: [0; 2],
        }
    }

    fn to(ip: &str, bits: u8, port: u16) -> Filter {
        Filter {
            to: side(Some(ip.parse().unwrap()), bits, port),
            ..Filter::default()
        }
    }

    #[test]
    fn both_directions_match_and_nothing_else() {
        let filter = to("10.244.3.17", 32, 443);
        assert!(filter.matches(&tcp("10.244.1.5", 40000, "10.244.3.17", 443)));
        assert!(filter.matches(&tcp("10.244.3.17", 443, "10.244.1.5", 40000)));
        assert!(!filter.matches(&tcp("10.244.1.5", 443, "10.244.3.17", 40000)));
        assert!(!filter.matches(&tcp("10.244.1.5", 40000, "10.244.3.18", 443)));
        assert!(!filter.matches(&tcp("10.244.1.5", 40000, "10.244.3.17", 444)));
    }

    #[test]
    fn both_ends_must_belong_to_the_same_direction() {
        let mut filter = to("10.0.0.2", 32, 80);
        filter.from = side(Some("10.0.0.1".parse().unwrap()), 32, 0);
        assert!(filter.matches(&tcp("10.0.0.1", 9, "10.0.0.2", 80)));
        assert!(filter.matches(&tcp("10.0.0.2", 80, "10.0.0.1", 9)));
        assert!(!filter.matches(&tcp("10.0.0.3", 9, "10.0.0.2", 80)));
        assert!(!filter.matches(&tcp("10.0.0.1", 80, "10.0.0.2", 9)));
    }

    #[test]
    fn a_later_fragment_matches_by_address_an_icmp_packet_does_not_match_a_port() {
        let filter = to("10.0.0.2", 32, 80);
        let mut fragment = tcp("10.0.0.1", 0, "10.0.0.2", 0);
        fragment.flags = Tuple::LATER_FRAGMENT;
        assert!(filter.matches(&fragment));
        fragment.dst = Address::v4([10, 0, 0, 3]);
        assert!(!filter.matches(&fragment));
        let mut icmp = tcp("10.0.0.1", 0, "10.0.0.2", 0);
        icmp.flags = 0;
        icmp.proto = protocol::ICMP;
        assert!(!filter.matches(&icmp));
    }

    #[test]
    fn icmp_stands_for_both_versions_and_tcp_for_tcp_only() {
        let mut tuple = tcp("fd00::1", 0, "fd00::2", 0);
        tuple.flags = 0;
        tuple.proto = protocol::ICMPV6;
        let filter = |proto: u8| Filter {
            proto: proto.into(),
            ..Filter::default()
        };
        assert!(filter(protocol::ICMP).matches(&tuple));
        assert!(!filter(protocol::TCP).matches(&tuple));
    }

    #[test]
    fn no_netns_is_every_netns() {
        let mut filter = Filter::default();
        assert!(filter.matches_netns(7));
        filter.netns_len = 2;
        filter.netns[..3].copy_from_slice(&[5, 6, 7]);
        assert!(filter.matches_netns(6));
        assert!(!filter.matches_netns(7));
    }

    proptest! {
        #[test]
        fn a_filter_does_not_care_for_the_direction(
            src: [u8; 4], dst: [u8; 4], sport: u16, dport: u16,
            ip: [u8; 4], bits in 0u8..=32, port: u16, proto in prop_oneof![Just(0u32), Just(6), Just(17)],
        ) {
            let filter = Filter { to: side(Some(ip.into()), bits, port), proto, ..Filter::default() };
            let tuple = Tuple {
                src: Address::v4(src), dst: Address::v4(dst), sport, dport,
                proto: protocol::TCP, flags: Tuple::HAS_PORTS, reserved: [0; 2],
            };
            prop_assert_eq!(filter.matches(&tuple), filter.matches(&tuple.reversed()));
        }

        #[test]
        fn the_empty_filter_matches_everything(src: [u8; 16], dst: [u8; 16], sport: u16, dport: u16, proto: u8, flags in 0u8..4) {
            let tuple = Tuple { src: Address::v6(src), dst: Address::v6(dst), sport, dport, proto, flags, reserved: [0; 2] };
            prop_assert!(Filter::default().matches(&tuple));
        }
    }
}
