//! Whatever the bytes are: nothing panics, nothing is read out of bounds or again and again, and
//! the first look misses nothing that the parser sees.

use std::cell::Cell;

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

/// More loads than any packet takes: layers, each with its header, extensions, ports and tunnel.
const MOST_LOADS: u32 = 64;

/// Bytes that check what is read of them.
struct Watched<'a> {
    bytes: &'a [u8],
    loads: Cell<u32>,
}

impl<'a> Watched<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            loads: Cell::new(0),
        }
    }
}

impl Bytes for Watched<'_> {
    fn load<T: Plain>(&self, at: u32) -> Option<T> {
        self.loads.set(self.loads.get() + 1);
        assert!(self.loads.get() <= MOST_LOADS, "it does not end");
        let loaded = self.bytes.load(at);
        let end = at as usize + size_of::<T>();
        assert_eq!(loaded.is_some(), end <= self.bytes.len());
        loaded
    }
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![select(vec![53, 443, 4789, 8472, 6081]), any::<u16>()]
}

/// What ends the chain of layers: its protocol, and the bytes behind the IP header.
fn innermost() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let payload = || vec(any::<u8>(), 0..24);
    prop_oneof![
        (port(), port(), any::<u32>(), any::<u8>())
            .prop_map(|(s, d, seq, flags)| (protocol::TCP, tcp_header(s, d, seq, flags))),
        (port(), port(), payload()).prop_map(|(sport, dport, payload)| {
            let mut datagram = udp(dport, &payload);
            datagram[..2].copy_from_slice(&sport.to_be_bytes());
            (protocol::UDP, datagram)
        }),
        (any::<bool>(), payload()).prop_map(|(v6, payload)| {
            (if v6 { protocol::ICMPV6 } else { protocol::ICMP }, payload)
        }),
        (any::<u8>(), payload()),
    ]
}

/// An IP packet around a payload: either version, with options, extensions or as a fragment.
fn in_ip((proto, payload): (u8, Vec<u8>)) -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![4 => Just(0), 1 => any::<u16>()];
    (0..6u8, fragment, any::<u8>()).prop_map(move |(kind, fragment, traffic_class)| {
        let mut packet = match kind {
            0..=2 => ipv4(proto, fragment, A, B, &payload),
            3 => {
                let mut packet = ipv4(proto, fragment, A, B, &payload);
                packet[0] = 0x46;
                packet.splice(20..20, [1; 4]);
                packet
            }
            4 => ipv6(proto, &payload),
            _ => {
                let extension = [&[proto, 0, 0, 0, 0, 0, 0, 0], payload.as_slice()].concat();
                ipv6(60, &extension)
            }
        };
        // Bits that no rule of the parser looks at.
        packet[1] = traffic_class;
        packet
    })
}

/// An Ethernet frame with an IP packet, behind a VLAN tag or not.
fn frame(packet: &[u8], tag: Option<[u8; 2]>) -> Vec<u8> {
    let ethertype = if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd };
    match tag {
        None => ethernet(ethertype, packet),
        Some([high, low]) => {
            let [e0, e1] = u16::to_be_bytes(ethertype);
            ethernet(0x8100, &[&[high, low, e0, e1], packet].concat())
        }
    }
}

/// One more header around a packet: a tunnel's, or that of an ICMP error about it.
fn wrapped(packet: &[u8]) -> impl Strategy<Value = (u8, Vec<u8>)> + use<> {
    let vxlan_port = select(vec![4789, 8472]);
    let tag = || proptest::option::of(any::<[u8; 2]>());
    prop_oneof![
        (vxlan_port, tag(), port()).prop_map({
            let packet = packet.to_owned();
            move |(dport, tag, sport)| {
                let mut datagram = udp(dport, &vxlan(&frame(&packet, tag)));
                datagram[..2].copy_from_slice(&sport.to_be_bytes());
                (protocol::UDP, datagram)
            }
        }),
        (tag(), 0..3u8).prop_map({
            let packet = packet.to_owned();
            move |(tag, options)| {
                let mut geneve = vec![options, 0, 0x65, 0x58, 0, 0, 9, 0];
                geneve.extend(vec![0; usize::from(options) * 4]);
                geneve.extend(frame(&packet, tag));
                (protocol::UDP, udp(6081, &geneve))
            }
        }),
        Just((protocol::IPIP, packet.to_owned())),
        Just((
            protocol::GRE,
            [&[0x20, 0, 8, 0, 0, 0, 0, 1], packet].concat()
        )),
        Just((
            protocol::ICMP,
            [&[3, 4, 0, 0, 0, 0, 5, 0x78], packet].concat()
        )),
    ]
}

/// Packets of any depth that the parser follows, and beyond.
fn whole_packet() -> impl Strategy<Value = Vec<u8>> {
    let mut packet = innermost().prop_flat_map(in_ip).boxed();
    for _ in 0..4 {
        let around = packet
            .clone()
            .prop_flat_map(|packet| wrapped(&packet))
            .prop_flat_map(in_ip);
        packet = prop_oneof![2 => packet, 1 => around].boxed();
    }
    packet
}

