//! Routes, neighbors and source checks: where the packet should have gone.

use super::{
    Concern, Finding, function,
    next_hop::{self, NextHop},
    overlay, place, routes, translated,
};
use crate::{
    decode::drop::DropFacts,
    model::{
        Confidence::{Confirmed, Likely},
        Fix, Point, Site, address as address_of,
    },
    node::{change, facts::NodeFacts, route::Lookup, world::LinkId},
    verdict::{
        neighbor::{Explanation, Unanswered},
        policy_rule,
    },
};

/// Reasons for packets whose addresses no packet may have here.
const MARTIAN: [&str; 4] = [
    "IP_LOCALNET",
    "IP_LOCAL_SOURCE",
    "IP_INVALID_SOURCE",
    "IP_INVALID_DEST",
];

pub(super) fn is_refused_for_its_source(facts: &DropFacts) -> Concern {
    let reason = facts.reason.name();
    Concern::surely(reason == "IP_RPFILTER" || MARTIAN.contains(&reason))
}

pub(super) fn reverse_path(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    if !facts.reason.is("IP_RPFILTER") {
        return Some(martian(facts, node));
    }
    let src = facts.flow.src;
    let why = format!(
        "the reverse-path filter{}: the route back to {src} does not lead out through the interface \
         that the packet came in through",
        place(facts)
    );
    let mut finding = Finding::new(Point::Rpfilter, Confirmed, why).about(&[&src, &place(facts)]);
    if let Some(filter) = &node.around.rpfilter {
        finding.evidence.extend(filter.contradiction());
        finding.fix.extend(filter.fix());
    }
    Some(finding)
}

/// An address that cannot be on this link, at either end of the packet.
fn martian(facts: &DropFacts, node: &NodeFacts) -> Finding {
    let (src, dst) = (facts.flow.src, facts.flow.dst);
    let is_own = |address| {
        let world = node.world.as_deref()?;
        world.is_local(facts.netns?, address)
    };
    let reason = &facts.reason;
    let why = if reason.is("IP_INVALID_DEST") || (dst.is_loopback() && !src.is_loopback()) {
        format!(
            "martian destination address {dst}{}: it is not accepted from a link ({reason})",
            place(facts)
        )
    } else if is_own(src) == Some(true) || reason.is("IP_LOCAL_SOURCE") {
        format!(
            "martian source address {src}{}: it is an address of this very namespace ({reason})",
            place(facts)
        )
    } else {
        format!("martian source address {src}{} ({reason})", place(facts))
    };
    let mut finding =
        Finding::new(Point::Rpfilter, Confirmed, why).about(&[&src, &dst, &place(facts), reason]);
    if dst.is_loopback() {
        let localnet = node.world.as_deref().and_then(|world| {
            let link = world.link_named(facts.netns?, facts.ifname.as_deref()?)?;
            Some((link.name.clone(), link.ipv4?.route_localnet))
        });
        if let Some((ifname, 0)) = localnet {
            finding
                .evidence
                .push(format!("route_localnet of {ifname} is 0"));
            let path = format!("net/ipv4/conf/{ifname}/route_localnet");
            finding.fix.push(change::sysctl(&path, 0, 1));
        }
    } else if src == dst {
        finding.fix.push(Fix::advice(format!(
            "masquerade what {src} sends to itself through a Service (kube-proxy: KUBE-MARK-MASQ, \
             --cluster-cidr)"
        )));
    }
    finding
}

pub(super) fn lacks_neighbor(facts: &DropFacts) -> Concern {
    let reason = facts.reason.name();
    let waits = matches!(reason, "NEIGH_FAILED" | "NEIGH_DEAD" | "NEIGH_QUEUEFULL");
    Concern::surely(waits || function(facts) == "neigh_invalidate")
}

pub(super) fn neighbor(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let (address, spread) = match next_hop::of(facts, node) {
        NextHop::Known(address, spread) => (address, spread),
        NextHop::Unproven(finding) => return Some(with_entries(*finding, node)),
    };
    let lookup = node.around.route.as_ref();
    let answer = lookup.and_then(|lookup| lookup.answer.as_ref().ok());
    let at = facts.key.ifindex;
    let ifindex = Some(at).filter(|at| *at != 0);
    let ifindex = ifindex.or(answer.and_then(|route| route.output));
    let name = answer.filter(|route| route.output == ifindex);
    let name = name.and_then(|route| route.ifname.as_deref());
    let waiting = Unanswered {
        address,
        from: facts
            .netns
            .zip(ifindex.filter(|_| answer.is_some()))
            .map(|(netns, ifindex)| LinkId { netns, ifindex })
            .zip(name.or(facts.ifname.as_deref())),
        dst: facts.flow.dst,
        src: facts.flow.src,
        by: lookup.and_then(|lookup| lookup.matched.as_ref()),
    };
    let Explanation {
        point,
        confidence,
        why,
        mut evidence,
        mut fix,
    } = waiting.explain(node.world.as_deref());
    if matches!(point, Point::Endpoint | Point::Route)
        && let Some((fact, advice)) = routes::taken_by_docker(facts, node)
    {
        evidence.insert(0, fact);
        fix.push(advice);
    }
    let why = match &node.leads {
        Some(leads) if point == Point::Endpoint => {
            evidence.extend(translated::in_words(leads));
            fix.extend(translated::repair(leads));
            let requested = address_of(leads.original.destination());
            format!("{why}: a rule translates {requested} to it")
        }
        _ => why,
    };
    if facts.reason.is("NEIGH_QUEUEFULL") {
        evidence.push("the queue of packets that wait for its answer is full".to_owned());
    }
    evidence.extend(match (spread, lookup.filter(|_| answer.is_some())) {
        (Some(route), _) => Some(format!("the route: {route}")),
        (None, lookup) => lookup.map(|lookup| format!("the route: {lookup}")),
    });
    let finding = Finding {
        evidence,
        fix,
        ..Finding::new(point, confidence, why).about(&[&waiting.address, &place(facts)])
    };
    Some(with_entries(finding, node))
}

