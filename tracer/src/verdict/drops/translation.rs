//! Segments of an open connection that NAT translates no more.

use super::{Concern, Finding};
use crate::{
    decode::drop::DropFacts, model::Confidence::Confirmed, node::facts::NodeFacts,
    verdict::translation,
};

pub(super) fn may_be_lost(facts: &DropFacts) -> Concern {
    Concern::maybe(facts.untranslated.is_some())
}

/// Its connection's entry is gone, or another one.
pub(super) fn lost(_: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let lost = node.lost_translation.as_ref()?;
    Some(translation::finding(lost, Confirmed))
}
