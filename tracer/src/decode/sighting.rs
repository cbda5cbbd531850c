//! What one packet at one interface says.

use std::net::IpAddr;

use tracer_common::{
    event::{SightingEvent, handshake_key},
    packet::{Bytes as _, Layer, Role, Tcp, headers, protocol, tcp, walk},
    tuple::Tuple,
};

use super::{dns, tls::RecordStart};
use crate::model::Place;

/// Bytes of a UDP header.
const UDP_LEN: usize = 8;

/// A packet of a handshake, seen at an interface.
#[derive(Debug, Clone)]
pub(crate) struct Sighting {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) at: u64,
    /// Where it was seen.
    pub(crate) place: Place,
    /// The flow, inside of any tunnel.
    pub(crate) flow: Tuple,
    /// The flow of the encapsulating packet.
    pub(crate) outer: Option<Tuple>,
    /// Its network identifier.
    pub(crate) vni: Option<u32>,
    /// Conntrack's original tuple, where the packet had met conntrack already.
    pub(crate) original: Option<Tuple>,
    /// TCP's sequence number.
    pub(crate) seq: Option<u32>,
    /// What it is to its attempt.
    pub(crate) part: Part,
}

/// What ties the packets of one attempt together, through NAT and encapsulation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum AttemptKey {
    /// The SYN's initial sequence number.
    Tcp(u32),
    /// A DNS query.
    Dns {
        id: u16,
        question: String,
        /// Which of the clients with this id and question, in the order in which they were seen. Packets
        /// alone do not show it: it is 0 in each of them.
        client: u8,
    },
}

impl AttemptKey {
    /// The key of a DNS message.
    pub(crate) fn dns(id: u16, question: String) -> Self {
        Self::Dns {
            id,
            question,
            client: 0,
        }
    }

    /// The same question and id of another client. A TCP key stays as it is.
    #[must_use]
    pub(crate) fn with_client(&self, client: u8) -> Self {
        match self {
            Self::Tcp(isn) => Self::Tcp(*isn),
            Self::Dns { id, question, .. } => Self::Dns {
                id: *id,
                question: question.clone(),
                client,
            },
        }
    }

    /// What the kernel programs keep early sightings under.
    pub(crate) fn handshake(&self) -> u64 {
        match self {
            Self::Tcp(isn) => handshake_key(protocol::TCP, *isn),
            Self::Dns { id, .. } => handshake_key(protocol::UDP, (*id).into()),
        }
    }
}

/// What a packet is to its attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// It opens the attempt: a SYN, or a DNS query with this question and type.
    Opens(AttemptKey, Option<(String, String)>),
    /// The SYN-ACK, or the DNS answer with this code.
    Answers(AttemptKey, Option<String>),
    /// A RST that answers the SYN, or what came after it; its sequence number.
    Refuses(AttemptKey, u32),
    /// An ICMP error about the SYN, or about a packet of this flow.
    Rejects(Option<AttemptKey>, Rejection),
    /// The client's last ACK, or its first data; behind a ClientHello, the same of the server.
    Settles(AttemptKey, Segment),
}

/// A TCP segment behind a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Sequence number.
    pub(crate) seq: u32,
    /// Acknowledgement number.
    pub(crate) ack: u32,
    /// Bytes of payload.
    pub(crate) payload: u32,
    /// What the payload starts with; zero where it is shorter.
    pub(crate) start: RecordStart,
}

/// An ICMP or ICMPv6 error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// Who sent it.
    pub(crate) from: IpAddr,
    /// ICMPv6 rather than ICMP.
    pub(crate) v6: bool,
    /// Type and code.
    pub(crate) icmp: [u8; 2],
    /// The flow it speaks of.
    pub(crate) quoted: Tuple,
    /// The flow of the tunnel's packet that it quotes, where `quoted` is inside of that.
    pub(crate) carrier: Option<Tuple>,
}

