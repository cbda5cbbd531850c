//! Traces of several nodes, joined: one path for each attempt, and the place between two nodes where
//! it was lost.
//!
//! - [`trace`]: what one node's trace says
//! - [`matching`]: which attempts of the nodes are one
//! - [`clock`]: how the nodes' clocks compare, by the packets that two of them saw
//! - [`scope`]: whether a node would have seen a packet
//! - [`judge`]: who lost it, with what both ends know
//!
//! Plain code: records in, paths out.

mod clock;
mod judge;
mod matching;
mod scope;
#[cfg(test)]
mod tests;
mod trace;

use std::time::{Duration, SystemTime};

pub(crate) use self::trace::Trace;
use self::{clock::Clocks, matching::Sight};
use crate::model::{AttemptReport, Flow, Hop, NodeClock, PathHop, PathReport};

/// All attempts of these traces, in order of time.
pub(crate) fn join(traces: &[Trace]) -> Vec<PathReport> {
    let groups = matching::groups(traces);
    let clocks = Clocks::compare(&groups);
    let mut paths: Vec<_> = groups
        .iter()
        .filter_map(|sights| path(traces, sights, &clocks))
        .collect();
    paths.sort_by_key(|path| path.ts);
    paths
}

/// The path of one attempt. `None` if no node saw it as an attempt.
fn path(traces: &[Trace], sights: &[Sight<'_>], clocks: &Clocks) -> Option<PathReport> {
    let seen: Vec<_> = sights
        .iter()
        .filter_map(|sight| Some((sight.node, sight.attempt?)))
        .collect();
    let (reference, first) = *seen.first()?;
    let (_, last) = *seen.last()?;
    let case = judge::Case {
        traces,
        sights,
        clocks,
        first,
    };
    let judged = judge::judge(&case);
    let along = |(node, attempt): &(usize, &AttemptReport), hops: &[Hop], own: Flow| {
        let estimate = clocks.offset(reference, *node);
        let ahead = estimate.map_or(0, |it| it.offset);
        let since = micros_since(attempt.ts, first.ts).saturating_sub(ahead);
        let hops = hops.iter().map(|hop| PathHop {
            node: traces[*node].node.clone(),
            hop: Hop {
                at_us: u64::try_from(since.saturating_add(micros(hop.at_us))).unwrap_or_default(),
                // Nodes behind NAT have another flow of their own.
                flow: Some(flow_at(attempt, hop))
                    .filter(|flow| *flow != own && *flow != own.reversed()),
                ..hop.clone()
            },
        });
        hops.collect::<Vec<_>>()
    };
    let there = seen.iter();
    let back = seen.iter().rev();
    let nodes = sights.iter().map(|sight| {
        let estimate = clocks.offset(reference, sight.node);
        NodeClock {
            node: traces[sight.node].node.clone(),
            offset_us: estimate.map(|it| it.offset),
            uncertainty_us: estimate.and_then(|it| it.uncertainty),
        }
    });
    Some(PathReport {
        ts: first.ts,
        flow: first.flow,
        original_dst: first.original_dst,
        isn: first.isn,
        dns: first.dns.clone(),
        src_pod: seen.iter().find_map(|(_, attempt)| attempt.src_pod.clone()),
        dst_pod: last.dst_pod.clone().or_else(|| first.dst_pod.clone()),
        outcome: first.outcome,
        syns: first.syns,
        waited_ms: first.waited_ms,
        hops: there
            .flat_map(|one| along(one, &one.1.hops, first.flow))
            .collect(),
        reply_hops: back
            .flat_map(|one| along(one, &one.1.reply_hops, first.flow))
            .collect(),
        clock: nodes.collect(),
        between: judged.between,
        verdict: judged.verdict,
    })
}

/// The packet's flow at a hop, inside of any tunnel.
fn flow_at(attempt: &AttemptReport, hop: &Hop) -> Flow {
    hop.flow.unwrap_or(attempt.flow)
}

/// Microseconds from one time to another; negative where it is earlier.
fn micros_since(later: SystemTime, earlier: SystemTime) -> i64 {
    match later.duration_since(earlier) {
        Ok(after) => micros_of(after),
        Err(before) => -micros_of(before.duration()),
    }
}

fn micros_of(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX / 4)
}

fn micros(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX / 4)
}