/// Real packets with some bytes changed, and cut off somewhere; or bytes that are none.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let damage = vec((0..200usize, any::<u8>()), 0..4);
    let cut = prop_oneof![2 => Just(usize::MAX), 1 => 0..200usize];
    let damaged = (whole_packet(), damage, cut).prop_map(|(mut packet, damage, cut)| {
        for (at, value) in damage {
            if let Some(byte) = packet.get_mut(at) {
                *byte = value;
            }
        }
        packet.truncate(cut);
        packet
    });
    prop_oneof![8 => damaged, 1 => vec(any::<u8>(), 0..256)]
}

/// What the parser makes of a packet is part of a handshake, as the kernel programs see it.
fn belongs_to_a_handshake(packet: &[u8], found: &Headers) -> bool {
    let tuple = &found.flow.tuple;
    match tuple.proto {
        protocol::TCP => tcp(&packet, &found.flow).is_some(),
        protocol::UDP => tuple.has_ports() && [tuple.sport, tuple.dport].contains(&DNS_PORT),
        protocol::ICMP | protocol::ICMPV6 => found.quoted.is_some(),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn nothing_is_read_out_of_bounds_or_without_an_end(packet in packet()) {
        let watched = Watched::new(&packet);
        if let Some(found) = headers(&watched) {
            let _ = tcp(&watched, &found.flow);
            if let Some(quoted) = found.quoted {
                let _ = tcp(&watched, &quoted);
            }
        }
        glance(&Watched::new(&packet), 0);
    }

    /// The kernel programs look wherever the frame seems to start.
    #[test]
    fn a_first_look_from_anywhere_never_panics(packet in packet(), at in 0..300u32) {
        glance(&Watched::new(&packet), at);
    }

    #[test]
    fn a_first_look_misses_nothing(packet in packet()) {
        let Some(found) = headers(&packet.as_slice()) else {
            return Ok(());
        };
        match look(&packet) {
            Glance::Look => {}
            Glance::Datagram { tuple } => {
                prop_assert_eq!(tuple, found.flow.tuple);
                prop_assert!(!belongs_to_a_handshake(&packet, &found), "{found:?}");
            }
            Glance::Nothing => prop_assert!(!belongs_to_a_handshake(&packet, &found), "{found:?}"),
            Glance::Opens { tuple, isn } => {
                let tcp = tcp(&packet.as_slice(), &found.flow);
                let is_syn = |tcp: &Tcp| tcp.flags & (Tcp::SYN | Tcp::ACK | Tcp::RST) == Tcp::SYN;
                let seen = tcp.filter(is_syn).map(|tcp| (found.flow.tuple, tcp.seq));
                prop_assert_eq!(Some((tuple, isn)), seen);
                prop_assert!(found.outer.is_none(), "the tunnel may be what is asked for");
            }
            Glance::Answer { tuple, isn } => {
                let tcp = tcp(&packet.as_slice(), &found.flow);
                let is_syn_ack = |tcp: &Tcp| tcp.flags & (Tcp::SYN | Tcp::ACK | Tcp::RST) == 0x12;
                let seen = tcp.filter(is_syn_ack).map(|tcp| (found.flow.tuple, tcp.ack));
                prop_assert_eq!(Some((tuple, isn.wrapping_add(1))), seen);
            }
            Glance::Segment { tuple, seq } => {
                let tcp = tcp(&packet.as_slice(), &found.flow);
                prop_assert_eq!(Some((tuple, seq)), tcp.map(|tcp| (found.flow.tuple, tcp.seq)));
            }
        }
    }

    #[test]
    fn a_first_look_for_one_version_sees_the_same_or_leaves_it(packet in packet()) {
        let packet = packet.as_slice();
        for first in [glance_v4(&packet, 0), glance_v6(&packet, 0)] {
            prop_assert!(first == Glance::Look || first == glance(&packet, 0), "{first:?}");
        }
    }

    /// What the drop programs do without the parser, it would do just so.
    #[test]
    fn a_plain_packet_is_its_only_layer(packet in packet()) {
        if let Some(layer) = plain(&Watched::new(&packet)) {
            let found = headers(&packet.as_slice());
            let only = Headers { flow: layer, outer: None, vni: None, quoted: None };
            prop_assert_eq!(found, Some(only));
        }
    }
}

#[test]
fn ordinary_packets_are_plain_and_no_others() {
    let segment = tcp_header(1234, 80, 1, 0x10);
    let four = ipv4(protocol::TCP, 0, A, B, &segment);
    let six = ipv6(protocol::UDP, &udp(80, &[0; 8]));
    assert_eq!(
        plain(&four.as_slice()),
        headers(&four.as_slice()).map(|found| found.flow)
    );
    assert_eq!(
        plain(&six.as_slice()),
        headers(&six.as_slice()).map(|found| found.flow)
    );
    assert!(plain(&four.as_slice()).is_some() && plain(&six.as_slice()).is_some());
    assert!(plain(&&four[..PLAIN_V4]).is_some() && plain(&&six[..PLAIN_V6]).is_some());
    assert!(plain(&&four[..PLAIN_V4 - 1]).is_none() && plain(&&six[..PLAIN_V6 - 1]).is_none());
    let tunnel = ipv4(protocol::UDP, 0, A, B, &udp(4789, &four));
    let fragment = ipv4(protocol::TCP, 1, A, B, &segment);
    assert!(plain(&tunnel.as_slice()).is_none() && plain(&fragment.as_slice()).is_none());
}
