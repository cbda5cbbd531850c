//! Traces of several nodes, joined: one path for each attempt, and the place between two nodes where
//! it was lost.
//!
//! - [`trace`]: what one node's trace says
//! - [`matching`]: which attempts of the nodes are one
//! - [`clock`]: how the nodes' clocks compare, by the packets that two of them saw
//! - [`judge`]: who lost it, with what both ends know
//!
//! Plain code: records in, paths out.

mod clock;
mod judge;
mod matching;
#[cfg(test)]
mod tests;
mod trace;

use std::time::{Duration, SystemTime};

pub(crate) use self::trace::Trace;
use self::{clock::Clocks, matching::Sight};
use crate::model::{AttemptReport, Hop, NodeClock, Outcome, PathHop, PathReport};

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
    let first = sights.iter().find_map(|sight| sight.attempt)?;
    let reference = sights.first()?.node;
    let name = |node: usize| traces[node].node.clone();
    let judged = judge::judge(&judge::Case {
        traces,
        sights,
        clocks,
    });
    let last = sights.iter().rev().find_map(|sight| sight.attempt);
    let along = |hops: fn(&AttemptReport) -> &Vec<Hop>| {
        let seen = sights.iter().filter_map(|sight| {
            let attempt = sight.attempt?;
            let ahead = clocks
                .offset(reference, sight.node)
                .map_or(0, |it| it.offset);
            Some((sight.node, attempt, ahead))
        });
        let hops = seen.flat_map(move |(node, attempt, ahead)| {
            let since = micros_since(attempt.ts, first.ts) - ahead;
            hops(attempt).iter().map(move |hop| PathHop {
                node: name(node),
                hop: Hop {
                    at_us: u64::try_from(since + micros(hop.at_us)).unwrap_or_default(),
                    // What the path's flow is, need not be said.
                    flow: hop.flow.or(Some(attempt.flow)),
                    ..hop.clone()
                },
            })
        });
        hops.collect::<Vec<_>>()
    };
    let mut hops = along(|attempt| &attempt.hops);
    let mut reply_hops = along(|attempt| &attempt.reply_hops);
    // The nodes saw the reply in the other order.
    reply_hops.sort_by_key(|hop| {
        sights
            .iter()
            .rev()
            .position(|sight| name(sight.node) == hop.node)
    });
    for (hops, own) in [
        (&mut hops, first.flow),
        (&mut reply_hops, first.flow.reversed()),
    ] {
        for PathHop { hop, .. } in hops {
            hop.flow = hop
                .flow
                .filter(|flow| *flow != own && *flow != own.reversed());
        }
    }
    let nodes = sights.iter().map(|sight| {
        let estimate = clocks.offset(reference, sight.node);
        NodeClock {
            node: name(sight.node),
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
        src_pod: sights
            .iter()
            .find_map(|sight| sight.attempt?.src_pod.clone()),
        dst_pod: last
            .and_then(|last| last.dst_pod.clone())
            .or_else(|| first.dst_pod.clone()),
        outcome: first.outcome,
        syns: first.syns,
        waited_ms: first.waited_ms,
        hops,
        reply_hops,
        clock: nodes.collect(),
        between: judged.between,
        verdict: judged
            .verdict
            .filter(|_| first.outcome != Outcome::Answered),
    })
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
