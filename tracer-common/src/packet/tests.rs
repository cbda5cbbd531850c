//! Packets built byte by byte.

mod properties;

use core::net::IpAddr;

use super::*;
use crate::address::Address;

fn ipv4(proto: u8, fragment: u16, src: [u8; 4], dst: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + payload.len() as u16).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, proto, 0, 0]);
    packet.extend(src);
    packet.extend(dst);
    packet.extend(payload);
    packet
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend("fd00::1".parse::<core::net::Ipv6Addr>().unwrap().octets());
    packet.extend("fd00::2".parse::<core::net::Ipv6Addr>().unwrap().octets());
    packet.extend(payload);
    packet
}

fn tcp_header(sport: u16, dport: u16, seq: u32, flags: u8) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(sport.to_be_bytes());
    header.extend(dport.to_be_bytes());
    header.extend(seq.to_be_bytes());
    header.extend(0u32.to_be_bytes());
    header.extend([0x50, flags, 0, 0, 0, 0, 0, 0]);
    header
}

fn udp(dport: u16, payload: &[u8]) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(50000u16.to_be_bytes());
    header.extend(dport.to_be_bytes());
    header.extend((8 + payload.len() as u16).to_be_bytes());
    header.extend([0, 0]);
    header.extend(payload);
    header
}

fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

fn vxlan(frame: &[u8]) -> Vec<u8> {
    let mut header = vec![0x08, 0, 0, 0, 0, 0, 42, 0];
    header.extend(frame);
    header
}

const A: [u8; 4] = [10, 1, 0, 1];
const B: [u8; 4] = [10, 2, 0, 2];
const NODE_A: [u8; 4] = [192, 0, 2, 1];
const NODE_B: [u8; 4] = [192, 0, 2, 2];

fn syn() -> Vec<u8> {
    ipv4(
        protocol::TCP,
        0,
        A,
        B,
        &tcp_header(40000, 443, 0x0102_0304, Tcp::SYN),
    )
}

fn parse(packet: &[u8]) -> Headers {
    headers(&packet).expect("a packet")
}

fn ends(tuple: &Tuple) -> (IpAddr, u16, IpAddr, u16) {
    (tuple.src.into(), tuple.sport, tuple.dst.into(), tuple.dport)
}

fn syn_ends() -> (IpAddr, u16, IpAddr, u16) {
    (A.into(), 40000, B.into(), 443)
}

#[test]
fn a_syn_shows_its_tuple_flags_and_sequence_number() {
    let packet = syn();
    let found = parse(&packet);
    assert_eq!(ends(&found.flow.tuple), syn_ends());
    assert_eq!((found.outer, found.quoted), (None, None));
    let tcp = tcp(&packet.as_slice(), &found.flow).unwrap();
    assert_eq!(
        (tcp.seq, tcp.flags, tcp.payload),
        (0x0102_0304, Tcp::SYN, 0)
    );
}

#[test]
fn ipv4_options_are_skipped() {
    let mut packet = syn();
    packet[0] = 0x46;
    packet.splice(20..20, [1, 1, 1, 1]);
    assert_eq!(ends(&parse(&packet).flow.tuple), syn_ends());
}

#[test]
fn ipv6_extension_headers_are_skipped() {
    let mut payload = vec![60, 0, 0, 0, 0, 0, 0, 0]; // hop-by-hop, then destination options
    payload.extend([44, 1].iter().chain(&[0; 14])); // 16 bytes, then a first fragment
    payload.extend([protocol::TCP, 0, 0, 1, 0, 0, 0, 9]);
    payload.extend(tcp_header(1, 2, 3, Tcp::SYN));
    let packet = ipv6(0, &payload);
    let tuple = parse(&packet).flow.tuple;
    assert_eq!(
        (tuple.proto, tuple.sport, tuple.dport),
        (protocol::TCP, 1, 2)
    );
    assert!(tuple.has_ports());
}

#[test]
fn later_fragments_have_no_ports() {
    let v4 = ipv4(protocol::UDP, 185, A, B, &udp(53, &[0; 32]));
    let v6 = ipv6(
        44,
        &[protocol::UDP, 0, 0x05, 0xa8, 0, 0, 0, 1, 0, 53, 0, 53],
    );
    for packet in [v4, v6] {
        let tuple = parse(&packet).flow.tuple;
        assert_eq!(
            (tuple.proto, tuple.sport, tuple.dport),
            (protocol::UDP, 0, 0)
        );
        assert!(tuple.is_later_fragment() && !tuple.has_ports());
    }
}

