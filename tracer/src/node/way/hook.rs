//! From a packet on its way to one at a hook, and back.

use std::{net::IpAddr, sync::Arc};

use super::{AtHook, DroppedBy, Judgment, Kernel, Packet};
use crate::{
    decode::tracked::Tracked,
    model::{Flow, Hook},
    net::{ConntrackEntry, RouteKey, RouteKind},
    node::{
        ruleset::{
            Ruleset, Suspect,
            host::{Host, Kind, Local},
            model::Verdict,
            packet::{Device, Ends, Entry, HookPacket, Ports, Translation},
            passage::{Passage, Way},
        },
        world::World,
    },
};

/// The zone that a packet at a hook is tracked in; `None` if that depends on what is not known.
pub(super) fn zone(
    world: &World,
    kernel: &dyn Kernel,
    ruleset: &Ruleset,
    (at, packet): (&AtHook, &Packet),
) -> Option<u16> {
    match ruleset.has_zones && is_for_destinations(at.hook) {
        true => ruleset.zone(&shown(world, kernel, at, packet)),
        false => Some(packet.zone),
    }
}

/// What the rules at a hook make of a packet. Where the connection has an entry in conntrack, that
/// says what NAT makes of it.
pub(super) fn judge(
    world: &World,
    kernel: &dyn Kernel,
    ruleset: &Ruleset,
    entry: Option<&ConntrackEntry>,
    (at, packet): (&AtHook, &Packet),
) -> Judgment {
    let shown = shown(world, kernel, at, packet);
    let Some(entry) = entry else {
        let passage = ruleset.pass(&shown);
        let exempted = untracked(world, ruleset, &shown, (at, packet), &passage);
        return exempted.unwrap_or_else(|| passed(world, (at, packet), passage));
    };
    let by_entry = ruleset.pass(&HookPacket {
        nat: Translation {
            after: Some(translated(entry, at, packet)),
            ..Translation::default()
        },
        // An answer makes it an answered one.
        tracked: match entry.is_answered || entry.is_reply(&packet.original) {
            true => Tracked::Established,
            false => Tracked::New,
        },
        ..shown.clone()
    });
    let kept = passed(world, (at, packet), by_entry);
    if !is_for_destinations(at.hook) || entry.is_reply(&packet.original) {
        return kept;
    }
    let by_rules = passed(world, (at, packet), ruleset.pass(&shown));
    match (&kept, &by_rules) {
        (Judgment::Passes(kept), Judgment::Passes(rules)) => {
            let differs = |kept: &Packet| {
                let ends = |rule: &Packet| rule.flow.destination() == kept.flow.destination();
                // Another one of several endpoints is no contradiction.
                !rules.iter().any(ends)
            };
            match (kept.as_slice(), rules.first()) {
                ([kept], Some(first)) if differs(kept) => {
                    Judgment::PassesByEntry(kept.clone(), first.flow)
                }
                _ => Judgment::Passes(kept.clone()),
            }
        }
        _ => kept,
    }
}

/// The packet, if a rule exempts it from tracking and other rules would have sent it elsewhere.
fn untracked(
    world: &World,
    ruleset: &Ruleset,
    shown: &HookPacket,
    (at, packet): (&AtHook, &Packet),
    passage: &Passage,
) -> Option<Judgment> {
    let Passage::Passed(ways) = passage else {
        return None;
    };
    let [only] = ways.as_slice() else { return None };
    let rule = only.exempted_by.clone()?;
    let otherwise = ruleset.tracking_all().pass(shown);
    let Judgment::Passes(otherwise) = passed(world, (at, packet), otherwise) else {
        return None;
    };
    let elsewhere = otherwise
        .into_iter()
        .find(|other| other.flow.destination() != packet.flow.destination())?;
    let here = behind(world, at, packet, only).ok()?;
    Some(Judgment::PassesUntracked(here, rule, elsewhere.flow))
}

fn is_for_destinations(hook: Hook) -> bool {
    matches!(hook, Hook::Prerouting | Hook::Output)
}

/// What NAT at this hook makes of a packet, by the connection's entry.
fn translated(entry: &ConntrackEntry, at: &AtHook, packet: &Packet) -> Ends {
    let behind = entry.behind(&packet.original);
    let now = ends(&packet.flow);
    match is_for_destinations(at.hook) {
        true => now.to_destination_of(ends(&behind)),
        false => Ends {
            src: behind.src,
            sport: behind.sport,
            ..now
        },
    }
}

/// What a passage means for the walk.
fn passed(world: &World, (at, packet): (&AtHook, &Packet), passage: Passage) -> Judgment {
    match passage {
        Passage::Passed(ways) => {
            let behind: Result<Vec<_>, _> = ways
                .iter()
                .map(|way| behind(world, at, packet, way))
                .collect();
            match behind {
                Ok(behind) if behind.is_empty() => {
                    let name = at.hook.name();
                    Judgment::Undecided(format!("what the rules at {name} make of it"))
                }
                Ok(behind) => Judgment::Passes(behind),
                Err(want) => Judgment::Undecided(want),
            }
        }
        Passage::Dropped(rule) => Judgment::Drops(dropped_by(&[*rule])),
        Passage::Undecided {
            rules,
            ways,
            incomplete,
        } => {
            let drops = |rule: &Suspect| matches!(rule.verdict, Verdict::Drop | Verdict::Reject(_));
            if !incomplete && ways.is_empty() && !rules.is_empty() && rules.iter().all(drops) {
                return Judgment::Drops(dropped_by(&rules));
            }
            let named: Vec<_> = rules.iter().map(Suspect::describe).collect();
            Judgment::Undecided(match named.as_slice() {
                [] => format!(
                    "the rules at {} could not all be read or followed",
                    at.hook.name()
                ),
                [only] => format!("whether this rule drops it: {only}"),
                [first, others @ ..] => {
                    let more = others.len();
                    format!("whether this rule drops it, or one of {more} others: {first}")
                }
            })
        }
    }
}

