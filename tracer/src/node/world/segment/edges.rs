//! Where a frame goes next from each step, and what is in the way there.

use std::collections::BTreeMap;

use super::{Obstacle, Step};
use crate::node::world::{
    PortState, Vlan, World,
    link::{Kind, Link, LinkId, MacvlanMode},
};

/// A next step, and what is in the way of it.
pub(in crate::node) type Edge = (Step, Option<Obstacle>);

/// The links, by what they are tied to.
pub(in crate::node) struct Edges<'a> {
    world: &'a World,
    /// Ports by bridge, and other members by their master.
    members: BTreeMap<LinkId, Vec<&'a Link>>,
    /// Links on top of each other.
    children: BTreeMap<LinkId, Vec<&'a Link>>,
}

impl<'a> Edges<'a> {
    pub(in crate::node) fn of(world: &'a World) -> Self {
        let mut edges = Self {
            world,
            members: BTreeMap::new(),
            children: BTreeMap::new(),
        };
        for link in world.links() {
            if let Some(master) = link.master {
                let members = edges.members.entry(link.sibling(master));
                members.or_default().push(link);
            }
            if let Some(parent) = link.parent() {
                edges.children.entry(parent).or_default().push(link);
            }
        }
        edges
    }

    pub(in crate::node) fn from(&self, step: Step) -> Vec<Edge> {
        match step {
            Step::Out(id, tag) => self.world.link(id).map(|link| self.out(link, tag)),
            Step::In(id, tag) => self.world.link(id).map(|link| self.received(link, tag)),
            Step::Bridge { bridge, from, vlan } => {
                let bridge = self.world.link(bridge);
                bridge.map(|bridge| self.bridge(bridge, from, vlan))
            }
            Step::Taken(_) | Step::Gone(_) => None,
        }
        .unwrap_or_default()
    }

    fn out(&self, link: &Link, tag: Option<u16>) -> Vec<Edge> {
        let obstacle = match (link.up, link.carrier) {
            (false, _) => Some(Obstacle::Down(link.id)),
            (true, false) => Some(Obstacle::NoCarrier(link.id)),
            (true, true) => None,
        };
        let gone = vec![(Step::Gone(link.id), obstacle)];
        let mut edges = match &link.kind {
            Kind::Veth | Kind::Netkit => match link.other_end() {
                Some(other) => vec![(Step::In(other, tag), obstacle)],
                None => gone,
            },
            Kind::Bridge(_) => {
                let (vlan, refused) = self.enter(link, link.id, tag);
                let step = Step::Bridge {
                    bridge: link.id,
                    from: None,
                    vlan,
                };
                vec![(step, obstacle.or(refused))]
            }
            Kind::Vlan { id: vlan } => match link.parent() {
                Some(parent) => vec![(Step::Out(parent, Some(*vlan)), obstacle)],
                None => gone,
            },
            Kind::Macvlan(_) | Kind::Ipvlan => match link.parent() {
                Some(parent) => self.beside(link, parent, obstacle),
                None => gone,
            },
            Kind::Loopback | Kind::Vrf { .. } => Vec::new(),
            Kind::Vxlan(_) | Kind::Tun { .. } => gone,
            _ => match link.kind.name() {
                "dummy" | "ifb" => Vec::new(),
                "bond" | "team" => {
                    let members = self.members.get(&link.id).into_iter().flatten();
                    members
                        .map(|member| (Step::Out(member.id, tag), obstacle))
                        .collect()
                }
                _ => gone,
            },
        };
        // The namespace's own frames never reach what is on top of the link.
        edges.extend(self.on_top(link).map(|child| {
            let obstacle = Obstacle::OwnParent {
                child: child.id,
                parent: link.id,
            };
            (Step::Taken(child.id), Some(obstacle))
        }));
        edges
    }

    /// From a macvlan or ipvlan link: to the others of its parent, and out through the parent.
    fn beside(&self, link: &Link, parent: LinkId, obstacle: Option<Obstacle>) -> Vec<Edge> {
        let mut edges = vec![
            (Step::Out(parent, None), obstacle),
            (
                Step::Taken(parent),
                Some(Obstacle::OwnParent {
                    child: link.id,
                    parent,
                }),
            ),
        ];
        let others = self.children.get(&parent).into_iter().flatten();
        for other in others.filter(|other| other.id != link.id) {
            let apart = [link, other].into_iter().find(|one| keeps_apart(one));
            let apart = apart.map(|one| Obstacle::MacvlanMode(one.id));
            let down = (!other.up).then_some(Obstacle::Down(other.id));
            edges.push((Step::Taken(other.id), obstacle.or(apart).or(down)));
        }
        edges
    }

