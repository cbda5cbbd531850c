//! Listeners, and their queues in words.

use super::{Concern, Finding, function};
use crate::{
    decode::drop::DropFacts,
    model::{Confidence::Confirmed, Fix, Point, address},
    node::{
        change,
        counters::name as counters,
        facts::NodeFacts,
        listener::{ListenerFacts, ListenerState},
    },
    words,
};

pub(super) fn is_overflow(facts: &DropFacts) -> Concern {
    let by_cookie = matches!(function(facts), "cookie_v4_check" | "cookie_v6_check");
    let full =
        facts.reason.is("TCP_LISTEN_OVERFLOW") || (facts.reason.is("NO_SOCKET") && by_cookie);
    Concern::surely(full)
}

/// The last packet of a handshake finds the accept queue full.
pub(super) fn listener_queue(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let listener = address(facts.flow.destination());
    let mut finding = Finding::new(
        Point::Listener,
        Confirmed,
        format!("the accept queue of the listener at {listener} is full"),
    )
    .about(&[&listener]);
    if let Some(read) = &node.around.listener {
        finding.evidence.extend(in_words(read));
        let state = read.accept_queue_full();
        let larger = state.and_then(|state| larger_backlog(read, state));
        finding.fix.extend(larger);
    }
    Some(finding)
}

/// What was read of the listener, as evidence.
pub(in crate::verdict) fn in_words(facts: &ListenerFacts) -> Vec<String> {
    let Some(state) = facts.accept_queue_full().or(facts.listeners.first()) else {
        return vec![format!(
            "nothing listens on {} in that namespace",
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

pub(in crate::verdict) fn name(state: &ListenerState) -> String {
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
pub(in crate::verdict) fn larger_backlog(
    facts: &ListenerFacts,
    state: &ListenerState,
) -> Option<Fix> {
    let limit = facts.settings.somaxconn?;
    (u64::from(state.listener.backlog) >= limit).then(|| {
        change::sysctl("net/core/somaxconn", limit, limit * 4)
            .noting("then restart the application")
    })
}
