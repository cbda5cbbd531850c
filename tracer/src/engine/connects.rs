//! Connects that failed before they sent a packet: each is reported, alike ones share a question to the
//! node.

use std::collections::HashMap;

use super::{cluster_context::Names, knowledge::Context, queries::Purpose};
use crate::{
    decode::connect::{ConnectKind, FailedConnect},
    model::{AttemptReport, Flow, Outcome, Pod, Verdict},
    node::{
        connect::ConnectFacts,
        query::{Answer, Query},
    },
    verdict::{cluster::AttemptFlow, connects},
};

/// Questions that may be open at once. What fails then is judged by its error alone.
const MAX_OPEN: usize = 32;
/// Alike connects that may wait for one answer.
const MAX_WAITING: usize = 256;

/// The failed connects of a trace.
#[derive(Debug)]
pub(super) struct Connects {
    /// Those that wait for an answer.
    waiting: HashMap<ConnectKind, Vec<FailedConnect>>,
    /// Whether to report those that healthy programs make, too.
    noise: bool,
    /// Name lookups.
    lookups: u64,
}

impl Connects {
    pub(super) fn new(noise: bool) -> Self {
        Self {
            waiting: HashMap::new(),
            noise,
            lookups: 0,
        }
    }

    /// Takes one.
    pub(super) fn failed(&mut self, failed: FailedConnect, cx: &mut Context<'_>) {
        if failed.is_noise() && !self.noise {
            return;
        }
        if let Some(alike) = self.waiting.get_mut(&failed.about) {
            match alike.len() < MAX_WAITING {
                true => alike.push(failed),
                false => self.report(&failed, &ConnectFacts::default(), cx),
            }
            return;
        }
        if self.waiting.len() >= MAX_OPEN {
            self.report(&failed, &ConnectFacts::default(), cx);
            return;
        }
        let kind = failed.about.clone();
        let query = Query::Connect(failed.clone());
        self.waiting.insert(kind.clone(), vec![failed]);
        cx.ask(Purpose::Connect(kind), query);
    }

    /// Takes an answer of the node; `None` if none could be had.
    pub(super) fn answered(
        &mut self,
        kind: &ConnectKind,
        answer: Option<Answer>,
        cx: &mut Context<'_>,
    ) {
        let facts = match answer {
            Some(Answer::Connect(facts)) => *facts,
            _ => ConnectFacts::default(),
        };
        for failed in self.waiting.remove(kind).into_iter().flatten() {
            self.report(&failed, &facts, cx);
        }
    }

    /// At the end: reports those that wait still.
    pub(super) fn finish(&mut self, cx: &mut Context<'_>) {
        for failed in std::mem::take(&mut self.waiting).into_values().flatten() {
            self.report(&failed, &ConnectFacts::default(), cx);
        }
    }

    fn report(&mut self, failed: &FailedConnect, facts: &ConnectFacts, cx: &mut Context<'_>) {
        let mut verdict = connects::judge(failed, facts);
        for fix in &mut verdict.fix {
            cx.netns.place(fix, Some(failed.about.netns));
        }
        let report = self.attempt(failed, verdict, cx);
        cx.report_attempt(report, false, None);
    }

    fn attempt(
        &mut self,
        failed: &FailedConnect,
        verdict: Verdict,
        cx: &Context<'_>,
    ) -> AttemptReport {
        let flow = Flow::from(&failed.flow);
        let ts = cx.clock.wall(failed.at);
        let mut names = Names::new(cx.cluster, cx.interfaces, cx.node(), &mut self.lookups);
        let ends = AttemptFlow {
            client: flow,
            last: flow.destination(),
            original_dst: None,
            outer: None,
            at: ts,
        }
        .ends(&mut names);
        let own: Option<Pod> = match failed.about.src {
            Some(_) => ends.client.pod(),
            // No address to go by.
            None => cx.cluster.pod_of_netns(failed.about.netns).map(Pod::from),
        };
        AttemptReport {
            ts,
            flow,
            original_dst: None,
            translated: None,
            src_pod: own,
            dst_pod: ends.server.pod(),
            src_owner: failed.about.src.and_then(|_| ends.client.words()),
            dst_owner: ends.requested.words().or_else(|| ends.server.words()),
            service: ends.requested.service().map(ToString::to_string),
            outcome: Outcome::Unsent,
            corrects: None,
            syns: 0,
            waited_ms: 0,
            isn: None,
            dns: None,
            tls: None,
            by: None,
            process: Some(failed.process()),
            reply: None,
            hops: Vec::new(),
            reply_hops: Vec::new(),
            verdict: Some(verdict),
        }
    }
}