    fn on_top(&self, link: &Link) -> impl Iterator<Item = &&'a Link> {
        let children = self.children.get(&link.id).into_iter().flatten();
        children.filter(|child| !matches!(child.kind, Kind::Vlan { .. }))
    }

    fn received(&self, link: &Link, tag: Option<u16>) -> Vec<Edge> {
        let obstacle = (!link.up).then_some(Obstacle::Down(link.id));
        let children = self.children.get(&link.id).into_iter().flatten();
        let vlan = children.clone().find(|child| match child.kind {
            Kind::Vlan { id: vlan } => tag == Some(vlan),
            _ => false,
        });
        if let Some(vlan) = vlan {
            return vec![(Step::In(vlan.id, None), obstacle)];
        }
        if link.port.is_some()
            && let Some(bridge) = link
                .master
                .and_then(|master| self.world.link(link.sibling(master)))
        {
            let (vlan, refused) = self.enter(bridge, link.id, tag);
            let step = Step::Bridge {
                bridge: bridge.id,
                from: Some(link.id),
                vlan,
            };
            return vec![(step, obstacle.or(closed(link, self.world)).or(refused))];
        }
        let master = link
            .master
            .and_then(|master| self.world.link(link.sibling(master)));
        if let Some(bond) = master.filter(|master| matches!(master.kind.name(), "bond" | "team")) {
            return vec![(Step::In(bond.id, tag), obstacle)];
        }
        let mut edges = Vec::new();
        if tag.is_none() {
            edges.push((Step::Taken(link.id), obstacle));
        }
        edges.extend(self.on_top(link).map(|child| {
            let down = (!child.up).then_some(Obstacle::Down(child.id));
            (Step::Taken(child.id), obstacle.or(down))
        }));
        edges
    }

    fn bridge(&self, bridge: &Link, from: Option<LinkId>, vlan: Option<u16>) -> Vec<Edge> {
        let mut edges = Vec::new();
        if from.is_some() {
            let (tag, refused) = self.leave(bridge, bridge.id, vlan);
            edges.push((Step::In(bridge.id, tag), refused));
        }
        let came_in = from.and_then(|from| self.world.link(from));
        let isolated = |link: &Link| link.port.is_some_and(|port| port.isolated);
        let ports = self.members.get(&bridge.id).into_iter().flatten();
        for port in ports.filter(|port| port.port.is_some()) {
            let (tag, refused) = self.leave(bridge, port.id, vlan);
            let apart = came_in.and_then(|from| {
                let properties = port.port?;
                if from.id == port.id {
                    return (!properties.hairpin).then_some(Obstacle::Hairpin(port.id));
                }
                (isolated(from) && isolated(port)).then_some(Obstacle::Isolated(from.id, port.id))
            });
            let unflooded = port.port.is_some_and(|port| !port.broadcast_flood);
            let unflooded = unflooded.then_some(Obstacle::NoFlood(port.id));
            let obstacle = closed(port, self.world).or(apart).or(refused).or(unflooded);
            edges.push((Step::Out(port.id, tag), obstacle));
        }
        edges
    }

    /// The VLAN of a frame that comes into a bridge by a port, or from the bridge's namespace.
    fn enter(
        &self,
        bridge: &Link,
        at: LinkId,
        tag: Option<u16>,
    ) -> (Option<u16>, Option<Obstacle>) {
        let Some(mut vlans) = self.vlans(bridge, at) else {
            return (tag, None);
        };
        match tag {
            Some(id) => {
                let is_member = vlans.any(|vlan| (vlan.first..=vlan.last).contains(&id));
                (tag, (!is_member).then_some(Obstacle::VlanIn(at, tag)))
            }
            None => {
                let default = vlans.find(|vlan| vlan.pvid).map(|vlan| vlan.first);
                let refused = default.is_none().then_some(Obstacle::VlanIn(at, None));
                (default, refused)
            }
        }
    }

    /// The tag of a frame that leaves a bridge by a port, or to the bridge's namespace.
    fn leave(
        &self,
        bridge: &Link,
        at: LinkId,
        vlan: Option<u16>,
    ) -> (Option<u16>, Option<Obstacle>) {
        let (Some(mut vlans), Some(id)) = (self.vlans(bridge, at), vlan) else {
            return (vlan, None);
        };
        match vlans.find(|vlan| (vlan.first..=vlan.last).contains(&id)) {
            Some(found) if found.untagged => (None, None),
            Some(_) => (vlan, None),
            None => (None, Some(Obstacle::VlanOut(at, id))),
        }
    }

    /// The VLANs of a port; `None` if the bridge does not filter, or they were not read.
    fn vlans(&self, bridge: &Link, at: LinkId) -> Option<impl Iterator<Item = &'a Vlan>> {
        bridge.bridge().filter(|bridge| bridge.vlan_filtering)?;
        let vlans = self.world.namespace(at.netns)?.vlans.as_ref()?;
        Some(vlans.iter().filter(move |vlan| vlan.ifindex == at.ifindex))
    }
}

/// What a bridge port's state keeps from passing. While the bridge is down, all of them are disabled.
fn closed(port: &Link, world: &World) -> Option<Obstacle> {
    let state = port.port?.state;
    let bridge = port.master.and_then(|id| world.link(port.sibling(id)));
    match bridge.filter(|bridge| !bridge.up && state == PortState::Disabled) {
        Some(bridge) => Some(Obstacle::Down(bridge.id)),
        None => (state != PortState::Forwarding).then_some(Obstacle::PortState(port.id, state)),
    }
}

fn keeps_apart(link: &Link) -> bool {
    match link.kind {
        Kind::Macvlan(mode) => !matches!(mode, MacvlanMode::Bridge),
        _ => false,
    }
}