impl Rejection {
    /// Whether it says "too big" (RFC 1191, RFC 4443), which rejects a packet and not a connection.
    pub(crate) fn is_too_big(&self) -> bool {
        if self.v6 {
            self.icmp[0] == 2
        } else {
            self.icmp == [3, 4]
        }
    }
}

impl Sighting {
    /// The packet that it calls too big, if it is such an ICMP message.
    pub(crate) fn too_big_for(&self) -> Option<Tuple> {
        match &self.part {
            Part::Rejects(_, rejection) if rejection.is_too_big() => Some(rejection.quoted),
            _ => None,
        }
    }

    /// Reads an event; `None` if the packet belongs to no attempt.
    pub(crate) fn decode(event: &SightingEvent) -> Option<Self> {
        let captured = event.captured();
        let parsed = headers(&captured)?;
        let part = match parsed.flow.tuple.proto {
            protocol::TCP => of_tcp(captured, &parsed.flow, event.payload)?,
            protocol::UDP => of_dns(captured, &parsed.flow)?,
            _ => of_icmp(captured, &parsed.flow, parsed.quoted.as_ref()?)?,
        };
        Some(Self {
            at: event.at,
            place: Place::from(&event.place),
            flow: parsed.flow.tuple,
            outer: parsed.outer,
            vni: parsed.vni,
            original: (event.original != Tuple::default()).then_some(event.original),
            seq: tcp(&captured, &parsed.flow).map(|tcp| tcp.seq),
            part,
        })
    }
}

fn of_tcp(captured: &[u8], flow: &Layer, payload: [u8; 8]) -> Option<Part> {
    let tcp = tcp(&captured, flow)?;
    let has = |flag| tcp.flags & flag != 0;
    let behind_syn = AttemptKey::Tcp(tcp.seq.wrapping_sub(1));
    let acknowledged = AttemptKey::Tcp(tcp.ack.wrapping_sub(1));
    Some(match (has(Tcp::SYN), has(Tcp::RST), has(Tcp::ACK)) {
        (true, _, false) => Part::Opens(AttemptKey::Tcp(tcp.seq), None),
        (true, _, true) => Part::Answers(acknowledged, None),
        (false, true, true) => Part::Refuses(acknowledged, tcp.seq),
        (false, true, false) => Part::Refuses(behind_syn, tcp.seq),
        (false, false, _) => {
            let [start @ .., _, _] = payload;
            let segment = Segment {
                seq: tcp.seq,
                ack: tcp.ack,
                payload: tcp.payload,
                start: RecordStart(start),
            };
            Part::Settles(behind_syn, segment)
        }
    })
}

fn of_dns(captured: &[u8], flow: &Layer) -> Option<Part> {
    let message = dns::parse(captured.get(flow.transport_at as usize + UDP_LEN..)?)?;
    let key = AttemptKey::dns(message.id, message.question.clone());
    Some(if message.is_answer {
        Part::Answers(key, Some(message.rcode))
    } else {
        Part::Opens(key, Some((message.question, message.qtype)))
    })
}

fn of_icmp(captured: &[u8], flow: &Layer, quoted: &Layer) -> Option<Part> {
    let v6 = flow.tuple.proto == protocol::ICMPV6;
    (!is_redirect(v6, flow.icmp)).then_some(())?;
    let key = match quoted.tuple.proto {
        protocol::TCP => captured
            .load::<[u8; 4]>(quoted.transport_at + 4)
            .map(|seq| AttemptKey::Tcp(u32::from_be_bytes(seq))),
        protocol::UDP => captured
            .get(quoted.transport_at as usize + UDP_LEN..)
            .and_then(dns::parse)
            .map(|message| AttemptKey::dns(message.id, message.question)),
        _ => None,
    };
    Some(Part::Rejects(
        key,
        Rejection {
            from: flow.tuple.src.into(),
            v6,
            icmp: flow.icmp,
            quoted: quoted.tuple,
            carrier: carrier(captured),
        },
    ))
}

