//! Packets that an old conntrack entry has led astray.

use tracer_common::event::ct;

use super::{Concern, Finding, closed_port, not_here, other_host, path};
use crate::{
    decode::drop::{DropFacts, Wire},
    node::{bypass::Destination, facts::NodeFacts},
    verdict::stale_entry,
};

pub(super) fn may_be_stale(facts: &DropFacts) -> Concern {
    let reasons = [
        path::lacks_neighbor,
        other_host::is_for_another,
        not_here::may_be_elsewhere,
        path::is_unrouted,
        closed_port::is_first,
    ];
    let is_lost = reasons
        .iter()
        .any(|concerns| concerns(facts) != Concern::No);
    Concern::maybe(is_lost && facts.wire.as_deref().is_some_and(follows_an_entry))
}

/// Whether an earlier packet of the same side has made the entry.
fn follows_an_entry(wire: &Wire) -> bool {
    /// From here on, `enum ip_conntrack_info` is of answers.
    const REPLY: u32 = 3;
    let is_confirmed =
        wire.ct & ct::STATUS != 0 && (wire.ct >> ct::STATUS_SHIFT) & ct::CONFIRMED != 0;
    is_confirmed && wire.ct & ct::INFO < REPLY && wire.entry.is_some()
}

pub(super) fn stale_entry(_: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    match node.destination.as_ref()? {
        Destination::Kept(bypass) => Some(stale_entry::finding(bypass)),
        Destination::Untranslated => None,
    }
}

pub(super) fn follows_the_rules(_: &DropFacts, node: &NodeFacts) -> Option<String> {
    let untranslated = node.destination == Some(Destination::Untranslated);
    untranslated.then(|| "neither the rules nor an entry translate its destination".to_owned())
}
