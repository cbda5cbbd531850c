//! Reads what rules ask of the host about one dropped packet.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    net::IpAddr,
    path::Path,
};

use super::host::{Host, Kind, Local};
use crate::{
    decode::drop::DropFacts,
    model::Flow,
    net::{RouteKey, RouteKind, Rtnetlink},
    node::{conntrack, route::Lookup, sysctl, world::bridge_setting},
};

/// What is known of the packet's network namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Survey {
    /// What rules may ask.
    pub(crate) host: Host,
    names: HashMap<u32, String>,
}

impl Survey {
    /// Reads it in the namespace that this thread is in. What cannot be read stays unknown: then
    /// more rules could have dropped the packet.
    pub(crate) fn of(facts: &DropFacts) -> Self {
        let mut survey = Self {
            host: Host {
                devices: devices().unwrap_or_default(),
                ..Host::default()
            },
            ..Self::default()
        };
        let Ok(rtnetlink) = Rtnetlink::open() else {
            return survey;
        };
        let wire = facts.wire.as_deref();
        for ifindex in [facts.iif, wire.and_then(|wire| wire.oif).unwrap_or(0)] {
            if let (true, Ok(Some(link))) = (ifindex != 0, rtnetlink.link(ifindex)) {
                survey.names.insert(ifindex, link.name);
            }
        }
        for address in addresses(facts) {
            survey.host.addresses.extend(local(&rtnetlink, address));
        }
        survey.host.reverse_path = reverse_path(&rtnetlink, facts);
        survey.host.bridge_calls_iptables = bridge_calls_iptables(facts);
        survey.host.has_ebtables = Path::new("/sys/module/ebtables").exists();
        survey.host.tracks_nothing = conntrack::sees_nothing();
        survey
    }

    /// The same for a packet of which only its ends are known.
    pub(in crate::node) fn of_flow(flow: &Flow) -> Self {
        let mut survey = Self {
            host: Host {
                devices: devices().unwrap_or_default(),
                ..Host::default()
            },
            ..Self::default()
        };
        if let Ok(rtnetlink) = Rtnetlink::open() {
            let known = [flow.src, flow.dst].map(|address| local(&rtnetlink, address));
            survey.host.addresses.extend(known.into_iter().flatten());
        }
        survey
    }

    /// The name of an interface, where it was asked for.
    pub(crate) fn name(&self, ifindex: u32) -> Option<String> {
        self.names.get(&ifindex).cloned()
    }
}

/// The names of all interfaces, as `/proc/net/dev` has them: `  eth0: 1 2 3 …`.
fn devices() -> Option<Vec<String>> {
    let text = fs::read_to_string("/proc/thread-self/net/dev").ok()?;
    let lines = text.lines().skip(2);
    let names = lines.filter_map(|line| line.split_once(':'));
    Some(names.map(|(name, _)| name.trim().to_owned()).collect())
}

/// Whether bridges hand their frames of the packet's version to iptables.
fn bridge_calls_iptables(facts: &DropFacts) -> bool {
    let name = bridge_setting(facts.flow.src.is_ipv4());
    let value = sysctl::number(&format!("/proc/sys/net/bridge/{name}"));
    value.is_ok_and(|value| value == Some(1))
}

/// The packet's addresses, before and behind NAT.
fn addresses(facts: &DropFacts) -> BTreeSet<IpAddr> {
    let flow = &facts.flow;
    let mut all = BTreeSet::from([flow.src, flow.dst]);
    if let Some(outer) = &facts.outer {
        all.extend([outer.src, outer.dst]);
    }
    let entry = facts.wire.as_ref().and_then(|wire| wire.entry);
    for tuple in entry.iter().flat_map(|(original, reply)| [original, reply]) {
        all.extend([IpAddr::from(tuple.src), IpAddr::from(tuple.dst)]);
    }
    all
}

/// What the routes call an address.
fn local(rtnetlink: &Rtnetlink, address: IpAddr) -> Option<Local> {
    let lookup = Lookup::read(rtnetlink, RouteKey::to(address)).ok()?;
    let kind = match lookup.answer.as_ref().map(|route| route.kind) {
        Ok(RouteKind::Local) => Kind::Local,
        Ok(RouteKind::Broadcast) => Kind::Broadcast,
        Ok(RouteKind::Multicast) => Kind::Multicast,
        Ok(RouteKind::Unicast) => Kind::Unicast,
        Ok(_) | Err(_) => Kind::Elsewhere,
    };
    Some(Local {
        address,
        bits: if address.is_ipv4() { 32 } else { 128 },
        kind,
    })
}

/// Whether the source is routed back through the interface that the packet came in through.
fn reverse_path(rtnetlink: &Rtnetlink, facts: &DropFacts) -> Option<bool> {
    if facts.iif == 0 || facts.outer.is_some() {
        return None;
    }
    let port = rtnetlink.link(facts.iif).ok().flatten();
    let master = port.and_then(|port| port.master);
    // What a bridge forwards needs no route back. The hooks of IP ask the routes all the same.
    let is_of_ip = facts
        .hook
        .is_none_or(|hook| !hook.is_bridge() && !hook.is_device());
    if master.is_some() && !is_of_ip {
        return None;
    }
    let back = Lookup::read(rtnetlink, RouteKey::to(facts.flow.src)).ok()?;
    let Ok(route) = &back.answer else {
        return Some(false);
    };
    match route.kind {
        RouteKind::Unicast => {
            let hops = back.matched.iter().flat_map(|matched| &matched.hops);
            let mut outputs = hops.map(|(output, _)| *output).chain(route.output);
            // A frame that a bridge forwards came in through one of its ports; routes know the bridge.
            Some(outputs.any(|output| output == facts.iif || Some(output) == master))
        }
        // What comes from the host itself is routed back by the loopback device.
        RouteKind::Local => None,
        _ => Some(false),
    }
}
