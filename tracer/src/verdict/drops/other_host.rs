//! Frames for another MAC address than that of the interface which they came in by.

use super::{Concern, Finding, place};
use crate::{
    decode::drop::DropFacts,
    model::{Confidence::Likely, Fix, Point, Site, shell::Command},
    net::Mac,
    node::facts::NodeFacts,
};

pub(super) fn is_for_another(facts: &DropFacts) -> Concern {
    Concern::surely(facts.reason.is("OTHERHOST"))
}

/// The frame was for another MAC address.
pub(super) fn other_host(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let (src, dst) = (facts.flow.src, facts.flow.dst);
    let frames = match destination_mac(facts) {
        Some(mac) => format!(
            "the frame to {dst}{} is for MAC address {mac}",
            place(facts)
        ),
        None => format!(
            "the frame to {dst}{} is for another MAC address",
            place(facts)
        ),
    };
    let Some((mac, ifname)) = own_mac(facts, node) else {
        let finding = Finding::new(Point::Endpoint, Likely, frames).about(&[&dst, &place(facts)]);
        return Some(of_another(finding, facts, node));
    };
    let is_answer = facts
        .tcp_flags()
        .is_some_and(|flags| flags.syn() && flags.ack());
    if is_answer {
        // The sender has asked for the address, and another host was faster.
        let why = format!(
            "{frames}, and {ifname} has {mac}: the answer of {src} goes to another host that has \
             {dst}, too, or to what had it before"
        );
        let mut finding = Finding::new(Point::Endpoint, Likely, why).about(&[&dst, &place(facts)]);
        finding.fact(format!(
            "{dst} is an address of this namespace, at {ifname}"
        ));
        finding.fix.push(Fix::advice(format!(
            "let only one host have {dst}; or translate to an address that only this node has \
             (SNAT --to-source in place of MASQUERADE)"
        )));
        return Some(finding);
    }
    let why = format!("{frames}, and {ifname} has {mac}: a stale neighbor entry at the sender");
    let finding = Finding::new(Point::Endpoint, Likely, why).about(&[&dst, &place(facts)]);
    Some(with_flush(finding, facts))
}

/// The frame's MAC address is not this interface's, nor is its destination an address of this
/// namespace: the sender takes the next hop for another one.
fn of_another(mut finding: Finding, facts: &DropFacts, node: &NodeFacts) -> Finding {
    let dst = facts.flow.dst;
    let world = facts
        .netns
        .zip(node.world.as_deref())
        .zip(destination_mac(facts));
    let Some(((netns, world), mac)) = world else {
        finding.why += ", which is not this interface's";
        return with_flush(finding, facts);
    };
    let holder = world.links().find(|link| link.mac.as_ref() == Some(&mac));
    finding.why += &match holder {
        Some(link) => format!(", the address of {}", world.link_name(link.id, netns)),
        None => ", which no interface in sight has".to_owned(),
    };
    let entry = world.namespaces.values().find_map(|namespace| {
        let mut entries = namespace.neighbors.iter().flatten();
        let entry = entries.find(|entry| entry.lladdr.as_ref() == Some(&mac))?;
        Some((namespace, entry))
    });
    let Some((sender, entry)) = entry else {
        return with_flush(finding, facts);
    };
    let hop = entry.address;
    finding.why += &format!(
        ": the neighbor entry of network namespace {} for {hop} has it",
        sender.name
    );
    if hop != dst {
        finding.fact(format!("{dst} is behind {hop}"));
    }
    let flush = Command::new("ip neighbor flush to")
        .arg(hop)
        .words("nud all");
    let fix = Fix::command(flush).at(world.site(sender.inode));
    finding
        .fix
        .push(fix.noting("it asks for the address again"));
    finding
}

fn with_flush(mut finding: Finding, facts: &DropFacts) -> Finding {
    let flush = Command::new("ip neighbor flush to").arg(facts.flow.dst);
    finding.fix.push(
        Fix::command(flush)
            .at(Site::Sender)
            .noting("it asks for the address again"),
    );
    finding
}

/// The MAC address that the frame was for.
pub(super) fn destination_mac(facts: &DropFacts) -> Option<Mac> {
    let wire = facts.wire.as_deref()?;
    Some(Mac(wire.dst_mac?.to_vec()))
}

/// The interface of this namespace that has the packet's destination, and its MAC address.
fn own_mac(facts: &DropFacts, node: &NodeFacts) -> Option<(Mac, String)> {
    let (netns, world) = facts.netns.zip(node.world.as_deref())?;
    let holders = world.holders(facts.flow.dst);
    let holder = holders.into_iter().find(|holder| holder.netns == netns)?;
    Some((holder.mac?, holder.ifname))
}

/// Whether a bridge or a switch has flooded a frame for another host: its address is none of this
/// namespace, and the namespace forwards nothing.
pub(in crate::verdict) fn is_flooded(facts: &DropFacts, node: &NodeFacts) -> bool {
    let world = facts.netns.zip(node.world.as_deref());
    let is_bystander = world.and_then(|(netns, world)| world.is_bystander(netns, facts.flow.dst));
    facts.reason.is("OTHERHOST") && facts.outer.is_none() && is_bystander == Some(true)
}
