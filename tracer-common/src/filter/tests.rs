use core::net::IpAddr;

use proptest::{prelude::*, sample::select};

use super::*;
use crate::packet::{segment_ends_v4, segment_ends_v6};

fn side(ip: Option<IpAddr>, bits: u8, port: u16) -> Side {
    let mut side = Side {
        port: port.into(),
        ..Side::default()
    };
    if let Some(ip) = ip {
        side.kind = kind::PREFIX;
        side.address = ip.into();
        side.mask = Address::mask(ip, bits);
    }
    side
}

/// Whether a filter without sets matches; it must not ask for any.
fn asks(filter: &Filter, tuple: &Tuple) -> bool {
    filter.matches(tuple, |member| panic!("{member:?} was asked for"))
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

/// An acknowledgement with these ends.
fn segment(tuple: &Tuple) -> Vec<u8> {
    let (src, dst) = (IpAddr::from(tuple.src), IpAddr::from(tuple.dst));
    let mut packet = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let header = [0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol::TCP, 0, 0];
            [&header[..], &src.octets(), &dst.octets()].concat()
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let header = [0x60, 0, 0, 0, 0, 20, protocol::TCP, 64];
            [&header[..], &src.octets(), &dst.octets()].concat()
        }
        _ => panic!("both of one family"),
    };
    packet.extend(tuple.sport.to_be_bytes());
    packet.extend(tuple.dport.to_be_bytes());
    packet.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 0, 0, 0, 0, 0, 0]);
    packet
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
    assert!(asks(&filter, &tcp("10.244.1.5", 40000, "10.244.3.17", 443)));
    assert!(asks(&filter, &tcp("10.244.3.17", 443, "10.244.1.5", 40000)));
    assert!(!asks(
        &filter,
        &tcp("10.244.1.5", 443, "10.244.3.17", 40000)
    ));
    assert!(!asks(
        &filter,
        &tcp("10.244.1.5", 40000, "10.244.3.18", 443)
    ));
    assert!(!asks(
        &filter,
        &tcp("10.244.1.5", 40000, "10.244.3.17", 444)
    ));
}

#[test]
fn both_ends_must_belong_to_the_same_direction() {
    let mut filter = to("10.0.0.2", 32, 80);
    filter.from = side(Some("10.0.0.1".parse().unwrap()), 32, 0);
    assert!(asks(&filter, &tcp("10.0.0.1", 9, "10.0.0.2", 80)));
    assert!(asks(&filter, &tcp("10.0.0.2", 80, "10.0.0.1", 9)));
    assert!(!asks(&filter, &tcp("10.0.0.3", 9, "10.0.0.2", 80)));
    assert!(!asks(&filter, &tcp("10.0.0.1", 80, "10.0.0.2", 9)));
}

#[test]
fn a_later_fragment_matches_by_address_an_icmp_packet_does_not_match_a_port() {
    let filter = to("10.0.0.2", 32, 80);
    let mut fragment = tcp("10.0.0.1", 0, "10.0.0.2", 0);
    fragment.flags = Tuple::LATER_FRAGMENT;
    assert!(asks(&filter, &fragment));
    fragment.dst = Address::v4([10, 0, 0, 3]);
    assert!(!asks(&filter, &fragment));
    let mut icmp = tcp("10.0.0.1", 0, "10.0.0.2", 0);
    icmp.flags = 0;
    icmp.proto = protocol::ICMP;
    assert!(!asks(&filter, &icmp));
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
    assert!(asks(&filter(protocol::ICMP), &tuple));
    assert!(!asks(&filter(protocol::TCP), &tuple));
}

