//! Drops that healthy traffic makes too.
//!
//! The kernel frees the last reference of many packets that have done their work through the same
//! tracepoint: a pure ACK in a closing state, a FIN into TIME_WAIT, a queue at the end of its
//! socket. They are counted apart, and shown with `--noise` only.

use std::{net::IpAddr, ops::RangeInclusive};

use super::drop::DropFacts;
use crate::model::Protocol;

/// Why the drop is no sign of a failure; `None` if it may be one.
pub(crate) fn explain(facts: &DropFacts) -> Option<&'static str> {
    let function = facts.function.as_deref().unwrap_or_default();
    let reason = facts.reason.name();
    let flags = facts.tcp_flags();
    let is_tcp = flags.is_some();
    let flags = flags.unwrap_or_default();
    let handshake = flags.syn();
    let pure_ack = !(flags.syn() || flags.fin() || flags.rst()) && facts.key.has_payload == 0;

    match (reason, function) {
        ("NOT_SPECIFIED", "tcp_rcv_state_process") if is_tcp && pure_ack => {
            Some("an ACK that ends a state of the connection")
        }
        ("NOT_SPECIFIED", "tcp_v4_rcv" | "tcp_v6_rcv") if is_tcp && !handshake => {
            Some("the last packet of a connection in TIME_WAIT")
        }
        // It meets a request socket. That its SYN-ACK does not arrive, the attempt says.
        ("NOT_SPECIFIED", "tcp_v4_rcv" | "tcp_v6_rcv") if flags.syn() && !flags.ack() => {
            Some("a SYN that was sent again, and is answered once more")
        }
        ("TCP_RESET", _) if flags.rst() => Some("a RST that ended its connection"),
        ("TCP_MINTTL", _) if is_tcp && pure_ack => {
            Some("an ACK of a connection in TIME_WAIT, which has the default TTL")
        }
        // It is answered with an ACK, and sent again if it is needed. Where that repeats, the connection
        // stalls, which its attempt says.
        ("TCP_INVALID_SEQUENCE" | "TCP_INVALID_END_SEQUENCE" | "TCP_OVERWINDOW", _)
            if !handshake =>
        {
            Some("a segment outside of the receiver's window")
        }
        // A pure ACK with an old sequence number: later ones have overtaken it
        // (`tcp_disordered_ack_check`).
        ("TCP_RFC7323_PAWS_ACK", _) => Some("an ACK that others have overtaken"),
        // A proxy on the way, such as SYNPROXY, has made the handshake with timestamps of its own. What
        // comes next makes up for the ACK; where it does not, the connection stalls.
        ("TCP_RFC7323_TSECR", _) if is_tcp && pure_ack => {
            Some("an ACK that echoes a timestamp which was never sent")
        }
        ("TCP_ABORT_ON_DATA", _) => Some("the application closed early"),
        ("TCP_OLD_SEQUENCE" | "TCP_OLD_DATA" | "TCP_OLD_ACK" | "TCP_INVALID_SYN", _) => {
            Some("a duplicate, or a probe")
        }
        // Of data that waits for what is missing before it (`tcp_data_queue_ofo`).
        ("TCP_OFOMERGE" | "TCP_OFO_DROP", _) => Some("data that has arrived already"),
        ("DUP_FRAG", _) => Some("a fragment that has arrived already"),
        ("IPV6_NDISC_NS_OTHERHOST", _) => {
            Some("a Neighbor Solicitation for another host's address")
        }
        (
            "TCP_FLAGS" | "TCP_CLOSE",
            "tcp_v4_do_rcv" | "tcp_v6_do_rcv" | "tcp_rcv_state_process",
        ) if !handshake => Some("a late packet of a closing connection"),
        // The kernel answers questions about routes with a packet that it makes up; ours are among
        // them.
        (_, "inet_rtm_getroute" | "inet6_rtm_getroute") => {
            Some("no packet, but a question about a route")
        }
        // 6.1 has no such reason: only the function shows it.
        ("QUEUE_PURGE" | "SOCKET_CLOSE", _)
        | ("NOT_SPECIFIED", "sk_stream_kill_queues" | "skb_queue_purge" | "inet_sock_destruct") => {
            Some("a socket that closes with packets in its queue")
        }
        // In 6.1, the callers of `ping_rcv` free.
        ("NO_SOCKET", "ping_rcv" | "icmp_rcv" | "icmpv6_rcv") => {
            Some("an echo reply, which the raw socket has a copy of")
        }
        // 6.1 ends every ICMPv6 message like this, neighbor discovery included; later kernels
        // consume what they have received. Wrong checksums have a reason of their own.
        ("NOT_SPECIFIED", "icmpv6_rcv") => Some("an ICMPv6 message that was received"),
        ("PACKET_SOCK_ERROR", _) => Some("a packet socket's copy of the packet"),
        ("NOT_SPECIFIED", "ip6_mc_input") => Some("multicast for others"),
        ("NOT_SPECIFIED", "__udp4_lib_mcast_deliver") => Some("a broadcast without a receiver"),
        // What IPsec policies refuse ends there, too.
        ("NOT_SPECIFIED", "__udp4_lib_rcv") if is_broadcast(facts) => {
            Some("a broadcast without a receiver")
        }
        ("IP_INHDR", "ip_forward" | "ip6_forward") | ("NO_SOCKET", _) if is_traceroute(facts) => {
            Some("a datagram of traceroute")
        }
        _ if is_for_many(facts.flow.dst) && is_unwanted_multicast(reason, function) => {
            Some("multicast without a receiver")
        }
        _ => None,
    }
}

