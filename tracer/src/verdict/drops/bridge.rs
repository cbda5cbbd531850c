//! What a bridge does not forward.

use std::net::IpAddr;

use super::{
    Concern, Finding, function,
    not_here::{own_mac, share_mac},
    place,
};
use crate::{
    decode::drop::DropFacts,
    model::{
        Confidence::{Confirmed, Likely},
        Fix, Point,
        shell::Command,
    },
    node::{
        facts::NodeFacts,
        world::{Between, Holder, Link, LinkId, Obstacle, World},
    },
};

pub(super) fn is_not_forwarding(facts: &DropFacts) -> Concern {
    Concern::surely(facts.reason.is("BRIDGE_INGRESS_STP_STATE"))
}

/// A port that does not forward yet, or not at all (STP, IEEE 802.1D).
pub(super) fn port_state(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let seen = node.world.as_deref().and_then(|world| {
        let link = world.link_named(facts.netns?, facts.ifname.as_deref()?)?;
        let obstacle = Obstacle::PortState(link.id, link.port?.state);
        let bridge = world.link(link.sibling(link.master?))?;
        Some((
            world.obstacle_in_words(&obstacle, link.id.netns),
            bridge.name.clone(),
        ))
    });
    let Some((words, bridge)) = seen else {
        let why = format!(
            "the bridge port{} is not in forwarding state (STP)",
            place(facts)
        );
        return Some(Finding::new(Point::Route, Confirmed, why).about(&[&place(facts)]));
    };
    let stp = |state: &'static str| {
        Command::new("ip link set dev")
            .arg(&bridge)
            .words("type bridge")
            .words(state)
    };
    Some(Finding {
        fix: vec![Fix::change(stp("stp_state 0"), stp("stp_state 1"))],
        ..Finding::new(Point::Route, Confirmed, words).about(&[&place(facts)])
    })
}

pub(super) fn may_be_hairpin(facts: &DropFacts) -> Concern {
    let refused = function(facts) == "br_handle_frame_finish";
    Concern::maybe(refused && facts.reason.is("NOT_SPECIFIED"))
}

/// A frame that would have to leave through the port where it came in.
pub(super) fn hairpin(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let world = node.world.as_deref()?;
    let port = world.link_named(facts.netns?, facts.ifname.as_deref()?)?;
    let settings = port.port?;
    (!settings.hairpin).then_some(())?;
    // Whose address it is: the namespace behind this very port.
    let holders = world.holders(facts.flow.dst);
    if let Some(twin) = twin(world, port, facts.flow.dst, &holders) {
        return Some(twin);
    }
    let bridge = port.sibling(port.master?);
    let behind = holders.iter().find(|holder| {
        let Between::Nothing = world.between(bridge, holder) else {
            return false;
        };
        world
            .link(holder.link)
            .and_then(|link| link.other_end())
            .is_some_and(|end: LinkId| end == port.id)
    })?;
    let name = &port.name;
    let set = |state: &'static str| {
        Command::new("bridge link set dev")
            .arg(name)
            .words("hairpin")
            .words(state)
    };
    Some(Finding {
        evidence: vec![format!(
            "{} is an address of {}, which is behind {name}",
            facts.flow.dst,
            world.holder_in_words(behind, port.id.netns)
        )],
        fix: vec![Fix::change(set("on"), set("off"))],
        ..Finding::new(
            Point::Route,
            Likely,
            format!(
                "the frame would have to leave through {name}, where it came in, and hairpin mode of \
                 {name} is off"
            ),
        )
        .about(&[&name])
    })
}

/// The host behind the port has taken the frame for another one, whose MAC address it has too, and has
/// forwarded it: a new namespace forwards wherever the node does.
fn twin(world: &World, port: &Link, dst: IpAddr, holders: &[Holder]) -> Option<Finding> {
    let behind = port.other_end()?;
    let mut holders = holders.iter();
    let twin = holders.find(|holder| share_mac(world, behind, holder))?;
    let name = |id| world.link_name(id, port.id.netns);
    let why = format!(
        "{} and {} have one MAC address, {}: the bridge sends frames for {dst} to the one that sent last",
        name(twin.link),
        name(behind),
        twin.mac.as_ref()?
    );
    Some(Finding {
        evidence: vec![format!(
            "{} has sent it back through {}, where hairpin mode is off",
            name(behind),
            port.name
        )],
        fix: vec![own_mac()],
        ..Finding::new(Point::Endpoint, Likely, why).about(&[&port.name])
    })
}