fn with_entries(mut finding: Finding, node: &NodeFacts) -> Finding {
    let entries = node.around.neighbors.iter();
    let entries = entries.map(|entry| format!("the neighbor entry: {entry}"));
    finding.evidence.extend(entries);
    finding
}

pub(super) fn lacks_entry(facts: &DropFacts) -> Concern {
    Concern::surely(facts.reason.is("NEIGH_CREATEFAIL"))
}

/// The kernel could not make a neighbor entry.
pub(super) fn neighbor_table(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let mut finding = Finding::new(
        Point::Queue,
        Likely,
        format!(
            "no neighbor entry could be made for {}{}: the table is full",
            facts.flow.dst,
            place(facts)
        ),
    )
    .about(&[&place(facts)]);
    if let Some(route) = &node.around.route {
        finding.evidence.push(format!("the route: {route}"));
    }
    finding.fix.push(
        Fix::advice("raise net.ipv4.neigh.default.gc_thresh3 (net.ipv6 for IPv6)").at(Site::Host),
    );
    Some(finding)
}

/// Why it is not routed.
#[derive(Clone, Copy)]
enum Unrouted {
    NoRoute,
    NotForwarded,
    Refused,
    NoIpv6,
}

fn unrouted(facts: &DropFacts) -> Option<Unrouted> {
    match (facts.reason.name(), function(facts)) {
        ("IP_INNOROUTES" | "IP_OUTNOROUTES", _) => Some(Unrouted::NoRoute),
        ("IP_INADDRERRORS", _) => Some(Unrouted::NotForwarded),
        ("IPV6DISABLED", _) => Some(Unrouted::NoIpv6),
        (
            _,
            "ip_error" | "dst_discard_out" | "dst_discard" | "ip6_pkt_discard" | "ip6_pkt_drop"
            | "ip6_pkt_prohibit",
        ) => Some(Unrouted::Refused),
        _ => None,
    }
}

pub(super) fn is_unrouted(facts: &DropFacts) -> Concern {
    Concern::surely(unrouted(facts).is_some())
}

pub(super) fn route(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let dst = facts.flow.dst;
    let kind = unrouted(facts)?;
    let (name, why) = match kind {
        Unrouted::NoRoute => ("no route", format!("no route to {dst}")),
        Unrouted::NotForwarded => (
            "not forwarded",
            match node.around.incoming.as_ref().or(node.around.link.as_ref()) {
                Some(link) => format!(
                    "{dst} is not an address of this namespace, and it does not forward what comes \
                     in through {}",
                    link.name
                ),
                None => {
                    format!("{dst} is not an address of this namespace, and it does not forward")
                }
            },
        ),
        Unrouted::Refused => (
            "refused",
            format!("the route to {dst} says blackhole, unreachable or prohibit"),
        ),
        Unrouted::NoIpv6 => (
            "no IPv6",
            format!(
                "IPv6 is disabled{}: no IPv6 packet is taken there",
                place(facts)
            ),
        ),
    };
    let mut finding = Finding::new(Point::Route, Confirmed, why).about(&[&name, &dst]);
    let lookup = node.around.route.as_ref();
    // No route has been looked up for it.
    if let Some(lookup) = lookup.filter(|_| !matches!(kind, Unrouted::NoIpv6)) {
        finding
            .evidence
            .push(format!("the kernel says now: {lookup}"));
        match lookup.culprit() {
            Some(route) => routes::refused_by(&mut finding, facts, node, route),
            // Packets whose source the kernel refuses are not dropped here: it is a rule's answer.
            None if !matches!(kind, Unrouted::NotForwarded) => {
                let world = facts.netns.zip(node.world.as_deref());
                if let Some(rule) =
                    world.and_then(|(netns, world)| lookup.refusing_rule(world, netns))
                {
                    policy_rule::blame(&mut finding, rule, dst);
                }
            }
            None => {}
        }
    }
    let thrown = node.around.route.as_ref().and_then(Lookup::thrown_by);
    if let Some(route) = thrown.filter(|_| matches!(kind, Unrouted::NoRoute))
        && finding.fix.is_empty()
    {
        routes::thrown_by(&mut finding, dst, route);
    }
    if matches!(kind, Unrouted::NoRoute) {
        finding.evidence.extend(overlay::idle_tunnels(facts, node));
        routes::add_lost_advertisements(&mut finding, facts, node);
    }
    if matches!(kind, Unrouted::NoIpv6)
        && let Some(ifname) = &facts.ifname
    {
        let path = format!("net/ipv6/conf/{ifname}/disable_ipv6");
        let fix = change::sysctl(&path, 1, 0);
        let note = "addresses and routes that were configured before have to be added again";
        finding.fix.push(fix.noting(note));
    }
    if facts.reason.is("IP_INADDRERRORS") {
        let forwarding = node.around.forwarding.as_ref();
        finding
            .fix
            .extend(forwarding.and_then(|forwarding| forwarding.fix()));
    }
    Some(finding)
}
