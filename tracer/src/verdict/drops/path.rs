//! Routes, neighbours and source checks: where the packet should have gone.

use super::{Concern, Finding, function, place};
use crate::{
    decode::drop::DropFacts,
    model::{
        Confidence::{Confirmed, Likely},
        Fix, Point, Site,
        shell::Command,
    },
    node::{facts::NodeFacts, world::LinkId},
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
    let src = facts.flow.src;
    let why = if facts.reason.is("IP_RPFILTER") {
        format!(
            "the reverse-path filter: {src} is not reached by the interface it came in by{}",
            place(facts)
        )
    } else {
        format!(
            "a martian packet: {src} cannot be a source{} ({})",
            place(facts),
            facts.reason
        )
    };
    let mut finding =
        Finding::new(Point::Rpfilter, Confirmed, why).about(&[&src, &place(facts), &facts.reason]);
    if let Some(filter) = &node.around.rpfilter {
        finding.evidence.extend(filter.contradiction());
        finding.fix.extend(filter.fix());
    }
    Some(finding)
}

/// Why a packet does not reach its next hop.
#[derive(Clone, Copy)]
enum Unreached {
    NoReply,
    QueueFull,
    OtherHost,
}

fn unreached(facts: &DropFacts) -> Option<Unreached> {
    match (facts.reason.name(), function(facts)) {
        ("NEIGH_FAILED" | "NEIGH_CREATEFAIL" | "NEIGH_DEAD", _) | (_, "neigh_invalidate") => {
            Some(Unreached::NoReply)
        }
        ("NEIGH_QUEUEFULL", _) => Some(Unreached::QueueFull),
        ("OTHERHOST", _) => Some(Unreached::OtherHost),
        _ => None,
    }
}

pub(super) fn lacks_neighbor(facts: &DropFacts) -> Concern {
    Concern::surely(unreached(facts).is_some())
}

pub(super) fn neighbor(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let (dst, at) = (facts.flow.dst, place(facts));
    let (kind, why) = match unreached(facts)? {
        Unreached::NoReply => (
            "no reply",
            format!("nobody answers for {dst} (ARP or ND){at}"),
        ),
        Unreached::QueueFull => (
            "queue",
            format!("packets wait for the neighbour of {dst} in vain{at}, and their queue is full"),
        ),
        Unreached::OtherHost => (
            "other host",
            format!(
                "the packet{at} has another machine's MAC address: a stale neighbour entry at the \
                 sender"
            ),
        ),
    };
    // The packet may have been on its way to a gateway that is dead, not to the endpoint itself.
    let mut finding = Finding::new(Point::Endpoint, Likely, why).about(&[&kind, &dst, &at]);
    if let Some(route) = &node.around.route {
        finding.evidence.push(format!("the route: {route}"));
    }
    let entries = node.around.neighbors.iter();
    finding
        .evidence
        .extend(entries.map(|entry| format!("the neighbour entry: {entry}")));
    finding.evidence.extend(holders(facts, node));
    if facts.reason.is("OTHERHOST") {
        let flush = Command::new("ip neighbour flush to").arg(facts.flow.dst);
        finding.fix.push(
            Fix::command(flush)
                .at(Site::Sender)
                .noting("it asks for the address again"),
        );
    }
    Some(finding)
}

/// The namespaces of this node that have the address that was asked for, and what is in between.
fn holders(facts: &DropFacts, node: &NodeFacts) -> Vec<String> {
    let route = node.around.route.as_ref();
    let route = route.and_then(|lookup| lookup.answer.as_ref().ok());
    let (Some(world), Some(netns), Some(route)) = (&node.world, facts.netns, route) else {
        return Vec::new();
    };
    let Some(ifindex) = route.output else {
        return Vec::new();
    };
    let asked = route.gateway.unwrap_or(facts.flow.dst);
    let from = LinkId { netns, ifindex };
    let holders = world.holders_near(netns, asked);
    let lines = holders.iter().flat_map(|holder| {
        let held = format!(
            "{asked} is an address of {}",
            world.holder_in_words(holder, netns)
        );
        let between = world.between(from, holder);
        [Some(held), world.between_in_words(from, &between)]
    });
    lines.flatten().collect()
}