#[test]
fn the_flow_of_a_tunnelled_packet_is_the_inner_one() {
    let frame = ethernet(0x0800, &syn());
    let tagged = ethernet(0x8100, &[&[0, 7, 8, 0], syn().as_slice()].concat());
    let geneve = [
        &[1, 0, 0x65, 0x58, 0, 0, 9, 0, 0xaa, 0xbb, 0, 0],
        frame.as_slice(),
    ]
    .concat();
    let gre_with_key = [&[0x20, 0, 8, 0, 0, 0, 0, 1], syn().as_slice()].concat();
    let tunnels = [
        (protocol::UDP, udp(4789, &vxlan(&frame))),
        (protocol::UDP, udp(8472, &vxlan(&tagged))),
        (protocol::UDP, udp(6081, &geneve)),
        (protocol::IPIP, syn()),
        (protocol::GRE, gre_with_key),
    ];
    for (proto, payload) in tunnels {
        let found = parse(&ipv4(proto, 0, NODE_A, NODE_B, &payload));
        assert_eq!(ends(&found.flow.tuple), syn_ends());
        let outer = found.outer.expect("an outer tuple");
        assert_eq!(
            (outer.src, outer.dst, outer.proto),
            (Address::v4(NODE_A), Address::v4(NODE_B), proto)
        );
    }
}

#[test]
fn an_icmp_error_quotes_the_packet_it_speaks_of() {
    let mut error = vec![3, 4, 0, 0, 0, 0, 5, 0x78];
    error.extend(&syn()[..28]); // RFC 792: the IP header and eight bytes
    let packet = ipv4(protocol::ICMP, 0, [10, 0, 0, 254], A, &error);
    let found = parse(&packet);
    assert_eq!(found.flow.icmp, [3, 4]);
    assert_eq!(found.flow.tuple.proto, protocol::ICMP);
    assert_eq!(ends(&found.quoted.unwrap().tuple), syn_ends());
    assert!(!found.flow.tuple.has_ports());
}

#[test]
fn an_icmp_error_about_a_tunnel_quotes_the_inner_packet_too() {
    let outer = ipv4(
        protocol::UDP,
        0,
        NODE_A,
        NODE_B,
        &udp(8472, &vxlan(&ethernet(0x0800, &syn()))),
    );
    let mut error = vec![3, 4, 0, 0, 0, 0, 5, 0x78];
    error.extend(&outer);
    let packet = ipv4(protocol::ICMP, 0, [10, 0, 0, 254], NODE_A, &error);
    let mut seen = Vec::new();
    walk(&packet.as_slice(), &mut { Layer::EMPTY }, |_, layer| {
        seen.push(ends(&layer.tuple));
    });
    let found = parse(&packet);
    assert_eq!(ends(&found.quoted.unwrap().tuple), syn_ends());
    assert_eq!(
        found.outer, None,
        "a quoted tunnel is no encapsulation of the ICMP packet"
    );
    assert_eq!(seen.len(), 3);
}

#[test]
fn icmpv6_echo_quotes_nothing_and_an_error_does() {
    assert_eq!(
        parse(&ipv6(protocol::ICMPV6, &[128, 0, 0, 0, 0, 0, 0, 0])).quoted,
        None
    );
    let mut error = vec![2, 0, 0, 0, 0, 0, 5, 0];
    error.extend(ipv6(protocol::TCP, &tcp_header(7, 8, 9, 0)));
    let quoted = parse(&ipv6(protocol::ICMPV6, &error)).quoted.unwrap().tuple;
    assert_eq!((quoted.sport, quoted.dport), (7, 8));
}

#[test]
fn what_is_cut_off_is_not_made_up() {
    let packet = syn();
    for len in 0..packet.len() {
        match headers(&&packet[..len]) {
            None => assert!(len < 20),
            Some(found) => assert_eq!(found.flow.tuple.has_ports(), len >= 24),
        }
    }
}

fn look(packet: &[u8]) -> Glance {
    glance(&packet, 0)
}

