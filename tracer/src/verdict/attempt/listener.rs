//! The listener's own silence: a SYN that finds a queue full is dropped without a kfree_skb.

use super::Case;
use crate::{
    node::{
        change::Change,
        counters::name as counters,
        listener::{ListenerFacts, ListenerState},
        syn_queue::Room,
    },
    record::{
        Confidence::{Confirmed, Likely},
        Outcome, Point,
    },
    verdict::rules::{Finding, fix, found},
    words,
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
        fix: larger_backlog(facts, state)
            .as_ref()
            .map(fix)
            .into_iter()
            .collect(),
        ..finding
    })
}

/// What was read of the listener, as evidence.
pub(super) fn in_words(facts: &ListenerFacts) -> Vec<String> {
    let Some(state) = facts.accept_queue_full().or(facts.listeners.first()) else {
        return vec![format!(
            "nobody listens on {} in that namespace",
            facts.destination
        )];
    };
    let mut evidence = vec![format!(
        "{}: Recv-Q {}, backlog (Send-Q) {}, {} half-open",
        name(state),
        state.listener.accept_queue,
        state.listener.backlog,
        facts.syn_queue.len
    )];
    let overflows = facts.moved(counters::LISTEN_OVERFLOWS).unwrap_or(0);
    let drops = facts.moved(counters::LISTEN_DROPS).unwrap_or(0);
    if overflows + drops > 0 {
        evidence.push(format!(
            "in its namespace ListenOverflows moved by {overflows}, ListenDrops by {drops}"
        ));
    }
    if let Some(own) = state.new_drops {
        evidence.push(format!(
            "the listener itself counted {} meanwhile",
            words::count(own.into(), "drop")
        ));
    }
    evidence
}

fn name(state: &ListenerState) -> String {
    let address = state.listener.address;
    match &state.process {
        Some(process) => {
            format!(
                "the listener {address} of {} (pid {})",
                process.comm, process.pid
            )
        }
        None => format!("the listener {address}"),
    }
}

/// The application asked for as much as it may have: then the limit can be raised. Otherwise the
/// backlog is the application's own, and only it can ask for more.
fn larger_backlog(facts: &ListenerFacts, state: &ListenerState) -> Option<Change> {
    let limit = facts.settings.somaxconn?;
    (u64::from(state.listener.backlog) >= limit).then(|| Change {
        apply: format!(
            "sysctl -w net.core.somaxconn={}, then restart the application",
            limit * 4
        ),
        undo: format!("sysctl -w net.core.somaxconn={limit}"),
    })
}
