//! Who lost it, with what both ends know.
//!
//! A node's own evidence beats another node's silence: what a node dropped, it has seen. Lost
//! *between* two nodes is said only if the next node watched all of its interfaces for that whole
//! time, lost no event, and has a filter that matches the packet there. Otherwise the verdict is what one side can say, and the evidence says why
//! it is not more.

use std::time::{Duration, SystemTime};

use super::{
    clock::Clocks,
    flow_at,
    matching::{Sight, on_the_wire},
    scope,
    trace::Trace,
};
use crate::model::{
    AttemptReport, Between, Confidence, Direction, Fix, Flow, Outcome, Point, Site, Verdict,
};

/// The rule of a verdict on the network between two nodes.
const LOST_BETWEEN: &str = "lost-between-nodes";
/// The same for an answer.
const ANSWER_LOST_BETWEEN: &str = "answer-lost-between-nodes";

/// One attempt, and all that is known around it.
pub(super) struct Case<'a> {
    pub(super) traces: &'a [Trace],
    /// In the order of the way; not empty.
    pub(super) sights: &'a [Sight<'a>],
    pub(super) clocks: &'a Clocks,
    /// What the first node saw.
    pub(super) first: &'a AttemptReport,
}

/// What is said of it.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) verdict: Option<Verdict>,
    pub(super) between: Option<Between>,
}

/// Judges one attempt.
pub(super) fn judge(case: &Case<'_>) -> Judged {
    match case.first.outcome {
        Outcome::Answered => Judged::default(),
        Outcome::Unanswered => case.silence(),
        Outcome::Refused | Outcome::Rejected | Outcome::Stalled => Judged::of(case.best()),
    }
}

impl Judged {
    fn of(verdict: Option<Verdict>) -> Self {
        Self {
            verdict,
            between: None,
        }
    }
}

