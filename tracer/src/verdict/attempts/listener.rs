//! The listener's own silence: a SYN that finds a queue full is dropped without a kfree_skb.

use super::Case;
use crate::{
    model::{
        Confidence::{Confirmed, Likely},
        Outcome, Point,
    },
    node::{
        listener::{ListenerFacts, ListenerState},
        syn_queue::Room,
    },
    verdict::{
        drops::listener::{in_words, larger_backlog, name},
        rule::Finding,
    },
};

/// The listener that was looked at for a SYN that was not answered.
fn looked_at<'a>(case: &Case<'a>) -> Option<(&'a ListenerFacts, &'a ListenerState)> {
    (case.outcome == Outcome::Unanswered).then_some(())?;
    let facts = case.around.listener.as_ref()?;
    let state = facts.accept_queue_full().or(facts.listeners.first())?;
    Some((facts, state))
}

/// A queue of the listener is full.
pub(super) fn silence(case: &Case<'_>) -> Option<Finding> {
    let (facts, state) = looked_at(case)?;
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
    let why = format!("the {which} of {} is full", name(state));
    let confidence = if dropped { Confirmed } else { Likely };
    let mut finding =
        Finding::new(Point::Listener, confidence, why).about(&[&which, &state.listener.address]);
    finding.evidence = in_words(facts);
    finding.fix.extend(larger_backlog(facts, state));
    Some(finding)
}

/// The listener has room for the SYN, and had it all the time.
pub(super) fn has_room(case: &Case<'_>) -> Option<String> {
    let (facts, state) = looked_at(case)?;
    let has_room = !state.listener.is_full() && facts.syn_queue_room() == Some(Room::Free);
    (has_room && facts.dropped() == Some(false)).then(|| {
        format!(
            "{} dropped nothing meanwhile: {} of {} places in its accept queue are taken",
            name(state),
            state.listener.accept_queue,
            state.listener.backlog
        )
    })
}
