//! A packet that came to a namespace which does not have its destination.

use super::{
    Concern, Finding,
    other_host::{frame::Frame, repair},
    place,
};
use crate::{
    decode::drop::DropFacts,
    model::{Confidence::Likely, Fix, Point},
    node::{
        facts::NodeFacts,
        world::{Holder, Kind, LinkId, World},
    },
    words,
};

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
    let mut finding = held_by_another(facts, node).unwrap_or_else(|| {
        let why = format!(
            "{dst} is not an address of the namespace that it was sent to{}: the endpoint is gone \
             or has moved, or the sender's neighbor entry is stale",
            place(facts)
        );
        Finding::new(Point::Endpoint, Likely, why)
    });
    finding = finding.about(&[&dst, &place(facts)]);
    finding.fact(match &lookup.matched {
        Some(route) => format!("from there it would go back where it came from: {route}"),
        None => format!("from there no route leads to {dst}"),
    });
    Some(finding)
}

/// What rules it out: the namespace is a router on the way, or the sender takes it for one.
pub(super) fn leads_on(facts: &DropFacts, node: &NodeFacts) -> Option<String> {
    let came_in = node.around.incoming.as_ref()?;
    let route = node.around.route.as_ref()?.matched.as_ref();
    if let Some(route) = route
        && route.output.is_some_and(|output| output != came_in.ifindex)
    {
        return Some(format!("the route {route} leads on from there"));
    }
    let gateway = Frame::of(facts, node)?.gateway(facts.flow.dst)?;
    Some(format!(
        "the sender takes {gateway}, which it has, for a router"
    ))
}

/// Another namespace has the address: the frame came to the wrong one, by its MAC address.
fn held_by_another(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let dst = facts.flow.dst;
    let (netns, world) = facts.netns.zip(node.world.as_deref())?;
    let mut holders = world.holders_near(netns, dst);
    holders.retain(|holder| holder.netns != netns && holder.flags.is_usable());
    let holder = holders.first()?;
    let held = format!(
        "{dst} is not an address of the namespace that it was sent to{}, but of {}",
        place(facts),
        world.holder_in_words(holder, netns)
    );
    let frame = Frame::of(facts, node);
    let here = LinkId {
        netns,
        ifindex: facts.iif,
    };
    if let Some(twin) = holders.iter().find(|one| share_mac(world, here, one)) {
        let why = format!("{held}; {}", same_mac(world, here, twin)?);
        let mut finding = Finding::new(Point::Endpoint, Likely, why);
        finding.fix.push(own_mac());
        return Some(finding);
    }
    let Some((sender, entry)) = frame.as_ref().and_then(|frame| frame.entry_of(dst)) else {
        let why = format!("{held}: the sender's neighbor entry is stale, or its route is wrong");
        return Some(Finding::new(Point::Endpoint, Likely, why));
    };
    let mac = frame.as_ref().map(Frame::mac)?;
    let why = format!(
        "{held}: the neighbor entry of {} for {dst} is stale",
        words::namespace(&sender.name)
    );
    let mut finding = Finding::new(Point::Endpoint, Likely, why);
    finding.fact(match &holder.mac {
        Some(own) => format!("that entry has {mac}, and {} has {own}", holder.ifname),
        None => format!("that entry has {mac}"),
    });
    finding.fix.push(repair(world, sender, entry));
    Some(finding)
}

/// Whether two hosts of a link have one MAC address. Those on one device have by their kind.
pub(in crate::verdict) fn share_mac(world: &World, here: LinkId, holder: &Holder) -> bool {
    let links = world.link(here).zip(world.link(holder.link));
    links.is_some_and(|(own, other)| {
        let is_shared = |kind: &Kind| matches!(kind, Kind::Ipvlan);
        let has_one = own
            .mac
            .as_ref()
            .is_some_and(|mac| mac.0.iter().any(|byte| *byte != 0));
        has_one
            && own.mac == other.mac
            && own.id.netns != other.id.netns
            && !is_shared(&own.kind)
            && !is_shared(&other.kind)
    })
}

/// As a clause.
pub(in crate::verdict) fn same_mac(world: &World, here: LinkId, holder: &Holder) -> Option<String> {
    let link = world.link(here)?;
    Some(format!(
        "{} and {} have one MAC address, {}: a bridge sends frames to the one that sent last",
        world.link_name(holder.link, here.netns),
        world.link_name(here, here.netns),
        link.mac.as_ref()?
    ))
}

pub(in crate::verdict) fn own_mac() -> Fix {
    Fix::advice("give each of the two a MAC address of its own (ip link set dev … address …)")
}