impl Case<'_> {
    /// Nothing came back to the client.
    fn silence(&self) -> Judged {
        let Some((reached, last)) = self.farthest() else {
            return Judged::of(self.best());
        };
        if let Some(known) = self.own_verdict(reached) {
            return Judged::of(Some(known));
        }
        if last.reply_hops.is_empty() {
            return self.lost_there(reached, last);
        }
        self.lost_back()
    }

    /// The SYN left the last node that saw it, if it did: did the next one get it?
    fn lost_there(&self, reached: usize, last: &AttemptReport) -> Judged {
        let one_sided = || Judged::of(self.best());
        let Some(hop) = last.hops.last().filter(|hop| hop.dir == Direction::Out) else {
            return one_sided();
        };
        let wire = on_the_wire(last, hop);
        let from = self.sights[reached].node;
        let Some(to) = self.next_node(from, &wire, last) else {
            return one_sided();
        };
        let mut doubts = self.doubts(to);
        doubts.extend(self.filter_doubt(to, &flow_at(last, hop)));
        let (sender, receiver) = (&self.traces[from].node, &self.traces[to].node);
        let why = format!("it left {sender} and never came to {receiver}");
        self.between((from, to), (wire, hop.outer), doubts, LOST_BETWEEN, &why)
    }

    /// The answer left a node, and did not come to the one before.
    fn lost_back(&self) -> Judged {
        let answered = |sight: &&Sight<'_>| {
            sight
                .attempt
                .is_some_and(|attempt| !attempt.reply_hops.is_empty())
        };
        let Some(nearest) = self.sights.iter().position(|sight| answered(&sight)) else {
            return Judged::of(self.best());
        };
        let (Some(before), Some(attempt)) = (
            nearest.checked_sub(1).and_then(|it| self.sights.get(it)),
            self.sights[nearest].attempt,
        ) else {
            // It came back to the client's node, and was lost there.
            return Judged::of(self.best());
        };
        let left = attempt.reply_hops.last();
        let Some(hop) = left.filter(|hop| hop.dir == Direction::Out) else {
            return Judged::of(self.best());
        };
        let wire = on_the_wire(attempt, hop);
        // It saw the SYN, so that its filter matches the answer.
        let (from, to) = (self.sights[nearest].node, before.node);
        let (sender, receiver) = (&self.traces[from].node, &self.traces[to].node);
        let why = format!("the answer left {sender} and never came to {receiver}");
        let packet = (wire, hop.outer);
        self.between(
            (from, to),
            packet,
            self.doubts(to),
            ANSWER_LOST_BETWEEN,
            &why,
        )
    }

    /// Lost between two nodes, if the second one can say that nothing came.
    fn between(
        &self,
        (from, to): (usize, usize),
        (wire, outer): (Flow, Option<Flow>),
        doubts: Vec<String>,
        rule: &'static str,
        what: &str,
    ) -> Judged {
        let (sender, receiver) = (&self.traces[from], &self.traces[to]);
        if !doubts.is_empty() {
            let mut verdict = self.best();
            if let Some(verdict) = &mut verdict {
                verdict.confidence = verdict.confidence.min(Confidence::Likely);
                verdict.evidence.extend(doubts);
            }
            return Judged::of(verdict);
        }
        let point = match outer {
            Some(_) => Point::Overlay,
            None => Point::OffNode,
        };
        let why = format!("lost between {} and {}: {what}", sender.node, receiver.node);
        let evidence = vec![
            format!("the packet on the wire: {}", in_words(&wire)),
            format!(
                "{} watched all of its interfaces for that time, lost 0 events, and did not see it",
                receiver.node
            ),
            self.clocks_in_words(from, to),
        ];
        let port = wire.dport.map(|port| format!(" port {port}"));
        let fix = Fix::advice(format!(
            "let through {} from {} to {}{} between {} and {} (security group, network policy of \
             the cloud, router)",
            wire.proto,
            wire.src,
            wire.dst,
            port.unwrap_or_default(),
            sender.node,
            receiver.node,
        ))
        .at(Site::Cluster);
        Judged {
            verdict: Some(Verdict {
                rule: Some(rule.into()),
                subject: format!("{} {}", sender.node, receiver.node),
                evidence,
                fix: vec![fix],
                ..Verdict::new(point, Confidence::Confirmed, why)
            }),
            between: Some(Between {
                from: sender.node.clone(),
                to: receiver.node.clone(),
                outer,
            }),
        }
    }

    /// Why a node cannot say that a packet did not come to it.
    fn doubts(&self, node: usize) -> Vec<String> {
        let Self { traces, first, .. } = self;
        let trace = &traces[node];
        let name = &trace.node;
        let mut doubts = Vec::new();
        if !trace.complete {
            doubts.push(format!("{name} did not watch all of its interfaces"));
        }
        if trace.lost > 0 {
            doubts.push(format!("{name} lost {} events or attempts", trace.lost));
        }
        if !trace.ended {
            doubts.push(format!("the trace of {name} breaks off without a summary"));
        }
        let reference = self.sights.first().map_or(node, |sight| sight.node);
        let ahead = self
            .clocks
            .offset(reference, node)
            .map_or(0, |it| it.offset);
        let at_node = |time: SystemTime| {
            let shift = Duration::from_micros(ahead.unsigned_abs());
            if ahead < 0 {
                time - shift
            } else {
                time + shift
            }
        };
        let (began, ended) = (
            at_node(first.ts),
            at_node(first.ts + Duration::from_millis(first.waited_ms)),
        );
        if trace.start > began || trace.end < ended {
            doubts.push(format!(
                "the trace of {name} does not cover that time, by its clock"
            ));
        }
        doubts
    }

    /// Why a node need not have seen a packet that came to it: its filter.
    fn filter_doubt(&self, node: usize, flow: &Flow) -> Option<String> {
        let trace = &self.traces[node];
        let what = match scope::matches(trace, flow) {
            Some(true) => return None,
            Some(false) => "does not match",
            None => "is not known to match",
        };
        Some(format!(
            "the filter of {} {what} {}",
            trace.node,
            in_words(flow)
        ))
    }

    /// The node that a packet on the wire is for. `None` where no trace is of it, or several could be.
    fn next_node(&self, from: usize, wire: &Flow, last: &AttemptReport) -> Option<usize> {
        let others = || (0..self.traces.len()).filter(|node| *node != from);
        // Many addresses are the same on every node: docker0's, or that of a machine behind NAT.
        if self.traces[from].addresses.contains(&wire.dst) {
            return None;
        }
        let mut holders = others().filter(|node| self.traces[*node].addresses.contains(&wire.dst));
        if let Some(holder) = holders.next() {
            return holders.next().is_none().then_some(holder);
        }
        let home = last.dst_pod.as_ref().and_then(|pod| pod.node.as_ref())?;
        others().find(|node| self.traces[*node].node == *home)
    }

    /// The last node that saw the SYN as an attempt.
    fn farthest(&self) -> Option<(usize, &AttemptReport)> {
        let sights = self.sights.iter().enumerate().rev();
        sights
            .filter_map(|(place, sight)| Some((place, sight.attempt?)))
            .find(|(_, attempt)| !attempt.hops.is_empty())
    }

    /// A verdict of the last node's own or of one behind it, which only dropped it.
    fn own_verdict(&self, reached: usize) -> Option<Verdict> {
        let at_end = self.sights[reached..].iter().rev();
        let mut verdicts = at_end.filter_map(|sight| self.verdict_of(sight));
        verdicts.find(blames_a_node)
    }

    /// The verdict that says most: that of a node which knows what it did, the surest, the one
    /// nearest to the server.
    fn best(&self) -> Option<Verdict> {
        let verdicts = self
            .sights
            .iter()
            .filter_map(|sight| self.verdict_of(sight));
        verdicts.max_by_key(|verdict| (blames_a_node(verdict), verdict.confidence))
    }

    /// A node's own verdict, with the node's name in its evidence.
    fn verdict_of(&self, sight: &Sight<'_>) -> Option<Verdict> {
        let dropped = sight.dropped.map(|drop| &drop.verdict);
        let attempted = sight.attempt.and_then(|attempt| attempt.verdict.as_ref());
        let mut verdict = dropped.or(attempted)?.clone();
        if self.traces.len() > 1 {
            let name = &self.traces[sight.node].node;
            verdict.evidence.insert(0, format!("{name} says so"));
        }
        Some(verdict)
    }

    fn clocks_in_words(&self, from: usize, to: usize) -> String {
        let (sender, receiver) = (&self.traces[from].node, &self.traces[to].node);
        match self.clocks.offset(from, to) {
            None => format!(
                "the clocks of {sender} and {receiver} were taken as they are: no packet was seen \
                 at both"
            ),
            Some(estimate) => {
                let ahead = estimate.offset as f64 / 1000.0;
                match estimate.uncertainty {
                    Some(micros) => format!(
                        "the clock of {receiver} is {ahead:+.3} ms from that of {sender}, give or \
                         take {:.3} ms",
                        micros as f64 / 1000.0
                    ),
                    None => format!(
                        "the clock of {receiver} is some {ahead:+.3} ms from that of {sender}"
                    ),
                }
            }
        }
    }
}

/// Whether it says what a node did with the packet, instead of that it left.
fn blames_a_node(verdict: &Verdict) -> bool {
    let is_seen = verdict.confidence == Confidence::Confirmed
        || !matches!(verdict.point, Point::Policy | Point::Overlay);
    is_seen && !matches!(verdict.point, Point::OffNode | Point::Unknown)
}

fn in_words(flow: &Flow) -> String {
    let end = |ip: std::net::IpAddr, port: Option<u16>| match port {
        Some(port) => std::net::SocketAddr::new(ip, port).to_string(),
        None => ip.to_string(),
    };
    format!(
        "{} {} → {}",
        flow.proto,
        end(flow.src, flow.sport),
        end(flow.dst, flow.dport)
    )
}
