//! Frames for another MAC address than that of the interface which they came in through.

pub(super) mod frame;

use std::{fmt::Display, net::IpAddr};

use self::frame::Frame;
use super::{Concern, Finding, place};
use crate::{
    decode::drop::DropFacts,
    model::{
        Confidence::{Likely, Possible},
        Fix, Point, Site,
        shell::Command,
    },
    net::{Mac, Neighbor, NeighborState},
    node::{
        facts::NodeFacts,
        world::{Holder, LinkId, Namespace, World},
    },
    words,
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
    let subject = [&dst as &dyn Display, &place(facts)];
    let Some(frame) = Frame::of(facts, node) else {
        let why = format!("{frames}, which is not this interface's");
        return Some(Finding::new(Point::Unknown, Possible, why).about(&subject));
    };
    if let Some(link) = frame.asks_no_one(dst) {
        let name = frame.world.link_name(link.id, frame.netns);
        let why = format!(
            "{frames}, that of {name} itself, which is set not to ask for neighbors (NOARP)"
        );
        let mut finding = Finding::new(Point::Route, Likely, why).about(&subject);
        let dev = Command::new("ip link set dev").arg(&link.name);
        let fix = Fix::change(dev.clone().words("arp on"), dev.words("arp off"));
        finding.fix.push(fix.at(frame.world.site(link.id.netns)));
        return Some(finding);
    }
    let is_answer = facts
        .tcp_flags()
        .is_some_and(|flags| flags.syn() && flags.ack());
    let own = frame.own(dst);
    if let Some(own) = own.as_ref().filter(|_| is_answer && !frame.is_own_mac()) {
        // The sender has asked for the address, and another host was faster.
        let ifname = &own.ifname;
        let why = format!(
            "{frames}, and {}: the answer of {src} goes to another host that has {dst}, too, or to \
             what had it before",
            has_mac(own)
        );
        let mut finding = Finding::new(Point::Endpoint, Likely, why).about(&subject);
        finding.fact(format!(
            "{dst} is an address of this namespace, at {ifname}"
        ));
        finding.fix.push(Fix::advice(format!(
            "let only one host have {dst}; or translate to an address that only this node has \
             (SNAT --to-source in place of MASQUERADE)"
        )));
        return Some(finding);
    }
    if let Some((taker, hop)) = frame.rightful(dst) {
        let taker = frame.world.link_name(taker.id, frame.netns);
        let why = format!(
            "{frames}, the address of {taker}, which has {hop}: this is a copy that a bridge or a \
             switch has flooded"
        );
        return Some(Finding::new(Point::Unknown, Possible, why).about(&subject));
    }
    if let Some(own) = own.filter(|own| own.link.ifindex == frame.ifindex) {
        let why = format!(
            "{frames}, and {}: a stale neighbor entry at the sender",
            has_mac(&own)
        );
        let finding = Finding::new(Point::Endpoint, Likely, why).about(&subject);
        let mut finding = with_repair(finding, &frame, dst);
        blame_bridge(&mut finding, &frame);
        return Some(finding);
    }
    let whose = frame.whose();
    let Some((sender, entry)) = frame.stale_entry(dst) else {
        let why = format!(
            "{frames}, {whose}: a bridge or a switch has flooded it, or the sender's neighbor entry \
             is stale"
        );
        return Some(Finding::new(Point::Unknown, Possible, why).about(&subject));
    };
    let hop = entry.address;
    let why = format!(
        "{frames}, {whose}: the neighbor entry of {} for {hop} has it",
        words::namespace(&sender.name)
    );
    let mut finding = Finding::new(Point::Endpoint, Likely, why).about(&subject);
    if hop != dst {
        finding.fact(format!("{dst} is behind {hop}"));
    }
    finding.fix.push(repair(frame.world, sender, entry));
    blame_bridge(&mut finding, &frame);
    Some(finding)
}