#[test]
fn nat_changes_neither_the_family_nor_the_protocol() {
    let v4 = tcp("10.0.0.1", 40000, "10.96.0.10", 80);
    let v6 = tcp("fd00::1", 40000, "fd00::96", 80);
    let kept = |filter: &Filter| [&v4, &v6].map(|tuple| filter.may_match_behind_nat(tuple));
    assert_eq!(kept(&to("10.0.0.7", 32, 443)), [true, false]);
    assert_eq!(kept(&to("fd00::7", 128, 443)), [false, true]);
    let by_port = Filter {
        to: side(None, 0, 443),
        ..Filter::default()
    };
    assert_eq!(kept(&by_port), [true, true]);
    let datagrams = Filter {
        proto: protocol::UDP.into(),
        ..by_port
    };
    assert_eq!(kept(&datagrams), [false, false]);
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

/// Sets, as the loader writes them.
#[derive(Default)]
struct Sets(std::collections::HashMap<Member, u32>);

impl Sets {
    fn with(mut self, side: u16, ip: &str, port: Option<u16>) -> Self {
        let address: Address = ip.parse::<IpAddr>().unwrap().into();
        let mut member = Member {
            address,
            port: 0,
            side,
        };
        let all = if port.is_none() {
            ports::ALL
        } else {
            ports::LISTED
        };
        self.0.insert(member, all);
        if let Some(port) = port {
            member.port = port;
            self.0.insert(member, 0);
        }
        self
    }

    fn match_to(&self, tuple: &Tuple) -> bool {
        let to = Side {
            kind: kind::SET,
            ..Side::default()
        };
        let filter = Filter {
            to,
            ..Filter::default()
        };
        filter.matches(tuple, |member| self.0.get(member).copied())
    }
}

#[test]
fn a_set_holds_its_addresses_at_their_ports() {
    let sets = Sets::default()
        .with(Member::TO, "10.96.0.10", Some(80))
        .with(Member::TO, "10.244.1.5", Some(8080))
        .with(Member::TO, "fd00::5", None)
        .with(Member::FROM, "10.0.0.9", None);
    for (dst, dport, matches) in [
        ("10.96.0.10", 80, true),
        ("10.244.1.5", 8080, true),
        ("fd00::5", 9999, true),
        // The ports of one address are not those of another.
        ("10.96.0.10", 8080, false),
        ("10.244.1.5", 80, false),
        ("10.244.1.6", 8080, false),
        // The other side's set is not this side's.
        ("10.0.0.9", 80, false),
    ] {
        let tuple = tcp("192.0.2.1", 4000, dst, dport);
        assert_eq!(sets.match_to(&tuple), matches, "{dst}:{dport}");
        assert_eq!(sets.match_to(&tuple.reversed()), matches, "{dst}:{dport}");
    }
}

#[test]
fn a_set_on_each_side_wants_both_ends_in_one_direction() {
    let sets =
        Sets::default()
            .with(Member::TO, "10.0.0.2", Some(80))
            .with(Member::FROM, "10.0.0.1", None);
    let set = Side {
        kind: kind::SET,
        ..Side::default()
    };
    let filter = Filter {
        to: set,
        from: set,
        ..Filter::default()
    };
    let matches = |tuple: &Tuple| filter.matches(tuple, |member| sets.0.get(member).copied());
    assert!(matches(&tcp("10.0.0.1", 9, "10.0.0.2", 80)));
    assert!(matches(&tcp("10.0.0.2", 80, "10.0.0.1", 9)));
    assert!(!matches(&tcp("10.0.0.3", 9, "10.0.0.2", 80)));
    assert!(!matches(&tcp("10.0.0.1", 80, "10.0.0.2", 9)));
}

#[test]
fn a_later_fragment_is_in_a_set_by_address_an_icmp_packet_is_not_at_a_port() {
    let sets =
        Sets::default()
            .with(Member::TO, "10.0.0.2", Some(80))
            .with(Member::TO, "10.0.0.4", None);
    let mut fragment = tcp("10.0.0.1", 0, "10.0.0.2", 0);
    fragment.flags = Tuple::LATER_FRAGMENT;
    assert!(sets.match_to(&fragment));
    fragment.dst = Address::v4([10, 0, 0, 3]);
    assert!(!sets.match_to(&fragment));
    let mut icmp = tcp("10.0.0.1", 0, "10.0.0.2", 0);
    icmp.flags = 0;
    icmp.proto = protocol::ICMP;
    assert!(!sets.match_to(&icmp));
    icmp.dst = Address::v4([10, 0, 0, 4]);
    assert!(sets.match_to(&icmp));
}

#[test]
fn an_empty_set_matches_nothing() {
    assert!(!Sets::default().match_to(&tcp("10.0.0.1", 9, "10.0.0.2", 80)));
}

proptest! {
    #[test]
    fn a_set_of_one_address_is_its_full_prefix(
        src in 0u8..4, dst in 0u8..4, sport in 0u16..4, dport in 0u16..4,
        ip in 0u8..4, port in proptest::option::of(1u16..4), flags in 0u8..3,
    ) {
        let text = |last: u8| format!("10.0.0.{last}");
        let mut tuple = tcp(&text(src), sport, &text(dst), dport);
        tuple.flags = flags;
        let sets = Sets::default().with(Member::TO, &text(ip), port);
        let prefix = to(&text(ip), 32, port.unwrap_or(0));
        prop_assert_eq!(sets.match_to(&tuple), asks(&prefix, &tuple));
    }

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
        prop_assert_eq!(asks(&filter, &tuple), asks(&filter, &tuple.reversed()));
    }

    /// NAT may change both addresses and both ports.
    #[test]
    fn what_may_match_behind_nat_is_kept(
        ends in [0u8..4, 0u8..4], ports in [0u16..4, 0u16..4],
        to in (0u8..4, select(vec![0u8, 31, 32]), 0u16..4), proto in select(vec![0u32, 6, 17]),
        is_v4: bool, filter_is_v4: bool, has_prefix: bool,
    ) {
        let address = |last: u8, is_v4: bool| -> IpAddr {
            if is_v4 { [10, 0, 0, last].into() } else { [0xfd00, 0, 0, 0, 0, 0, 0, u16::from(last)].into() }
        };
        let (last, bits, port) = to;
        let bits = if filter_is_v4 || bits == 0 { bits } else { bits + 96 };
        let to = side(has_prefix.then(|| address(last, filter_is_v4)), bits, port);
        let filter = Filter { to, proto, ..Filter::default() };
        let [src, dst] = ends.map(|last| Address::from(address(last, is_v4)));
        let after = Tuple {
            src, dst, sport: ports[0], dport: ports[1],
            proto: protocol::TCP, flags: Tuple::HAS_PORTS, reserved: [0; 2],
        };
        let before = Tuple { dst: address(9, is_v4).into(), dport: 9, src: address(8, is_v4).into(), ..after };
        if asks(&filter, &after) {
            prop_assert!(filter.may_match_behind_nat(&before));
        }
    }

    #[test]
    fn a_segment_that_is_excluded_matches_nothing(
        src in 0u8..4, dst in 0u8..4, sport in 0u16..4, dport in 0u16..4,
        to in (0u8..4, select(vec![0u8, 24, 31, 32]), 0u16..4),
        from in proptest::option::of((0u8..4, select(vec![0u8, 31, 32]), 0u16..4)),
        proto in select(vec![0u32, 6, 17]), is_v4: bool,
    ) {
        let address = |last: u8| -> IpAddr {
            if is_v4 { [10, 0, 0, last].into() } else { [0xfd00, 0, 0, 0, 0, 0, 0, u16::from(last)].into() }
        };
        let end = |(last, bits, port): (u8, u8, u16)| {
            side((bits != 0).then(|| address(last)), if is_v4 { bits } else { bits + 96 }, port)
        };
        let filter = Filter {
            to: end(to), from: from.map(end).unwrap_or_default(), proto, ..Filter::default()
        };
        let tuple = Tuple {
            src: address(src).into(), dst: address(dst).into(), sport, dport,
            proto: protocol::TCP, flags: Tuple::HAS_PORTS, reserved: [0; 2],
        };
        let packet = segment(&tuple);
        let ends = if is_v4 { segment_ends_v4(&packet.as_slice(), 0) } else { segment_ends_v6(&packet.as_slice(), 0) };
        let ends = ends.expect("a plain segment");
        prop_assert!(!(filter.excludes(&ends) && asks(&filter, &tuple)));
        // With whole addresses it says all there is to say.
        if is_v4 && proto != 17 && !asks(&filter, &tuple) && to.1 == 32 {
            prop_assert!(filter.excludes(&ends));
        }
    }

    #[test]
    fn the_empty_filter_matches_everything(src: [u8; 16], dst: [u8; 16], sport: u16, dport: u16, proto: u8, flags in 0u8..4) {
        let tuple = Tuple { src: Address::v6(src), dst: Address::v6(dst), sport, dport, proto, flags, reserved: [0; 2] };
        prop_assert!(asks(&Filter::default(), &tuple));
    }
}

#[test]
fn watched_are_those_up_to_the_first_zero() {
    let mut watched = Watched::NOTHING;
    assert!(!watched.contains(0));
    watched.netns[..2].copy_from_slice(&[5, 6]);
    assert!(watched.contains(5) && watched.contains(6));
    assert!(!watched.contains(7) && !watched.contains(0));
}
