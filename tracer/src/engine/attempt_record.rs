//! An attempt as a record.

use std::net::IpAddr;

use tracer_common::tuple::Tuple;

use super::attempt::{Attempt, Reply, Step};
use crate::decode::{sighting::Key, tls::Stage};
use crate::{
    decode::drop::{flow, original_destination},
    kernel::{clock::Clock, netns::NetnsNames},
    report::record::{self, Dns, Hop, Outcome, Verdict},
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
) -> record::Attempt {
    let last = attempt.hops.last().map(|hop| hop.flow);
    record::Attempt {
        ts: clock.wall(attempt.first_at),
        flow: flow(&attempt.flow),
        original_dst: original_dst(attempt),
        translated: last
            .filter(|last| *last != attempt.flow)
            .map(|last| flow(&last)),
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
        tls: attempt.tls.as_ref().map(|tls| match tls.stage {
            Stage::Sent => record::Tls::Sent,
            Stage::Acknowledged => record::Tls::Acknowledged,
            Stage::Answered => record::Tls::Answered,
            Stage::Reset => record::Tls::Reset,
        }),
        by: fate.by,
        hops: hops(&attempt.hops, attempt, attempt.flow, names),
        reply_hops: hops(&attempt.reply_hops, attempt, attempt.flow.reversed(), names),
        verdict: fate.verdict,
    }
}

/// The destination that the client asked for, where DNAT changed it on the way or before the first
/// hop.
fn original_dst(attempt: &Attempt) -> Option<(IpAddr, Option<u16>)> {
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
            netns_name: names.find(step.place.netns).map(str::to_owned),
            dir: step.place.dir,
            at_us: step.at.saturating_sub(attempt.first_at) / 1_000,
            times: step.times,
            flow: (step.flow != plain).then(|| flow(&step.flow)),
            outer: step.outer.as_ref().map(flow),
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
