//! An attempt as a record.

use tracer_common::tuple::Tuple;

use super::attempt::{Attempt, Reply, Step};
use crate::decode::sighting::Key;
use crate::{
    decode::drop::original_destination,
    kernel::clock::Clock,
    model::{AttemptReport, Dns, Flow, Hop, Outcome, SocketAddress, Verdict},
    net::netns::NetnsNames,
};

/// What a fate is told with.
#[derive(Debug)]
pub struct Fate {
    /// What became of the attempt.
    pub outcome: Outcome,
    /// Who answered, refused or rejected.
    pub by: Option<String>,
    /// Who lost it.
    pub verdict: Option<Verdict>,
    /// When it was known, in nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
}

/// The record of an attempt whose fate is known.
pub fn record(
    key: &Key,
    attempt: &Attempt,
    fate: Fate,
    clock: &Clock,
    names: &mut NetnsNames,
) -> AttemptReport {
    let last = attempt.hops.last().map(|hop| hop.flow);
    AttemptReport {
        ts: clock.wall(attempt.first_at),
        flow: Flow::from(&attempt.flow),
        original_dst: original_dst(attempt),
        translated: last
            .filter(|last| *last != attempt.flow)
            .map(|last| Flow::from(&last)),
        src_pod: None,
        dst_pod: None,
        src_owner: None,
        dst_owner: None,
        outcome: fate.outcome,
        corrects: attempt.told.filter(|told| *told != fate.outcome),
        syns: attempt.openings(),
        waited_ms: fate.at.saturating_sub(attempt.first_at) / 1_000_000,
        isn: match key {
            Key::Tcp(isn) => Some(*isn),
            Key::Dns(..) => None,
        },
        dns: attempt.dns.clone().map(|(question, qtype)| Dns {
            question,
            qtype,
            rcode: match &attempt.reply {
                Some(Reply::Answer(rcode)) => rcode.clone(),
                _ => None,
            },
        }),
        tls: attempt.tls.as_ref().map(|tls| tls.stage),
        by: fate.by,
        hops: hops(&attempt.hops, attempt, attempt.flow, names),
        reply_hops: hops(&attempt.reply_hops, attempt, attempt.flow.reversed(), names),
        verdict: fate.verdict,
    }
}

/// The destination that the client asked for, where DNAT changed it on the way or before the first
/// hop.
fn original_dst(attempt: &Attempt) -> Option<SocketAddress> {
    let asked_for = &attempt.flow;
    let last = attempt.hops.last().map_or(asked_for, |hop| &hop.flow);
    if (last.dst, last.dport) != (asked_for.dst, asked_for.dport) {
        let port = asked_for.has_ports().then_some(asked_for.dport);
        return Some((asked_for.dst.into(), port));
    }
    original_destination(asked_for, attempt.original.as_ref()?)
}

fn hops(steps: &[Step], attempt: &Attempt, plain: Tuple, names: &mut NetnsNames) -> Vec<Hop> {
    steps
        .iter()
        .map(|step| Hop {
            ifname: step.place.ifname.clone(),
            netns: step.place.netns,
            netns_name: names.find(step.place.netns).map(ToString::to_string),
            dir: step.place.dir,
            at_us: step.at.saturating_sub(attempt.first_at) / 1_000,
            times: step.times,
            flow: (step.flow != plain).then(|| Flow::from(&step.flow)),
            outer: step.outer.as_ref().map(Flow::from),
            mtu: step.place.mtu,
        })
        .collect()
}

/// When an attempt's fate was known, for one that the next packet has decided.
pub fn decided_at(attempt: &Attempt) -> u64 {
    attempt
        .reply_hops
        .last()
        .map_or(attempt.first_at, |hop| hop.at)
}