/// Says how the sender may have learned the MAC address of a bridge's port.
fn blame_bridge(finding: &mut Finding, frame: &Frame<'_>) {
    let Some((bridge, port)) = frame.former() else {
        return;
    };
    let Some(mac) = &bridge.mac else {
        return;
    };
    let site = frame.world.site(bridge.id.netns);
    let (bridge, port) = (&bridge.name, &port.name);
    finding.fact(format!(
        "{port} is a port of {bridge}, and {bridge} has {mac}: a bridge without a MAC address of its own takes \
         one of its ports', and another one when ports come and go"
    ));
    let set = Command::new("ip link set dev")
        .arg(bridge)
        .words("address")
        .arg(mac);
    let note = "it keeps the address then, whatever ports it has";
    finding.fix.push(Fix::command(set).at(site).noting(note));
}

/// Makes the sender ask for the address again. `flush` leaves a permanent entry alone.
pub(super) fn repair(world: &World, sender: &Namespace, entry: &Neighbor) -> Fix {
    let link = world.link(LinkId {
        netns: sender.inode,
        ifindex: entry.ifindex,
    });
    let fix = match (entry.state, link, &entry.lladdr) {
        (NeighborState::Permanent, Some(link), Some(mac)) => {
            let at = |verb: &'static str| Command::new("ip neighbor").arg(verb).arg(entry.address);
            Fix::change(
                at("del").words("dev").arg(&link.name),
                at("add")
                    .words("lladdr")
                    .arg(mac)
                    .words("dev")
                    .arg(&link.name)
                    .words("nud permanent"),
            )
        }
        _ => Fix::command(
            Command::new("ip neighbor flush to")
                .arg(entry.address)
                .words("nud all"),
        ),
    };
    fix.at(world.site(sender.inode))
        .noting("it asks for the address again")
}

fn has_mac(own: &Holder) -> String {
    match &own.mac {
        Some(mac) => format!("{} has {mac}", own.ifname),
        None => format!("{} has another one", own.ifname),
    }
}

/// Whether a link of this node has a MAC address.
fn is_of_node(world: &World, mac: &Mac) -> bool {
    world.links().any(|link| link.mac.as_ref() == Some(mac))
}

fn with_repair(mut finding: Finding, frame: &Frame<'_>, dst: IpAddr) -> Finding {
    if let Some((sender, entry)) = frame.entry_of(dst) {
        finding.fact(format!(
            "{} has the entry {entry}",
            words::namespace(&sender.name)
        ));
        finding.fix.push(repair(frame.world, sender, entry));
        return finding;
    }
    let flush = Command::new("ip neighbor flush to").arg(dst);
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

/// Whether a bridge or a switch has flooded a frame for another host: its address is none of this
/// namespace, and the namespace forwards nothing, or is not asked to. It is not asked for what goes
/// from one host of the link to another, and neither is on this node; nor for what goes to the MAC address
/// of another namespace that has the next hop.
pub(in crate::verdict) fn is_flooded(facts: &DropFacts, node: &NodeFacts) -> bool {
    if !facts.reason.is("OTHERHOST") || facts.outer.is_some() {
        return false;
    }
    let dst = facts.flow.dst;
    let world = facts.netns.zip(node.world.as_deref());
    world.is_some_and(|(netns, world)| {
        let is_on_link = world.namespace(netns).is_some_and(|namespace| {
            let mut held = namespace.addresses.iter();
            held.any(|held| held.ifindex == facts.iif && held.is_in_subnet_with(dst))
        });
        let is_absent = |address| world.holders(address).is_empty();
        let is_of_others = is_absent(dst)
            && is_absent(facts.flow.src)
            && destination_mac(facts).is_some_and(|mac| !is_of_node(world, &mac));
        let is_elsewhere = is_on_link && world.is_whole() && is_of_others;
        let is_for_taker = || {
            let taker = Frame::of(facts, node).and_then(|frame| frame.rightful(dst));
            taker.is_some_and(|(taker, _)| taker.id.netns != netns)
        };
        let is_own = world.is_local(netns, dst) == Some(true);
        world.is_bystander(netns, dst) == Some(true) || is_elsewhere || (!is_own && is_for_taker())
    })
}