fn dropped_by(rules: &[Suspect]) -> DroppedBy {
    let named: Vec<_> = rules.iter().map(Suspect::describe).collect();
    DroppedBy {
        text: named.join(", or "),
        by_policy: rules.iter().any(|rule| rule.number.is_none()),
        rejects: rules
            .iter()
            .all(|rule| matches!(rule.verdict, Verdict::Reject(_))),
        counter: match rules {
            [only] => only.counter.filter(|counter| counter.exact),
            _ => None,
        }
        .map(|counter| counter.packets),
    }
}

fn shown(world: &World, kernel: &dyn Kernel, at: &AtHook, packet: &Packet) -> HookPacket {
    let is_first = matches!(at.hook, Hook::Output);
    let device = |name: &Option<String>| name.clone().map_or(Device::None, Device::Named);
    let port = |name: &Option<String>| name.clone().map_or(Device::Unknown, Device::Named);
    HookPacket {
        hook: Some(at.hook),
        tcp_flags: packet.tcp_flags,
        icmp: packet.icmp,
        input: if is_first {
            Device::None
        } else {
            device(&at.input)
        },
        output: device(&at.output),
        ports: match &at.ports {
            Some((input, output)) => Ports::Bridged {
                input: port(input),
                output: port(output),
            },
            None => Ports::None,
        },
        mark: packet.mark,
        tracked: packet.tracked,
        entry: Some(Entry {
            original: ends(&packet.original),
            reply: None,
            is_reply: false,
        }),
        len: packet.len,
        host: Arc::new(host(world, kernel, at, packet)),
        ..HookPacket::new(ends(&packet.flow), packet.flow.proto.number())
    }
}

fn ends(flow: &Flow) -> Ends {
    Ends {
        src: flow.src,
        dst: flow.dst,
        sport: flow.sport,
        dport: flow.dport,
    }
}

fn host(world: &World, kernel: &dyn Kernel, at: &AtHook, packet: &Packet) -> Host {
    let namespace = world.namespace(at.netns);
    let devices = namespace.map(|namespace| {
        let links = namespace.links.values();
        links.map(|link| link.name.clone()).collect()
    });
    let addresses = [packet.flow.src, packet.flow.dst];
    let input = at.input.as_deref();
    let input = input.and_then(|name| world.link_named(at.netns, name));
    Host {
        devices: devices.unwrap_or_default(),
        addresses: addresses
            .into_iter()
            .filter_map(|address| local(kernel, at.netns, address))
            .collect(),
        has_all_addresses: false,
        bridge_calls_iptables: false,
        has_ebtables: false,
        tracks_nothing: false,
        reverse_path: input.and_then(|link| {
            let back = kernel.route(at.netns, RouteKey::to(packet.flow.src)).ok()?;
            match &back.answer {
                Ok(route) if route.kind == RouteKind::Unicast => {
                    let hops = back.matched.iter().flat_map(|matched| &matched.hops);
                    let mut outputs = hops.map(|(output, _)| *output).chain(route.output);
                    Some(outputs.any(|output| output == link.id.ifindex))
                }
                Ok(_) => None,
                Err(_) => Some(false),
            }
        }),
    }
}

fn local(kernel: &dyn Kernel, netns: u32, address: IpAddr) -> Option<Local> {
    let lookup = kernel.route(netns, RouteKey::to(address)).ok()?;
    Some(Local {
        address,
        bits: if address.is_ipv4() { 32 } else { 128 },
        kind: match lookup.answer.as_ref().map(|route| route.kind) {
            Ok(RouteKind::Local) => Kind::Local,
            Ok(RouteKind::Broadcast) => Kind::Broadcast,
            Ok(RouteKind::Multicast) => Kind::Multicast,
            Ok(RouteKind::Unicast) => Kind::Unicast,
            Ok(_) | Err(_) => Kind::Elsewhere,
        },
    })
}

/// The packet behind the hook; what NAT chose by itself is filled in where the model knows it.
fn behind(world: &World, at: &AtHook, packet: &Packet, way: &Way) -> Result<Packet, String> {
    let ends = way.packet.ends;
    if way.unknown.dst {
        return Err(format!("where NAT at {} sends it", at.hook.name()));
    }
    let src = match way.unknown.src {
        false => ends.src,
        true => masquerade(world, at, packet.flow.dst)
            .ok_or_else(|| format!("the source that NAT at {} gives it", at.hook.name()))?,
    };
    Ok(Packet {
        flow: Flow {
            src,
            sport: ends.sport.filter(|_| !way.unknown.sport),
            dst: ends.dst,
            dport: ends.dport.filter(|_| !way.unknown.dport),
            ..packet.flow
        },
        mark: way.packet.mark,
        tracked: way.packet.tracked,
        ..packet.clone()
    })
}

/// The address that MASQUERADE chooses: one of the link that the packet leaves through.
fn masquerade(world: &World, at: &AtHook, dst: IpAddr) -> Option<IpAddr> {
    let output = world.link_named(at.netns, at.output.as_deref()?)?;
    let namespace = world.namespace(at.netns)?;
    let candidates: Vec<_> = namespace
        .addresses
        .iter()
        .filter(|one| {
            one.ifindex == output.id.ifindex
                && one.address.is_ipv4() == dst.is_ipv4()
                && one.scope == libc::RT_SCOPE_UNIVERSE
                && !one.flags.secondary
        })
        .collect();
    // Of several, it depends on the next hop.
    match candidates.as_slice() {
        [only] => Some(only.address),
        _ => None,
    }
}
