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
use crate::model::{AttemptReport, Direction, Flow, Hop, NodeClock, PathHop, PathReport};

/// The longest time that is computed with, in microseconds: a sum of four stays in range.
const FOREVER: i64 = i64::MAX / 4;

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
    let along = |(node, attempt): &(usize, &AttemptReport), leg: Leg, own: Flow| {
        let estimate = clocks.offset(reference, *node);
        let ahead = estimate.map_or(0, |it| it.offset);
        let since = micros_since(attempt.ts, first.ts).saturating_sub(ahead);
        let hops = leg.hops(attempt).iter().map(|hop| PathHop {
            node: traces[*node].node.clone(),
            hop: Hop {
                at_us: u64::try_from(since.saturating_add(micros(hop.at_us))).unwrap_or_default(),
                // Nodes behind NAT have another flow of their own.
                flow: Some(leg.flow(attempt, hop))
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
            .flat_map(|one| along(one, Leg::There, first.flow))
            .collect(),
        reply_hops: back
            .flat_map(|one| along(one, Leg::Back, first.flow))
            .collect(),
        clock: nodes.collect(),
        between: judged.between,
        verdict: judged.verdict,
    })
}

/// One of both directions of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leg {
    /// The SYN or the query.
    There,
    /// What came back.
    Back,
}

impl Leg {
    fn hops(self, attempt: &AttemptReport) -> &[Hop] {
        match self {
            Self::There => &attempt.hops,
            Self::Back => &attempt.reply_hops,
        }
    }

    /// The packet's flow at a hop, inside of any tunnel. A record has it only where it differs from
    /// the attempt's.
    fn flow(self, attempt: &AttemptReport, hop: &Hop) -> Flow {
        hop.flow.unwrap_or_else(|| match self {
            Self::There => attempt.flow,
            Self::Back => attempt.flow.reversed(),
        })
    }

    /// The packet's flow as the wire has it: the outer one, where it is encapsulated.
    fn on_the_wire(self, attempt: &AttemptReport, hop: &Hop) -> Flow {
        hop.outer
            .map(|outer| outer.flow)
            .unwrap_or_else(|| self.flow(attempt, hop))
    }

    /// Whether what left one node last is what another saw first.
    fn crosses(self, from: &AttemptReport, to: &AttemptReport) -> bool {
        let (Some(left), Some(came)) = (self.hops(from).last(), self.hops(to).first()) else {
            return false;
        };
        let is_crossing = left.dir == Direction::Out && came.dir == Direction::In;
        // The outer source port is a hash of the inner flow, which NAT may change.
        let ends = |flow: Flow| (flow.proto, flow.src, flow.dst, flow.dport);
        is_crossing && ends(self.on_the_wire(from, left)) == ends(self.on_the_wire(to, came))
    }
}

/// Microseconds from one time to another; negative where it is earlier.
fn micros_since(later: SystemTime, earlier: SystemTime) -> i64 {
    match later.duration_since(earlier) {
        Ok(after) => micros_of(after),
        Err(before) => -micros_of(before.duration()),
    }
}

fn micros_of(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).map_or(FOREVER, |micros| micros.min(FOREVER))
}

fn micros(value: u64) -> i64 {
    i64::try_from(value).map_or(FOREVER, |micros| micros.min(FOREVER))
}
