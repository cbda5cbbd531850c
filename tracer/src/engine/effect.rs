//! What the engine wants done.

use tracer_common::{event::DropKey, filter::Member};

use super::{Nanos, queries::QueryId};
use crate::{decode::sighting::AttemptKey, model::Report, node::query::Query};

/// Something to do, in the order in which the engine has said it.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Ask the node, and hand in the answer whenever it comes.
    Ask(QueryId, Query),
    /// Read the kernel's maps, and hand in what is there before anything else.
    Read(MapQuery),
    /// Evict kinds of drops from the kernel's map, each if no more were counted than this many; and
    /// hand in which ones are gone.
    Forget(Vec<(DropKey, u64)>),
    /// Say whether there is little room in the kernel's map: then each pair of networks may begin a few
    /// kinds a second.
    Crowd(bool),
    /// Change the sets of the filter: put these entries in, then take those out.
    Members {
        put: Vec<(Member, u32)>,
        gone: Vec<Member>,
    },
    /// Show it.
    Report(Report),
    /// Say what belongs to no report.
    Note(String),
    /// End the trace: as many drops were shown as the user wants.
    Stop,
}

/// What is in the kernel's maps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MapQuery {
    /// The exact counts of these kinds of drops.
    Counts(Vec<DropKey>),
    /// The exact counts of all kinds of which an event was last sent no later than this.
    AllCounts { until: Nanos },
    /// Sightings of an attempt's first packet from before it matched the filter.
    EarlyHops(AttemptKey),
}