/// Ports that traceroute sends its datagrams to, one after the other, and the most hops that are left
/// to one that has arrived: it sends 16 at once, three for each hop.
const TRACEROUTE: (RangeInclusive<u16>, u8) = (33_434..=33_534, 8);

/// The first of the ports that clients get by default (`ip_local_port_range`).
const FIRST_OF_CLIENTS: u16 = 32_768;

/// Whether it is a datagram that is to show where it is dropped.
fn is_traceroute(facts: &DropFacts) -> bool {
    let (ports, hops) = TRACEROUTE;
    let is_port = facts.flow.dport.is_some_and(|port| ports.contains(&port));
    // Otherwise it may be an answer to a client with such a port.
    let is_from_client = facts
        .flow
        .sport
        .is_some_and(|port| port >= FIRST_OF_CLIENTS);
    let is_plain = facts.flow.proto == Protocol::Udp && facts.outer.is_none();
    is_plain
        && is_port
        && is_from_client
        && facts.dns.is_none()
        && facts.ttl().is_some_and(|ttl| ttl <= hops)
}

/// The broadcast address of a subnet does not show that it is one; the frame's does. The copy that a host
/// gets of its own has no frame (`ip_mc_output`).
fn is_broadcast(facts: &DropFacts) -> bool {
    let mac = facts.wire.as_ref().and_then(|wire| wire.dst_mac);
    is_for_many(facts.flow.dst) || mac.is_none_or(|mac| mac[0] & 1 != 0)
}

fn is_for_many(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_multicast(),
    }
}

fn is_unwanted_multicast(reason: &str, function: &str) -> bool {
    matches!(
        (reason, function),
        (
            "NOT_SPECIFIED",
            "ip_rcv_finish_core" | "br_dev_xmit" | "vxlan_xmit" | "ip6_mc_input"
        ) | (
            "NO_TX_TARGET" | "IP_INNOROUTES" | "IP_INADDRERRORS" | "IP_OUTNOROUTES",
            _
        )
    )
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::SystemTime};

    use tracer_common::{
        event::DropKey,
        packet::{Tcp, protocol},
        tuple::Tuple,
    };

    use super::*;
    use crate::decode::drop::{DropKind, Wire};

    fn is_noise(reason: &str, function: &str, tcp_flags: u8) -> bool {
        let flow = Tuple {
            proto: protocol::TCP,
            ..Tuple::default()
        };
        let kind = DropKind {
            key: DropKey {
                flow,
                tcp_flags,
                ..DropKey::default()
            },
            reason: reason.into(),
            function: Some(function.to_owned()),
        };
        explain(&kind.facts(SystemTime::UNIX_EPOCH)).is_some()
    }

    #[test]
    fn what_a_connection_gets_over_is_noise() {
        assert!(is_noise("NOT_SPECIFIED", "tcp_v4_rcv", Tcp::SYN));
        assert!(!is_noise(
            "NOT_SPECIFIED",
            "tcp_v4_rcv",
            Tcp::SYN | Tcp::ACK
        ));
        assert!(!is_noise("NO_SOCKET", "tcp_v4_rcv", Tcp::SYN));
        let validates = "tcp_validate_incoming";
        assert!(is_noise("TCP_INVALID_SEQUENCE", validates, Tcp::ACK));
        assert!(!is_noise("TCP_INVALID_SEQUENCE", validates, Tcp::SYN));
        assert!(is_noise("TCP_RFC7323_PAWS_ACK", validates, Tcp::ACK));
        assert!(!is_noise("TCP_RFC7323_PAWS", validates, Tcp::ACK));
    }

    #[test]
    fn a_datagram_is_noise_only_if_its_frame_was_for_many() {
        let is_noise = |dst_mac: Option<[u8; 6]>| {
            let kind = DropKind {
                key: DropKey {
                    flow: Tuple {
                        proto: protocol::UDP,
                        ..Tuple::default()
                    },
                    ..DropKey::default()
                },
                reason: "NOT_SPECIFIED".into(),
                function: Some("__udp4_lib_rcv".to_owned()),
            };
            let mut facts = kind.facts(SystemTime::UNIX_EPOCH);
            facts.wire = Some(Arc::new(Wire {
                dst_mac,
                ..Wire::default()
            }));
            explain(&facts).is_some()
        };
        assert!(is_noise(Some([0xff; 6])));
        assert!(!is_noise(Some([2, 0, 0, 0, 0, 1])));
        assert!(is_noise(None));
    }

    #[test]
    fn an_answer_to_a_high_port_is_no_datagram_of_traceroute() {
        let is_noise = |sport, dport, ttl| {
            let kind = DropKind {
                key: DropKey::default(),
                reason: "IP_INHDR".into(),
                function: Some("ip_forward".to_owned()),
            };
            let mut facts = kind.facts(SystemTime::UNIX_EPOCH);
            facts.flow.proto = Protocol::Udp;
            facts.flow.sport = Some(sport);
            facts.flow.dport = Some(dport);
            let mut bytes = vec![0; 20];
            bytes[0] = 0x45;
            bytes[8] = ttl;
            facts.wire = Some(Arc::new(Wire {
                bytes,
                ..Wire::default()
            }));
            explain(&facts).is_some()
        };
        assert!(is_noise(40_000, 33_434, 1));
        assert!(!is_noise(443, 33_434, 1));
        assert!(!is_noise(40_000, 33_433, 1));
        assert!(!is_noise(40_000, 33_434, 60));
    }
}