#[test]
fn a_first_look_rules_out_other_packets() {
    let segment = ipv4(
        protocol::TCP,
        0,
        A,
        B,
        &tcp_header(1, 2, 77, Tcp::ACK | Tcp::PSH),
    );
    let in_vxlan = |inner: &[u8]| {
        ipv4(
            protocol::UDP,
            0,
            NODE_A,
            NODE_B,
            &udp(8472, &vxlan(&ethernet(0x0800, inner))),
        )
    };
    assert!(matches!(look(&segment), Glance::Segment { seq: 77, .. }));
    assert!(matches!(
        look(&in_vxlan(&segment)),
        Glance::Segment { seq: 77, .. }
    ));
    let answer = tcp_header(443, 40000, 77, Tcp::SYN | Tcp::ACK);
    let answer = ipv4(protocol::TCP, 0, B, A, &answer);
    for answer in [&answer, &in_vxlan(&answer)] {
        // It acknowledges 0.
        assert!(matches!(look(answer), Glance::Answer { isn: u32::MAX, .. }));
    }
    let echo = ipv4(protocol::ICMP, 0, A, B, &[8, 0, 0, 0]);
    let quic = ipv4(protocol::UDP, 0, A, B, &udp(443, &[0; 64]));
    let later_fragment = ipv4(protocol::TCP, 185, A, B, &[0; 64]);
    for nothing in [&echo, &later_fragment, &in_vxlan(&quic), &in_vxlan(&echo)] {
        assert_eq!(look(nothing), Glance::Nothing);
    }
    let tuple = headers(&quic.as_slice()).map(|found| found.flow.tuple);
    assert_eq!(
        Some(look(&quic)),
        tuple.map(|tuple| Glance::Datagram { tuple })
    );
}

#[test]
fn a_first_look_keeps_packets_of_a_handshake() {
    let dns = ipv4(protocol::UDP, 0, A, B, &udp(53, &[0; 12]));
    let error = ipv4(protocol::ICMP, 0, A, B, &[3, 4, 0, 0]);
    let reset = ipv4(
        protocol::TCP,
        0,
        A,
        B,
        &tcp_header(1, 2, 3, Tcp::RST | Tcp::ACK),
    );
    assert!(matches!(look(&syn()), Glance::Opens { .. }));
    for packet in [syn(), dns, error, reset] {
        let in_vxlan = udp(4789, &vxlan(&ethernet(0x0800, &packet)));
        assert!(matches!(look(&packet), Glance::Look | Glance::Opens { .. }));
        assert_eq!(
            look(&ipv4(protocol::UDP, 0, NODE_A, NODE_B, &in_vxlan)),
            Glance::Look
        );
        assert_eq!(
            look(&ipv4(protocol::IPIP, 0, NODE_A, NODE_B, &packet)),
            Glance::Look
        );
    }
}

#[test]
fn a_first_look_is_not_misled_by_what_looks_like_a_tunnel() {
    let mut answer = udp(8472, &[0; 40]);
    answer[..2].copy_from_slice(&53u16.to_be_bytes());
    let tunnel = |payload: &[u8]| ipv4(protocol::UDP, 0, NODE_A, NODE_B, payload);
    let syn = syn();
    let nested = tunnel(&udp(4789, &vxlan(&ethernet(0x0800, &syn))));
    // A tag whose first byte could begin an IPv4 header.
    let tagged = ethernet(0x8100, &[&[0x45, 0, 8, 0], syn.as_slice()].concat());
    // Geneve that carries IP without Ethernet.
    let bare = [&[0, 0, 8, 0, 0, 0, 9, 0], syn.as_slice()].concat();
    for payload in [
        answer,
        udp(8472, &vxlan(&ethernet(0x0800, &nested))),
        udp(8472, &vxlan(&tagged)),
        udp(6081, &bare),
    ] {
        assert_eq!(look(&tunnel(&payload)), Glance::Look);
    }
}

fn neighbor_discovery(kind: u8, target: &str) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.parse::<core::net::Ipv6Addr>().unwrap().octets());
    ipv6(protocol::ICMPV6, &message)
}

#[test]
fn a_neighbors_question_and_its_answer_are_about_the_target() {
    let ends = |packet: &[u8]| {
        let flow = headers(&packet).unwrap().flow;
        let tuple = solicited(&packet, &flow)?;
        assert!(tuple.is_later_fragment());
        Some([tuple.src, tuple.dst].map(IpAddr::from))
    };
    let [client, server, target] =
        ["fd00::1", "fd00::2", "fd00::3"].map(|ip| ip.parse::<IpAddr>().unwrap());
    let question = neighbor_discovery(135, "fd00::3");
    assert_eq!(ends(&question), Some([client, target]));
    let answer = neighbor_discovery(136, "fd00::3");
    assert_eq!(ends(&answer), Some([server, target]));
    assert_eq!(ends(&question[..60]), None, "cut short");
    assert_eq!(ends(&neighbor_discovery(134, "fd00::3")), None);
}