pub(super) fn may_be_elsewhere(facts: &DropFacts) -> Concern {
    Concern::maybe(facts.reason.is("IP_INADDRERRORS"))
}

/// A packet for an address that its namespace does not have, and that is no router on the way to it:
/// forwarded, it would only go back where it came from.
pub(super) fn not_here(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let lookup = node.around.route.as_ref()?;
    node.around.incoming.as_ref()?;
    if leads_on(facts, node).is_some() {
        return None;
    }
    let dst = facts.flow.dst;
    let why = format!(
        "{dst} is not an address of the namespace that it was sent to{}: the endpoint is gone, or \
         has another address now",
        place(facts)
    );
    let mut finding = Finding::new(Point::Endpoint, Likely, why).about(&[&dst, &place(facts)]);
    finding.fact(match &lookup.matched {
        Some(route) => format!("from there it would go back where it came from: {route}"),
        None => format!("from there no route leads to {dst}"),
    });
    Some(finding)
}

/// The namespace is a router on the way.
pub(super) fn leads_on(_: &DropFacts, node: &NodeFacts) -> Option<String> {
    let came_in = node.around.incoming.as_ref()?;
    let route = node.around.route.as_ref()?.matched.as_ref()?;
    let leads_on = route.output.is_some_and(|output| output != came_in.ifindex);
    leads_on.then(|| format!("the route {route} leads on from there"))
}

pub(super) fn is_expired(facts: &DropFacts) -> Concern {
    let forwards = matches!(function(facts), "ip_forward" | "ip6_forward");
    Concern::surely(forwards && facts.reason.is("IP_INHDR"))
}

pub(super) fn time_to_live(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let why = format!(
        "the packet has used up its hops (TTL){}: a routing loop, or a sender that allows too few",
        place(facts)
    );
    Some(Finding::new(Point::Route, Confirmed, why).about(&[&place(facts)]))
}

/// Why it is not routed.
#[derive(Clone, Copy)]
enum Unrouted {
    NoRoute,
    NotForwarded,
    Refused,
}

fn unrouted(facts: &DropFacts) -> Option<Unrouted> {
    match (facts.reason.name(), function(facts)) {
        ("IP_INNOROUTES" | "IP_OUTNOROUTES", _) => Some(Unrouted::NoRoute),
        ("IP_INADDRERRORS", _) => Some(Unrouted::NotForwarded),
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
    let (kind, why) = match unrouted(facts)? {
        Unrouted::NoRoute => ("no route", format!("no route to {dst}")),
        Unrouted::NotForwarded => (
            "not forwarded",
            format!("{dst} is not an address of this namespace, and it does not forward"),
        ),
        Unrouted::Refused => (
            "refused",
            format!("the route to {dst} says blackhole, unreachable or prohibit"),
        ),
    };
    let mut finding = Finding::new(Point::Route, Confirmed, why).about(&[&kind, &dst]);
    if let Some(lookup) = &node.around.route {
        finding
            .evidence
            .push(format!("the kernel says now: {lookup}"));
        if let Some(route) = lookup.culprit() {
            finding.why = format!("the route {route} refuses it");
            finding.subject = route.to_string();
            let whole = |command| {
                let words = route.to_string();
                words.split(' ').fold(command, Command::arg)
            };
            finding.fix.push(Fix::change(
                whole(Command::new("ip route del")),
                whole(Command::new("ip route add")),
            ));
        }
    }
    if facts.reason.is("IP_INADDRERRORS") {
        let forwarding = node.around.forwarding.as_ref();
        finding
            .fix
            .extend(forwarding.and_then(|forwarding| forwarding.fix()));
    }
    Some(finding)
}
