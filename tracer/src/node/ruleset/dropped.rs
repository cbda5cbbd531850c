//! The packet of a drop, as the rules at its hook saw it.

use std::sync::Arc;

use tracer_common::{event::ct, packet::headers, tuple::Tuple};

use super::{
    host::Host,
    packet::{Device, Ends, Entry, Header, HookPacket, Ports, Translation},
    translation::Progress,
};
use crate::{
    decode::drop::{DropFacts, Wire},
    model::Hook,
};

/// Names of interfaces by their index, in the packet's network namespace.
type Names<'a> = &'a dyn Fn(u32) -> Option<String>;

impl HookPacket {
    /// The packet of a drop.
    pub(crate) fn of(facts: &DropFacts, host: Arc<Host>, names: Names<'_>) -> Self {
        let tuple = &facts.key.flow;
        let wire = facts.wire.as_deref();
        let entry = wire.and_then(entry);
        let devices = Devices::of(facts, names);
        let ends = ends(tuple);
        let inner = Self {
            hook: facts.hook,
            tcp_flags: facts.tcp.map(|tcp| tcp.flags),
            icmp: facts.packet.as_ref().and_then(|packet| packet.icmp),
            input: devices.input,
            output: devices.output,
            ports: devices.ports,
            mark: facts.packet.as_ref().map(|_| facts.mark),
            is_later_fragment: tuple.is_later_fragment(),
            tracked: facts.tracked,
            entry,
            nat: Translation::of_drop(facts.hook, ends, entry, wire.and_then(progress)),
            header: wire.map(|wire| {
                Arc::new(Header {
                    bytes: wire.bytes.clone(),
                    transport_at: wire.transport_at,
                })
            }),
            len: facts.packet.as_ref().map(|packet| packet.len),
            src_mac: wire.and_then(|wire| wire.src_mac),
            host,
            ..Self::new(ends, tuple.proto)
        };
        let Some(outer) = &facts.outer else {
            return inner;
        };
        // The hook saw the packet that carries the other one. On its way out, the drop still shows
        // the tunnel's device.
        let ends = Ends {
            src: outer.src,
            dst: outer.dst,
            sport: outer.sport,
            dport: outer.dport,
        };
        Self {
            ends,
            proto: outer.proto.number(),
            tcp_flags: None,
            icmp: None,
            input: match facts.hook {
                Some(Hook::Output) => Device::None,
                _ => inner.input,
            },
            is_later_fragment: false,
            nat: Translation::of_drop(facts.hook, ends, entry, wire.and_then(progress)),
            header: wire.and_then(outer_header),
            ..inner
        }
    }
}

/// Whether a bridge has handed the packet to the hook of IP that dropped it (br_netfilter). The hooks
/// of bridges and devices run inside the same functions, but see the frame as it is there; and what a
/// bridge delivers to its host goes through the hooks of IP once more, by its route.
fn is_bridged(facts: &DropFacts) -> bool {
    let is_of_ip = facts
        .hook
        .is_some_and(|hook| !hook.is_bridge() && !hook.is_device());
    let mut callers = facts.stack.iter();
    let caller =
        callers.find(|frame| frame.starts_with("br_nf_") || frame.contains("netif_receive_skb"));
    is_of_ip && caller.is_some_and(|frame| frame.starts_with("br_nf_"))
}

/// Where the packet was going.
struct Devices {
    input: Device,
    output: Device,
    ports: Ports,
}

impl Devices {
    fn of(facts: &DropFacts, names: Names<'_>) -> Self {
        let shown = Device::from(facts.ifname.clone());
        let came_by = match facts.iif {
            0 => Device::Unknown,
            iif => names(iif).into(),
        };
        let route = facts.wire.as_ref().and_then(|wire| wire.oif);
        let routed = Device::from(route.and_then(names));
        // With br_netfilter, rules see the bridge where the drop shows its port.
        if is_bridged(facts) {
            let is_forwarded = matches!(facts.hook, Some(Hook::Forward | Hook::Postrouting));
            let output = match is_forwarded {
                true => shown.clone(),
                false => Device::Unknown,
            };
            let input = match facts.hook {
                Some(Hook::Prerouting) => shown,
                _ => came_by,
            };
            return Self {
                // The route of what is only bridged is a made-up one by the bridge itself.
                input: routed.clone(),
                output: match is_forwarded {
                    true => routed,
                    false => Device::Unknown,
                },
                ports: Ports::Bridged { input, output },
            };
        }
        let (input, output) = match facts.hook {
            // A bridge hook's devices are ports, also with br_netfilter. The drop shows the one that
            // the frame is to leave through, once that is known.
            Some(Hook::BridgePrerouting) => (came_by, Device::None),
            Some(Hook::BridgeForward) => (came_by, shown),
            None | Some(Hook::BridgeInput | Hook::BridgeOutput | Hook::BridgePostrouting) => {
                (Device::Unknown, Device::Unknown)
            }
            Some(Hook::Output) => (Device::None, or(routed, shown)),
            Some(Hook::Postrouting) if facts.iif == 0 => (Device::None, shown),
            Some(Hook::Postrouting) => (came_by, shown),
            Some(Hook::Egress) => (Device::Unknown, shown),
            Some(Hook::Forward) => (shown, routed),
            _ => (shown, Device::None),
        };
        Self {
            input,
            output,
            ports: Ports::Unknown,
        }
    }
}

fn or(one: Device, other: Device) -> Device {
    if one == Device::Unknown { other } else { one }
}

fn ends(tuple: &Tuple) -> Ends {
    Ends {
        src: tuple.src.into(),
        dst: tuple.dst.into(),
        sport: tuple.has_ports().then_some(tuple.sport),
        dport: tuple.has_ports().then_some(tuple.dport),
    }
}

fn entry(wire: &Wire) -> Option<Entry> {
    /// From here on, `enum ip_conntrack_info` is of answers.
    const REPLY: u32 = 3;
    let (original, reply) = wire.entry.as_ref()?;
    Some(Entry {
        original: ends(original),
        reply: Some(ends(reply)),
        is_reply: wire.ct & ct::INFO >= REPLY,
    })
}

fn progress(wire: &Wire) -> Option<Progress> {
    if wire.ct & ct::STATUS == 0 {
        return None;
    }
    let status = wire.ct >> ct::STATUS_SHIFT;
    Some(Progress {
        is_confirmed: status & ct::CONFIRMED != 0,
        source_done: status & ct::SRC_NAT_DONE != 0,
        destination_done: status & ct::DST_NAT_DONE != 0,
    })
}

/// The header of the packet that carries the other one.
fn outer_header(wire: &Wire) -> Option<Arc<Header>> {
    headers(&wire.bytes.as_slice())?.outer?;
    let version = wire.bytes.first()? >> 4;
    Some(Arc::new(Header {
        transport_at: match version {
            4 => usize::from(wire.bytes.first()? & 15) * 4,
            _ => 40,
        },
        bytes: wire.bytes.clone(),
    }))
}
