//! The flow that is to pass, as rules match it.

use crate::node::ruleset::{
    condition::{Condition, Element, Field, Mark, Part, Translated, Values, Version, state},
    model::Statement,
    nft_value::address_number,
    packet::{Device, Ends, HookPacket, Translation},
};
use crate::{decode::tracked::Tracked, model::Hook};

/// What a rule matches that lets the flow pass: new connections of the same client to the same port
/// as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) ends: Ends,
    pub(super) proto: u8,
    /// The server's port.
    pub(super) port: Option<Port>,
    pub(super) icmp_type: Option<u8>,
    pub(super) input: Option<String>,
    pub(super) output: Option<String>,
    /// Bits of the mark, and their values.
    pub(super) mark: Option<(u32, u32)>,
    /// Only packets of connections that were let through in the other direction.
    pub(super) established: bool,
}

/// The server's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Source(u16),
    Destination(u16),
}

/// Protocols with ports that nft and iptables know by name.
const WITH_PORTS: [u8; 4] = [6, 17, 33, 132];
const ICMP: [u8; 2] = [1, 58];

impl Flow {
    /// The flow of a packet; `None` where not enough is known of it to let nothing else pass.
    pub(super) fn of(packet: &HookPacket) -> Option<Self> {
        let has_ports = WITH_PORTS.contains(&packet.proto);
        let is_answer = is_answer(packet);
        let Ends { sport, dport, .. } = packet.ends;
        let port = match is_answer {
            true => sport.map(Port::Source),
            false => dport.map(Port::Destination),
        };
        let icmp_type = packet.icmp.map(|(kind, _)| kind);
        let is_known = match packet.proto {
            _ if packet.is_later_fragment => false,
            proto if ICMP.contains(&proto) => icmp_type.is_some(),
            _ => !has_ports || port.is_some(),
        };
        is_known.then_some(Self {
            ends: packet.ends,
            proto: packet.proto,
            port: port.filter(|_| has_ports),
            icmp_type,
            input: None,
            output: None,
            mark: None,
            established: is_answer && packet.entry.is_some_and(|entry| entry.is_reply),
        })
    }

    /// With the matches of a rule that the flow satisfies; `None` where one is not known.
    pub(super) fn kept_to(self, rule: &[Statement], packet: &HookPacket) -> Option<Self> {
        let mut flow = self;
        for statement in rule {
            let Statement::Match(condition) = statement else {
                continue;
            };
            match condition {
                Condition::In { key, .. } => {
                    for field in key {
                        match field {
                            Field::Input => flow.input = named(&packet.input)?,
                            Field::Output => flow.output = named(&packet.output)?,
                            _ => {}
                        }
                    }
                }
                Condition::Mark {
                    of: Mark::Packet,
                    mask,
                    ..
                } => {
                    let (known, value) = flow.mark.unwrap_or_default();
                    flow.mark = Some((known | mask, value | packet.mark? & mask));
                }
                _ => {}
            }
        }
        Some(flow)
    }

    /// A solicitation or an advertisement: which hosts ask, and for what, changes all the time, so
    /// that one of them is no use alone.
    pub(super) fn is_neighbor_discovery(&self) -> bool {
        self.proto == 58 && matches!(self.icmp_type, Some(135 | 136))
    }

    /// The conditions of the rule, for the model.
    pub(super) fn conditions(&self) -> Vec<Statement> {
        let version = match self.ends.src.is_ipv4() {
            true => Version::V4,
            false => Version::V6,
        };
        let is = |field: Field, part: Part| Condition::In {
            key: vec![field],
            negated: false,
            values: Values::Inline(vec![Element::of(part)]),
        };
        let number = |field: Field, number: u128| is(field, Part::number(number));
        let mut all = vec![
            number(Field::Source(version), address_number(self.ends.src)),
            number(Field::Destination(version), address_number(self.ends.dst)),
            number(Field::Protocol(None), self.proto.into()),
        ];
        all.extend(self.port.map(|port| match port {
            Port::Source(port) => number(Field::SourcePort(Some(self.proto)), port.into()),
            Port::Destination(port) => {
                number(Field::DestinationPort(Some(self.proto)), port.into())
            }
        }));
        let icmp = self.icmp_type;
        all.extend(icmp.map(|kind| number(Field::IcmpType(self.proto), kind.into())));
        let device = |field, name: &Option<String>| {
            let name = name.clone()?;
            Some(is(field, Part::Name(name)))
        };
        all.extend(device(Field::Input, &self.input));
        all.extend(device(Field::Output, &self.output));
        all.extend(self.mark.map(|(mask, value)| Condition::Mark {
            of: Mark::Packet,
            mask,
            value,
            negated: false,
        }));
        all.extend(self.established.then_some(Condition::State {
            states: state::ESTABLISHED,
            translated: Translated::default(),
            negated: false,
        }));
        all.into_iter().map(Statement::Match).collect()
    }

    /// A short name for it.
    pub(super) fn name(&self) -> String {
        let proto = match self.proto {
            1 | 58 => "icmp".to_owned(),
            6 => "tcp".to_owned(),
            17 => "udp".to_owned(),
            33 => "dccp".to_owned(),
            132 => "sctp".to_owned(),
            other => other.to_string(),
        };
        match (self.port, self.icmp_type) {
            (Some(Port::Source(port) | Port::Destination(port)), _) => format!("{proto}-{port}"),
            (None, Some(kind)) => format!("{proto}-{kind}"),
            (None, None) => proto,
        }
    }
}

/// The packet that answers this one, at the hook where it comes by; `None` where that is not known.
pub(in crate::node::ruleset) fn answer_to(packet: &HookPacket) -> Option<HookPacket> {
    if is_answer(packet) {
        return None;
    }
    let hook = match packet.hook? {
        hook @ (Hook::Forward | Hook::BridgeForward) => hook,
        Hook::Input => Hook::Output,
        Hook::Output => Hook::Input,
        _ => return None,
    };
    let icmp = match (packet.proto, packet.icmp) {
        (1, Some((8, _))) => Some((0, 0)),
        (58, Some((128, _))) => Some((129, 0)),
        (1 | 58, _) => return None,
        _ => None,
    };
    Some(HookPacket {
        hook: Some(hook),
        tcp_flags: packet.tcp_flags.map(|_| 0x12),
        icmp,
        input: packet.output.clone(),
        output: packet.input.clone(),
        tracked: Tracked::Established,
        host: packet.host.clone(),
        nat: Translation {
            after: Some(packet.ends.reversed()),
            ..Translation::default()
        },
        ..HookPacket::new(packet.ends.reversed(), packet.proto)
    })
}

/// Whether it goes from the server to the client.
fn is_answer(packet: &HookPacket) -> bool {
    const SYN_ACK: u8 = 0x12;
    let has_flags = packet
        .tcp_flags
        .is_some_and(|flags| flags & SYN_ACK == SYN_ACK);
    let ends = packet.ends;
    match packet.entry {
        Some(entry) => entry.is_reply,
        None => has_flags || matches!((ends.sport, ends.dport), (Some(..1024), Some(32768..))),
    }
}

/// The name of an interface, in a rule that asks for one.
fn named(device: &Device) -> Option<Option<String>> {
    match device {
        Device::None => Some(None),
        Device::Named(name) => Some(Some(name.clone())),
        Device::Unknown => None,
    }
}