/// A redirect quotes a packet, too, but reports a better route (RFC 792, RFC 4861): that packet was
/// forwarded.
fn is_redirect(v6: bool, [kind, _]: [u8; 2]) -> bool {
    kind == if v6 { 137 } else { 5 }
}

/// The packet that an ICMP error quotes, where that carries another one.
fn carrier(captured: &[u8]) -> Option<Tuple> {
    let mut quoted = Vec::new();
    walk(&captured, &mut { Layer::EMPTY }, |role, layer| {
        if role == Role::Quoted {
            quoted.push(layer.tuple);
        }
    });
    match quoted.as_slice() {
        [carrier, _, ..] => Some(*carrier),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::event::{CAPTURE_LEN, Sighted, kind};

    use super::*;

    /// The event of a packet.
    fn seen(packet: &[u8]) -> SightingEvent {
        let mut capture = [0; CAPTURE_LEN];
        capture[..packet.len()].copy_from_slice(packet);
        SightingEvent {
            kind: kind::SIGHTING,
            at: 1,
            original: Tuple::default(),
            place: Sighted::default(),
            len: packet.len() as u32,
            capture_len: packet.len() as u32,
            payload: [0; 8],
            capture,
        }
    }

    fn tcp_header() -> Vec<u8> {
        let (ports, seq) = ([0x9c, 0x40, 0, 80], 1_000_u32.to_be_bytes());
        let rest = [0, 0, 0, 0, 0x50, Tcp::SYN, 0, 0, 0, 0, 0, 0];
        [&ports[..], &seq, &rest].concat()
    }

    fn ipv4(proto: u8, payload: &[u8]) -> Vec<u8> {
        let len = (20 + payload.len() as u16).to_be_bytes();
        let start = [0x45, 0, len[0], len[1], 0, 0, 0, 0, 64, proto, 0, 0];
        [&start[..], &[10, 0, 0, 1], &[192, 0, 2, 2], payload].concat()
    }

    fn ipv6(proto: u8, payload: &[u8]) -> Vec<u8> {
        let len = (payload.len() as u16).to_be_bytes();
        let start = [0x60, 0, 0, 0, len[0], len[1], proto, 64];
        [&start[..], &[0xfd; 16], &[0xfe; 16], payload].concat()
    }

    fn icmp(kind: u8, quoted: &[u8]) -> Vec<u8> {
        [&[kind, 1, 0, 0, 0, 0, 0, 0], quoted].concat()
    }

    /// Whether an ICMP message about a SYN is taken for a rejection of it.
    fn rejects(packet: &[u8]) -> bool {
        let sighting = Sighting::decode(&seen(packet));
        sighting.is_some_and(|sighting| {
            assert!(
                matches!(
                    &sighting.part,
                    Part::Rejects(Some(AttemptKey::Tcp(1_000)), _)
                ),
                "{sighting:?}"
            );
            true
        })
    }

    #[test]
    fn a_redirect_rejects_nothing() {
        let syn = ipv4(protocol::TCP, &tcp_header());
        let of_v4 = |kind| rejects(&ipv4(protocol::ICMP, &icmp(kind, &syn)));
        assert!(of_v4(3) && of_v4(11));
        assert!(!of_v4(5));
        let syn = ipv6(protocol::TCP, &tcp_header());
        let of_v6 = |kind| rejects(&ipv6(protocol::ICMPV6, &icmp(kind, &syn)));
        assert!(of_v6(1) && of_v6(3));
        assert!(!of_v6(137));
        // As a router writes it: the target, the destination, and an option with the packet.
        let option = [&[4, 9, 0, 0, 0, 0, 0, 0][..], &syn].concat();
        let redirect = [&[0x60; 16][..], &[0xfe; 16], &option].concat();
        assert!(!rejects(&ipv6(protocol::ICMPV6, &icmp(137, &redirect))));
        // The numbers mean other things in the other family.
        assert!(is_redirect(false, [5, 0]) && is_redirect(true, [137, 0]));
        assert!(!is_redirect(true, [5, 0]) && !is_redirect(false, [137, 0]));
    }
}
