//! Routes, neighbours and source checks: where the packet should have gone.

use super::{Finding, found, function, place};
use crate::{
    decode::drop::DropFacts,
    model::{
        Confidence::{Confirmed, Likely},
        Fix, Point, Site,
        shell::Command,
    },
    node::{facts::NodeFacts, world::LinkId},
};

pub(super) fn reverse_path(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let why = match facts.reason.name() {
        "IP_RPFILTER" => format!(
            "the reverse-path filter: {} is not reached by the interface it came in by{}",
            facts.flow.src,
            place(facts)
        ),
        "IP_LOCALNET" | "IP_LOCAL_SOURCE" | "IP_INVALID_SOURCE" | "IP_INVALID_DEST" => format!(
            "a martian packet: {} cannot be a source{} ({})",
            facts.flow.src,
            place(facts),
            facts.reason
        ),
        _ => return None,
    };
    let mut finding = found(Point::Rpfilter, Confirmed, why)?;
    if let Some(filter) = &node.around.rpfilter {
        finding.evidence.extend(filter.contradiction());
        finding.fix.extend(filter.fix());
    }
    Some(finding)
}

pub(super) fn neighbour(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let why = match (facts.reason.name(), function(facts)) {
        ("NEIGH_FAILED" | "NEIGH_CREATEFAIL" | "NEIGH_DEAD", _) | (_, "neigh_invalidate") => {
            format!(
                "nobody answers for {} (ARP or ND){}",
                facts.flow.dst,
                place(facts)
            )
        }
        ("NEIGH_QUEUEFULL", _) => format!(
            "packets wait for the neighbour of {} in vain{}, and their queue is full",
            facts.flow.dst,
            place(facts)
        ),
        ("OTHERHOST", _) => format!(
            "the packet{} has another machine's MAC address: a stale neighbour entry at the sender",
            place(facts)
        ),
        _ => return None,
    };
    // The packet may have been on its way to a gateway that is dead, not to the endpoint itself.
    let mut finding = found(Point::Endpoint, Likely, why)?;
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
    let holders = world.holders(asked);
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

/// A packet for an address that its namespace does not have, and that is no router on the way to it:
/// forwarded, it would only go back where it came from.
pub(super) fn not_here(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    (facts.reason.is("IP_INADDRERRORS")).then_some(())?;
    let around = &node.around;
    let came_in = around.incoming.as_ref()?;
    let lookup = around.route.as_ref()?;
    let onwards = lookup.matched.as_ref().and_then(|route| route.output);
    if onwards.is_some_and(|output| output != came_in.ifindex) {
        return None;
    }
    let dst = facts.flow.dst;
    let mut finding = found(
        Point::Endpoint,
        Likely,
        format!(
            "{dst} is not an address of the namespace that it was sent to{}: the endpoint is gone, \
             or has another address now",
            place(facts)
        ),
    )?;
    finding.evidence.push(match &lookup.matched {
        Some(route) => format!("from there it would go back where it came from: {route}"),
        None => format!("from there no route leads to {dst}"),
    });
    Some(finding)
}

pub(super) fn time_to_live(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let ran_out =
        facts.reason.is("IP_INHDR") && matches!(function(facts), "ip_forward" | "ip6_forward");
    ran_out.then(|| {
        found(
            Point::Route,
            Confirmed,
            format!(
                "the packet has used up its hops (TTL){}: a routing loop, or a sender that allows \
                 too few",
                place(facts)
            ),
        )
    })?
}

pub(super) fn route(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let why = match (facts.reason.name(), function(facts)) {
        ("IP_INNOROUTES" | "IP_OUTNOROUTES", _) => format!("no route to {}", facts.flow.dst),
        ("IP_INADDRERRORS", _) => format!(
            "{} is not an address of this namespace, and it does not forward",
            facts.flow.dst
        ),
        (
            _,
            "ip_error" | "dst_discard_out" | "dst_discard" | "ip6_pkt_discard" | "ip6_pkt_drop"
            | "ip6_pkt_prohibit",
        ) => {
            format!(
                "the route to {} says blackhole, unreachable or prohibit",
                facts.flow.dst
            )
        }
        _ => return None,
    };
    let mut finding = found(Point::Route, Confirmed, why)?;
    if let Some(lookup) = &node.around.route {
        finding
            .evidence
            .push(format!("the kernel says now: {lookup}"));
        if let Some(route) = lookup.culprit() {
            finding.why = format!("the route {route} refuses it");
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
