//! The ladder of an attempt: where its packets were seen, in order of time.

use tracer_common::{
    event::{EarlyHop, direction},
    tuple::Tuple,
};

use crate::{
    decode::sighting::Sighting,
    model::{Direction, Place},
};

/// Hops that are kept, each way. Longer ladders are loops.
const MAX_HOPS: usize = 32;

/// One place where a packet was seen, once or more.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// The interface and the direction.
    pub(crate) place: Place,
    /// When it was first seen here, in nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) at: u64,
    /// How often it was seen here.
    pub(crate) times: u64,
    /// The flow as seen here.
    pub(crate) flow: Tuple,
    /// The flow of the encapsulating packet.
    pub(crate) outer: Option<Tuple>,
    /// The network identifier there.
    pub(crate) vni: Option<u32>,
}

impl Step {
    pub(super) fn of(sighting: &Sighting) -> Self {
        Self {
            place: sighting.place.clone(),
            at: sighting.at,
            times: 1,
            flow: sighting.flow,
            outer: sighting.outer,
            vni: sighting.vni,
        }
    }

    /// A sighting from before the packet matched the filter; `link` gives an interface's name and MTU
    /// by its namespace and number.
    pub(crate) fn early(
        hop: &EarlyHop,
        link: impl FnOnce(u32, u32) -> Option<(String, u32)>,
    ) -> Self {
        let (ifname, mtu) =
            link(hop.netns, hop.ifindex).unwrap_or_else(|| (format!("if{}", hop.ifindex), 0));
        Self {
            place: Place {
                netns: hop.netns,
                ifindex: hop.ifindex,
                ifname,
                mtu,
                dir: match hop.direction {
                    direction::IN => Direction::In,
                    _ => Direction::Out,
                },
            },
            at: hop.at,
            times: 1,
            flow: hop.flow,
            outer: None,
            vni: None,
        }
    }
}

fn is_same(one: &Place, other: &Place) -> bool {
    one.is_at(other) && one.dir == other.dir
}

/// Adds a step to a ladder, in order of time.
pub(super) fn add(ladder: &mut Vec<Step>, step: Step) {
    if let Some(known) = ladder
        .iter_mut()
        .find(|known| is_same(&known.place, &step.place))
    {
        known.times += step.times;
        return;
    }
    if ladder.len() >= MAX_HOPS {
        return;
    }
    let at = ladder.partition_point(|known| known.at <= step.at);
    ladder.insert(at, step);
}
