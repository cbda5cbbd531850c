//! From the kernel's bytes and numbers to the facts.

use std::{sync::Arc, time::SystemTime};

use tracer_common::{
    event::{DropEvent, DropKey},
    packet::{Bytes as _, DNS_PORT, Layer, headers, protocol, tcp},
    tuple::Tuple,
};

use super::{DropFacts, DropKind, Tracked, Wire};
use crate::{
    decode::sighting::AttemptKey,
    kernel::{hook, reasons::Reasons, symbols::Symbols},
    model::{Clock, Flow, Packet, SocketAddress, TcpFlags},
};

/// Turns the kernel's numbers into names.
#[derive(Debug)]
pub(crate) struct Decoder {
    reasons: Reasons,
    symbols: Symbols,
    clock: Clock,
}

impl Decoder {
    /// A decoder for the running kernel.
    pub(crate) fn new(reasons: Reasons, symbols: Symbols, clock: Clock) -> Self {
        Self {
            reasons,
            symbols,
            clock,
        }
    }

    /// How kernel time becomes wall-clock time.
    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// The facts of one event.
    pub(crate) fn event(&self, event: &DropEvent) -> DropFacts {
        let captured = event.captured();
        let parsed = headers(&captured);
        let stack = self.stack(event);
        let mut facts = DropFacts {
            at: self.clock.wall(event.at),
            original_dst: original_destination(&event.key.flow, &event.original),
            outer: parsed.and_then(|parsed| parsed.outer.as_ref().map(Flow::from)),
            outer_tuple: parsed.and_then(|parsed| parsed.outer),
            quoted: parsed.and_then(|parsed| parsed.quoted.map(|layer| Flow::from(&layer.tuple))),
            hook: hook::from_stack(&stack),
            ifname: text(&event.ifname),
            mtu: (event.mtu != 0).then_some(event.mtu),
            stack,
            comm: text(&event.comm).unwrap_or_default(),
            thread: event.pid,
            mark: event.mark,
            tracked: Tracked::new(event.ct),
            iif: event.iif,
            tcp: parsed.and_then(|parsed| tcp(&captured, &parsed.flow)),
            dns: parsed.and_then(|parsed| dns(captured, &parsed.flow)),
            quoted_tuple: parsed.and_then(|parsed| parsed.quoted.map(|layer| layer.tuple)),
            quoted_seq: parsed.and_then(|parsed| quoted_seq(captured, &parsed.quoted?)),
            wire: Some(Arc::new(Wire {
                bytes: captured.to_vec(),
                transport_at: parsed.map_or(0, |parsed| parsed.flow.transport_at as usize),
                src_mac: (event.src_mac != [0; 6]).then_some(event.src_mac),
                dst_mac: (event.dst_mac != [0; 6]).then_some(event.dst_mac),
                oif: (event.oif != 0).then_some(event.oif),
                entry: [event.original, event.reply]
                    .iter()
                    .all(|tuple| *tuple != Tuple::default())
                    .then_some((event.original, event.reply)),
                ct: event.ct,
            })),
            ..self.key(&event.key, SystemTime::UNIX_EPOCH)
        };
        let tcp = facts.tcp;
        let is_icmp = facts.flow.proto.is_icmp();
        facts.packet = Some(Packet {
            len: event.len,
            tcp_flags: tcp.map(|tcp| TcpFlags::new(tcp.flags)),
            seq: tcp.map(|tcp| tcp.seq),
            gso_size: (event.gso_size != 0).then_some(event.gso_size),
            icmp: parsed
                .filter(|_| is_icmp)
                .map(|parsed| parsed.flow.icmp.into()),
            echo: parsed.and_then(|parsed| {
                let own = echo(captured, &parsed.flow);
                own.or_else(|| echo(captured, &parsed.quoted?))
            }),
        });
        facts
    }

    /// The facts of drops of which only the count is known: their events were lost.
    pub(crate) fn key(&self, key: &DropKey, at: SystemTime) -> DropFacts {
        self.kind(key).facts(at)
    }

    /// What can be said of a kind of drops.
    pub(crate) fn kind(&self, key: &DropKey) -> DropKind {
        DropKind {
            key: *key,
            reason: self.reasons.name(key.reason),
            function: self.symbols.function(key.location).map(str::to_owned),
        }
    }

    /// Function names, without the frames of the tracepoint and of our own program.
    fn stack(&self, event: &DropEvent) -> Vec<String> {
        let names: Vec<_> = event
            .frames()
            .iter()
            .map(|address| match self.symbols.function(*address) {
                Some(name) => name.to_owned(),
                None => format!("{address:#x}"),
            })
            .collect();
        let dropper = self
            .symbols
            .function(event.key.location)
            .unwrap_or_default();
        let start = names
            .iter()
            .position(|name| name == dropper)
            .or_else(|| names.iter().position(|name| !is_machinery(name)))
            .unwrap_or(0);
        names[start..].to_vec()
    }
}

