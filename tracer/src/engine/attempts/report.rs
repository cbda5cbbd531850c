//! An attempt as it is reported.

use tracer_common::tuple::Tuple;

use crate::{
    attempt::{Attempt, Reply, Step},
    decode::sighting::AttemptKey,
    engine::{Nanos, knowledge::Context},
    model::{AttemptReport, Dns, Flow, Hop, Outcome, Outer, ReplyKind, Verdict},
    verdict::cluster::AttemptEnds,
};

/// What was concluded about an attempt.
#[derive(Debug)]
pub(super) struct Conclusion {
    pub(super) outcome: Outcome,
    /// Who answered, refused or rejected.
    pub(super) by: Option<String>,
    /// Who lost it.
    pub(super) verdict: Option<Verdict>,
    /// When the outcome was known.
    pub(super) at: Nanos,
    pub(super) ends: AttemptEnds,
}

/// An attempt whose outcome is known, with all that was seen of it by then.
pub(super) fn report(
    key: &AttemptKey,
    attempt: &Attempt,
    conclusion: Conclusion,
    cx: &Context<'_>,
) -> AttemptReport {
    let Conclusion {
        outcome,
        by,
        verdict,
        at,
        ends,
    } = conclusion;
    let last = attempt.hops.last().map(|hop| hop.flow);
    AttemptReport {
        ts: cx.clock.wall(attempt.first_at),
        flow: Flow::from(&attempt.flow),
        original_dst: attempt.original_dst(),
        translated: last
            .filter(|last| *last != attempt.flow)
            .map(|last| Flow::from(&last)),
        src_pod: ends.client.pod(),
        dst_pod: ends.server.pod(),
        src_owner: ends.client.words(),
        service: ends.requested.service().map(ToString::to_string),
        dst_owner: ends.requested.words().or_else(|| ends.server.words()),
        outcome,
        corrects: attempt.reported_outcome(),
        syns: attempt.openings(),
        waited_ms: at.saturating_sub(attempt.first_at) / 1_000_000,
        isn: match key {
            AttemptKey::Tcp(isn) => Some(*isn),
            AttemptKey::Dns { .. } => None,
        },
        dns: attempt.dns.clone().map(|(question, qtype)| Dns {
            id: match key {
                AttemptKey::Tcp(_) => None,
                AttemptKey::Dns { id, .. } => Some(*id),
            },
            question,
            qtype,
            rcode: match &attempt.reply {
                Some(Reply::Answer(rcode)) => rcode.clone(),
                _ => None,
            },
        }),
        tls: attempt.tls.as_ref().map(|tls| tls.stage),
        by,
        process: None,
        hops: hops(&attempt.hops, attempt, attempt.flow, cx),
        reply: attempt.reply.as_ref().map(|reply| match reply {
            Reply::Answer(_) => ReplyKind::Answer,
            Reply::Reset => ReplyKind::Reset,
            Reply::Rejection(_) => ReplyKind::Error,
        }),
        reply_hops: hops(&attempt.reply_hops, attempt, attempt.flow.reversed(), cx),
        verdict,
    }
}

fn hops(steps: &[Step], attempt: &Attempt, plain: Tuple, cx: &Context<'_>) -> Vec<Hop> {
    steps
        .iter()
        .map(|step| Hop {
            ifname: step.place.ifname.clone(),
            netns: step.place.netns,
            netns_name: cx.netns.text(step.place.netns),
            pod: cx.pod_in(step.place.netns, attempt.first_at),
            dir: step.place.dir,
            at_us: step.at.saturating_sub(attempt.first_at) / 1_000,
            times: step.times,
            flow: (step.flow != plain).then(|| Flow::from(&step.flow)),
            outer: Outer::new(step.outer.as_ref().map(Flow::from), step.vni),
            mtu: step.place.mtu,
        })
        .collect()
}
