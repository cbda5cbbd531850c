//! The ladder of an attempt: where its packets were seen, in order of time.

use tracer_common::{event::EarlyHop, tuple::Tuple};

use crate::{decode::sighting::Sighting, model::Place};

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
}

impl Step {
    pub(super) fn of(sighting: &Sighting) -> Self {
        Self {
            place: sighting.place.clone(),
            at: sighting.at,
            times: 1,
            flow: sighting.flow,
            outer: sighting.outer,
        }
    }
}

impl From<&EarlyHop> for Step {
    fn from(hop: &EarlyHop) -> Self {
        Self {
            place: Place::from(&hop.place),
            at: hop.at,
            times: 1,
            flow: hop.flow,
            outer: None,
        }
    }
}

/// Adds a step to a ladder, in order of time.
pub(super) fn add(ladder: &mut Vec<Step>, step: Step) {
    if let Some(known) = ladder.iter_mut().find(|known| known.place == step.place) {
        known.times += step.times;
        return;
    }
    if ladder.len() >= MAX_HOPS {
        return;
    }
    let at = ladder.partition_point(|known| known.at <= step.at);
    ladder.insert(at, step);
}