/// Identifier and sequence number of an echo request or reply. Of a quoted packet, an error holds them.
fn echo(packet: &[u8], flow: &Layer) -> Option<(u16, u16)> {
    let is_echo = match flow.tuple.proto {
        protocol::ICMP => matches!(flow.icmp[0], 0 | 8),
        protocol::ICMPV6 => matches!(flow.icmp[0], 128 | 129),
        _ => false,
    };
    let [i0, i1, s0, s1]: [u8; 4] = packet.load(flow.transport_at + 4).filter(|_| is_echo)?;
    Some((u16::from_be_bytes([i0, i1]), u16::from_be_bytes([s0, s1])))
}

/// The number of a quoted TCP segment: RFC 792 quotes eight bytes, the ports and that.
fn quoted_seq(captured: &[u8], quoted: &Layer) -> Option<u32> {
    (quoted.tuple.proto == protocol::TCP).then_some(())?;
    let seq: [u8; 4] = captured.load(quoted.transport_at + 4)?;
    Some(u32::from_be_bytes(seq))
}

/// The key of a DNS message, and whether it is an answer.
fn dns(captured: &[u8], flow: &Layer) -> Option<(AttemptKey, bool)> {
    (flow.tuple.proto == protocol::UDP).then_some(())?;
    let payload = captured.get(flow.transport_at as usize + 8..)?;
    let message = crate::decode::dns::parse(payload)?;
    // NAT may have led it to another port. Other protocols seldom look like one plain question.
    let has_port = flow.tuple.sport == DNS_PORT || flow.tuple.dport == DNS_PORT;
    let is_plain = payload.get(4..6) == Some(&[0, 1]) && !message.question.is_empty();
    (has_port || is_plain).then_some(())?;
    Some((
        AttemptKey::dns(message.id, message.question),
        message.is_answer,
    ))
}

/// Frames between the code that gives up an skb and our program.
fn is_machinery(function: &str) -> bool {
    [
        "bpf_",
        "__bpf_",
        "__traceiter_",
        "kfree_skb",
        "__kfree_skb",
        "sk_skb_reason_drop",
    ]
    .iter()
    .any(|prefix| function.starts_with(prefix))
}

/// The destination that the client asked for, where NAT changed it. Conntrack's original tuple is
/// the client's view for both directions: a reply comes from the changed destination.
pub(crate) fn original_destination(flow: &Tuple, original: &Tuple) -> Option<SocketAddress> {
    if *original == Tuple::default() || original.proto != flow.proto {
        return None;
    }
    let asked_for = (original.dst, original.dport);
    let unchanged = asked_for == (flow.dst, flow.dport) || asked_for == (flow.src, flow.sport);
    let port = flow.has_ports().then_some(original.dport);
    (!unchanged).then(|| (original.dst.into(), port))
}

/// A NUL-padded name of the kernel's.
fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    (end > 0).then(|| String::from_utf8_lossy(&bytes[..end]).into_owned())
}

#[cfg(test)]
mod tests {
    use tracer_common::address::Address;

    use super::*;

    fn tuple(src: [u8; 4], sport: u16, dst: [u8; 4], dport: u16) -> Tuple {
        Tuple {
            src: Address::v4(src),
            dst: Address::v4(dst),
            sport,
            dport,
            proto: protocol::TCP,
            flags: Tuple::HAS_PORTS,
            reserved: [0; 2],
        }
    }

    #[test]
    fn the_original_destination_is_reported_only_if_nat_changed_it() {
        let original = tuple([10, 0, 0, 1], 4000, [10, 96, 0, 10], 80);
        let to_backend = tuple([10, 0, 0, 1], 4000, [10, 0, 1, 5], 8080);
        let cluster_ip = Some(("10.96.0.10".parse().unwrap(), Some(80)));
        assert_eq!(original_destination(&to_backend, &original), cluster_ip);
        assert_eq!(
            original_destination(&to_backend.reversed(), &original),
            cluster_ip
        );
        assert_eq!(original_destination(&original, &original), None);
        assert_eq!(original_destination(&original.reversed(), &original), None);
        assert_eq!(original_destination(&original, &Tuple::default()), None);
    }

    #[test]
    fn names_end_at_the_first_nul() {
        assert_eq!(text(b"cni0\0\0\0\0garbage."), Some("cni0".to_owned()));
        assert_eq!(text(&[0; 16]), None);
    }
}
