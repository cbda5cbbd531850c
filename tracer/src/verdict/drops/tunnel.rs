//! What a tunnel refuses for a reason of its own.

use super::{Concern, Finding, is_tunnelled, overlay, place};
use crate::{
    decode::drop::DropFacts,
    model::{
        Confidence::{Confirmed, Likely},
        Fix, Point, Site,
        shell::Command,
    },
    node::facts::NodeFacts,
};

pub(super) fn has_congestion_mark(facts: &DropFacts) -> Concern {
    Concern::surely(facts.reason.is("IP_TUNNEL_ECN"))
}

/// The outer header says "congestion experienced" (CE), and the packet inside cannot carry the mark
/// on: it is not ECN-capable, and RFC 6040 (section 4.2) has it dropped.
pub(super) fn congestion_mark(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let why = format!(
        "the outer header of the tunnel's packet{} is marked \"congestion experienced\" (ECN CE), \
         and the packet inside does not support ECN: RFC 6040 has it dropped",
        place(facts)
    );
    let mut finding = Finding::new(Point::Overlay, Confirmed, why).about(&[&place(facts)]);
    finding.fact(
        "a tunnel sends such a packet as not ECN-capable: a device between the two ends has \
         changed that, and set the mark",
    );
    finding.fix.push(
        Fix::advice(
            "find the device between the nodes that sets ECN bits of packets which are not \
             ECN-capable (a DSCP or TOS rewrite, often), and correct it",
        )
        .at(Site::Beyond),
    );
    Some(finding)
}

pub(super) fn contradicts_entry(facts: &DropFacts) -> Concern {
    Concern::surely(facts.reason.is("VXLAN_ENTRY_EXISTS"))
}

/// A learning VXLAN device gets a packet of a MAC address that a permanent entry, or one of its own,
/// has elsewhere (`vxlan_snoop`).
pub(super) fn entry_elsewhere(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let device = overlay::at_tunnel(facts, node);
    let device = device.map_or("the VXLAN device", |device| device.name.as_str());
    let from = facts
        .outer
        .map_or_else(String::new, |outer| format!(" from {}", outer.src));
    let why = format!(
        "{device} has a static FDB entry for the sender's MAC address (permanent, or with a nexthop), and \
         the packet came{from}, not from where the entry says"
    );
    let confidence = match overlay::stranger(facts, node) {
        Some(_) => Likely,
        None => Confirmed,
    };
    let mut finding = Finding::new(Point::Overlay, confidence, why).about(&[&device, &from]);
    finding.fix.push(
        Fix::advice(format!(
            "compare `{}` with the addresses of the other nodes, and restart the CNI's agent, which \
             writes the entries",
            Command::new("bridge fdb show dev").arg(device)
        ))
        .at(Site::Host),
    );
    Some(finding)
}

pub(super) fn may_go_in_circles(facts: &DropFacts) -> Concern {
    Concern::surely(facts.reason.is("RECURSION_LIMIT"))
}

/// A device sent the packet on to the next one, that one to another, and so on, without a queue
/// between them (`dev_xmit_recursion`).
pub(super) fn in_circles(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let what = match is_tunnelled(facts) {
        true => "the tunnel's own packets are routed into a tunnel again",
        false => {
            "devices pass it on to each other in a circle, as a tunnel does whose remote end is \
             routed through the tunnel"
        }
    };
    let why = format!(
        "{what}{}: the kernel's limit of nested devices is reached",
        place(facts)
    );
    let mut finding = Finding::new(Point::Overlay, Likely, why).about(&[&what, &place(facts)]);
    if let Some(outer) = &facts.outer {
        let get = Command::new("ip route get").arg(outer.dst);
        finding.fix.push(Fix::advice(format!(
            "give {} a route that does not lead into a tunnel (`{get}`)",
            outer.dst
        )));
    }
    Some(finding)
}
