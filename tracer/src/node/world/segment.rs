//! Which links a frame reaches, without any IP: through pairs, bridges, VLANs and macvlan parents,
//! across namespaces.
//!
//! The search also goes where something is in the way, and prefers the paths with the least of it.
//! What is in the way on the best path is the explanation.

mod edges;

use std::collections::{BTreeMap, VecDeque};

pub(in crate::node) use self::edges::{Edge, Edges};
use super::{PortState, World, link::LinkId};

/// What keeps frames from passing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The link is administratively down.
    Down(LinkId),
    /// The link has no carrier.
    NoCarrier(LinkId),
    /// The bridge port does not forward.
    PortState(LinkId, PortState),
    /// Both bridge ports are isolated.
    Isolated(LinkId, LinkId),
    /// The frame would leave through the bridge port that it came in through, whose hairpin mode is off.
    Hairpin(LinkId),
    /// The bridge port does not take frames of this VLAN, or untagged ones.
    VlanIn(LinkId, Option<u16>),
    /// The frame's VLAN does not leave through the bridge port.
    VlanOut(LinkId, u16),
    /// Broadcasts do not leave through the bridge port.
    NoFlood(LinkId),
    /// A macvlan or ipvlan link, and its parent: they never exchange frames.
    OwnParent {
        /// The link on top.
        child: LinkId,
        /// The link below.
        parent: LinkId,
    },
    /// Two macvlan links of one parent, of which this one is in a mode that keeps them apart.
    MacvlanMode(LinkId),
}

/// A place on the way of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// It leaves through a link, with a VLAN tag or none.
    Out(LinkId, Option<u16>),
    /// It comes in through a link.
    In(LinkId, Option<u16>),
    /// A bridge has it, from one of its ports or from its own namespace; in a VLAN, if it filters.
    Bridge {
        /// The bridge.
        bridge: LinkId,
        /// The port.
        from: Option<LinkId>,
        /// The VLAN.
        vlan: Option<u16>,
    },
    /// The link's namespace takes it.
    Taken(LinkId),
    /// It leaves what can be seen.
    Gone(LinkId),
}

/// The way to a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trail {
    /// What is in the way.
    pub(crate) obstacles: Vec<Obstacle>,
    /// The steps, the first one first.
    pub(crate) steps: Vec<Step>,
}

/// All that a frame from one link can reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Links whose namespace takes the frame, each with the way there.
    pub(crate) taken: BTreeMap<LinkId, Trail>,
    /// Links by which it leaves what can be seen: NICs, tunnels, processes, hidden namespaces.
    pub(crate) exits: BTreeMap<LinkId, Trail>,
}

impl World {
    /// All that a frame reaches that this link's namespace sends by it: a broadcast, such as an
    /// ARP question.
    pub(crate) fn segment(&self, from: LinkId) -> Segment {
        self.segment_from(Step::Out(from, None))
    }

    /// The same, from any place on the way of a frame.
    pub(crate) fn segment_from(&self, start: Step) -> Segment {
        let edges = Edges::of(self);
        let mut known: BTreeMap<Step, Known> = BTreeMap::new();
        known.insert(start, Known::default());
        // By rising number of obstacles: each edge has one, or none.
        let mut open = VecDeque::from([start]);
        while let Some(step) = open.pop_front() {
            let Some(here) = known.get_mut(&step) else {
                continue;
            };
            if std::mem::replace(&mut here.done, true) {
                continue;
            }
            let cost = here.cost;
            for (next, obstacle) in edges.from(step) {
                let next_cost = cost + u32::from(obstacle.is_some());
                if known
                    .get(&next)
                    .is_some_and(|known| known.cost <= next_cost)
                {
                    continue;
                }
                known.insert(
                    next,
                    Known {
                        cost: next_cost,
                        from: Some((step, obstacle)),
                        done: false,
                    },
                );
                match obstacle {
                    None => open.push_front(next),
                    Some(_) => open.push_back(next),
                }
            }
        }
        let mut segment = Segment::default();
        for step in known.keys() {
            match step {
                Step::Taken(link) => segment.taken.insert(*link, trail(&known, *step)),
                Step::Gone(link) => segment.exits.insert(*link, trail(&known, *step)),
                _ => None,
            };
        }
        segment
    }
}

/// How a step is reached best.
#[derive(Default)]
struct Known {
    cost: u32,
    from: Option<(Step, Option<Obstacle>)>,
    done: bool,
}

fn trail(known: &BTreeMap<Step, Known>, end: Step) -> Trail {
    let mut trail = Trail {
        obstacles: Vec::new(),
        steps: vec![end],
    };
    let mut at = end;
    while let Some((from, obstacle)) = known.get(&at).and_then(|known| known.from) {
        trail.obstacles.extend(obstacle);
        trail.steps.push(from);
        at = from;
    }
    trail.obstacles.reverse();
    // A bridge that is down is in the way at both of its ports.
    trail.obstacles.dedup();
    trail.steps.reverse();
    trail
}
