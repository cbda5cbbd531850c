//! What the engine takes in.

use tracer_common::event::{DropKey, EarlyHop};

use super::{Nanos, queries::QueryId};
use crate::{
    cluster::update::Update,
    decode::{drop::DropKind, event::Event, sighting::AttemptKey},
    model::{NetnsName, Tallies},
    net,
    node::query::Answer,
};

/// Everything that can happen in a trace. Recording a trace is recording these, with their times.
#[derive(Debug)]
pub(crate) enum Input {
    /// The kernel programs have sent an event.
    Event(Event),
    /// What is in the kernel's maps.
    Map(MapAnswer),
    /// The node has answered; `None` if the answer cannot be had.
    Answer(QueryId, Option<Answer>),
    /// The sources of cluster knowledge have something new.
    Cluster(Vec<Update>),
    /// Network namespaces have new names, by inode number.
    Netns(Vec<(u32, NetnsName)>),
    /// Interfaces have come, gone or changed.
    Interfaces(Vec<net::Change>),
    /// Which interfaces have no probes from now on, in a sentence; `None` if all have.
    Unwatched(Option<String>),
    /// Events are read up to this time, and later ones may wait; `None` if none do.
    ReadUntil(Option<Nanos>),
    /// Time has passed. Comes with the kernel's counters of what it could not send or count.
    Tick(Tallies),
    /// The programs are detached, and all their events were handed in.
    Detached(Tallies),
    /// No more answers will come: this is the end.
    Finish,
}

/// The answer to the [`super::effect::MapQuery`] of the same name.
#[derive(Debug)]
pub(crate) enum MapAnswer {
    Counts(Vec<(DropKey, u64)>),
    AllCounts(Vec<(DropKind, u64)>),
    EarlyHops(AttemptKey, Vec<EarlyHop>),
    /// Kinds of drops that were evicted from the map.
    Forgotten(Vec<DropKey>),
}
