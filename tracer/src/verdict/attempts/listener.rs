//! The listener's own silence: a SYN that finds a queue full is dropped without a kfree_skb.

use super::Case;
use crate::{
    model::{
        Confidence::{Confirmed, Likely},
        Outcome, Point,
    },
    node::syn_queue::Room,
    verdict::drops::{
        Finding, found,
        listener::{in_words, larger_backlog, name},
    },
};

/// A queue of the listener is full.
pub(super) fn silence(case: &Case<'_>) -> Option<Finding> {
    (case.outcome == Outcome::Unanswered).then_some(())?;
    let facts = case.around.listener.as_ref()?;
    let state = facts.accept_queue_full().or(facts.listeners.first())?;
    // A listener's own count also moves for a SYN that is sent again while it is pending: only
    // together with the namespace's count does it mean a drop.
    let dropped = facts.dropped() == Some(true);
    let which = if state.listener.is_full() {
        "accept queue"
    } else if dropped && facts.syn_queue_room() == Some(Room::Dropped) {
        "SYN queue"
    } else {
        return None;
    };
    let finding = found(
        Point::Listener,
        if dropped { Confirmed } else { Likely },
        format!("the {which} of {} is full", name(state)),
    )?;
    Some(Finding {
        evidence: in_words(facts),
        fix: larger_backlog(facts, state).into_iter().collect(),
        ..finding
    })
}
