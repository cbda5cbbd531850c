//! Who lost it, with what both ends know.
//!
//! A node's own evidence beats another node's silence: what a node dropped, it has seen. Lost
//! *between* two nodes is said only if the next node watched all of its interfaces for that whole
//! time, lost no event, dropped no packet of the flow, and has a filter that matches the packet there.
//! Otherwise the verdict is what one side can say, and the evidence says why it is not more.

use std::time::{Duration, SystemTime};

use super::{Leg, clock::Clocks, matching::Sight, scope, trace::Trace};
use crate::model::{
    AttemptReport, Between, Confidence, Direction, DropReport, Fix, Flow, Hop, Outcome, Pod, Point,
    Site, Span, Verdict,
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

/// A packet that left a node.
#[derive(Debug, Clone, Copy)]
struct Packet {
    /// Inside of any tunnel.
    flow: Flow,
    /// As the wire has it.
    wire: Flow,
    /// The encapsulating flow.
    outer: Option<Flow>,
}

impl Packet {
    fn at(leg: Leg, attempt: &AttemptReport, hop: &Hop) -> Self {
        Self {
            flow: leg.flow(attempt, hop),
            wire: leg.on_the_wire(attempt, hop),
            outer: hop.outer.map(|outer| outer.flow),
        }
    }
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
        Outcome::Refused | Outcome::Rejected | Outcome::Stalled | Outcome::Unsent => {
            Judged::of(case.best())
        }
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
        let from = self.sights[reached].node;
        let packet = Packet::at(Leg::There, last, hop);
        let home = last.dst_pod.as_ref();
        let Some(to) = self.next_node(from, &packet, home) else {
            return one_sided();
        };
        let (sender, receiver) = (&self.traces[from].node, &self.traces[to].node);
        let why = format!("it left {sender} and never came to {receiver}");
        self.between((from, to), &packet, LOST_BETWEEN, &why)
    }

    /// The answer left a node, and did not come to the one that it is for.
    fn lost_back(&self) -> Judged {
        let one_sided = || Judged::of(self.best());
        let nearest = self.sights.iter().enumerate().find_map(|(place, sight)| {
            let attempt = sight.attempt?;
            Some((place, attempt, attempt.reply_hops.last()?))
        });
        let Some((nearest, attempt, hop)) = nearest else {
            return one_sided();
        };
        // Where it came to the client's node, it was lost there.
        if nearest == 0 || hop.dir != Direction::Out {
            return one_sided();
        }
        let from = self.sights[nearest].node;
        let packet = Packet::at(Leg::Back, attempt, hop);
        let home = attempt.src_pod.as_ref();
        let to = self.next_node(from, &packet, home);
        let Some(to) = to.or_else(|| self.sender(nearest, &packet)) else {
            return one_sided();
        };
        let (sender, receiver) = (&self.traces[from].node, &self.traces[to].node);
        let why = format!("the answer left {sender} and never came to {receiver}");
        self.between((from, to), &packet, ANSWER_LOST_BETWEEN, &why)
    }

    /// The node that has sent the SYN by the address which the answer is for, if only one has: behind
    /// a router or a load balancer that keeps the client's address, the answer need not come that way.
    fn sender(&self, nearest: usize, answer: &Packet) -> Option<usize> {
        let mut senders = self.sights[..nearest].iter().filter(|sight| {
            sight.attempt.is_some_and(|attempt| {
                let left = attempt.hops.last();
                let left = left.filter(|hop| hop.dir == Direction::Out);
                left.is_some_and(|hop| Leg::There.on_the_wire(attempt, hop).src == answer.wire.dst)
            })
        });
        let sender = senders.next()?;
        senders.next().is_none().then_some(sender.node)
    }

    /// Lost between two nodes, if the second one can say that nothing came.
    fn between(
        &self,
        (from, to): (usize, usize),
        packet: &Packet,
        rule: &'static str,
        what: &str,
    ) -> Judged {
        let (sender, receiver) = (&self.traces[from], &self.traces[to]);
        if let Some(drop) = self.similar_drop(to, packet) {
            let mut verdict = drop.verdict.clone();
            verdict.confidence = verdict.confidence.min(Confidence::Likely);
            verdict.evidence.push(format!(
                "seen at {}, which dropped packets of this flow; whether this one is among them was \
                 not seen",
                receiver.node
            ));
            return Judged::of(Some(verdict));
        }
        let doubts = self.doubts(to, packet);
        if !doubts.is_empty() {
            let mut verdict = self.best();
            if let Some(verdict) = &mut verdict {
                verdict.confidence = verdict.confidence.min(Confidence::Likely);
                verdict.evidence.extend(doubts);
            }
            return Judged::of(verdict);
        }
        let Packet { wire, outer, .. } = *packet;
        let point = match outer {
            Some(_) => Point::Overlay,
            None => Point::OffNode,
        };
        let why = format!("lost between {} and {}: {what}", sender.node, receiver.node);
        let evidence = vec![
            format!("the packet on the wire: {wire}"),
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

    /// A drop of the node that could be this packet's: of the same flow, at that time.
    fn similar_drop(&self, node: usize, packet: &Packet) -> Option<&DropReport> {
        let time = self.time_at(node);
        // A record's time is that of the first of its packets, and a drop follows the sighting.
        let is_then = |drop: &&DropReport| drop.ts <= time.to;
        let is_of_it = |drop: &&DropReport| drop.flow == packet.flow || drop.flow == packet.wire;
        let mut drops = self.traces[node].drops.iter();
        drops.rfind(|drop| is_of_it(drop) && is_then(drop))
    }

    /// When the attempt was, by the clock of a node.
    fn time_at(&self, node: usize) -> Span {
        let reference = self.sights.first().map_or(node, |sight| sight.node);
        let ahead = self.clocks.offset(reference, node);
        let ahead = ahead.map_or(0, |it| it.offset);
        let shift = Duration::from_micros(ahead.unsigned_abs());
        let at_node = |time: SystemTime| {
            let shifted = if ahead < 0 {
                time.checked_sub(shift)
            } else {
                time.checked_add(shift)
            };
            shifted.unwrap_or(time)
        };
        let waited = Duration::from_millis(self.first.waited_ms);
        Span {
            from: at_node(self.first.ts),
            to: at_node(self.first.ts.checked_add(waited).unwrap_or(self.first.ts)),
        }
    }

    /// Why a node cannot say that a packet did not come to it.
    fn doubts(&self, node: usize, packet: &Packet) -> Vec<String> {
        let trace = &self.traces[node];
        let name = &trace.node;
        let is_elsewhere = trace.filter.as_ref().is_some_and(|it| it.is_of_namespaces)
            && !trace.addresses.contains(&packet.wire.dst);
        let filter = match scope::matches(trace, &packet.flow) {
            Some(true) => None,
            Some(false) => Some("does not match"),
            None => Some("is not known to match"),
        };
        let isn = self.first.isn;
        let is_left_out = isn.is_some_and(|isn| trace.left_out.contains(&isn));
        let doubts = [
            is_left_out.then(|| format!("{name} saw it, and left out its record (--max-rate)")),
            (!trace.complete).then(|| format!("{name} did not watch all of its interfaces")),
            is_elsewhere.then(|| format!("{name} watched some of its network namespaces only")),
            (trace.lost > 0).then(|| format!("{name} lost {} events or records", trace.lost)),
            (!trace.ended).then(|| format!("the trace of {name} breaks off without a summary")),
            (!trace.covers(self.time_at(node)))
                .then(|| format!("the trace of {name} does not cover that time, by its clock")),
            filter.map(|what| format!("the filter of {name} {what} {}", packet.flow)),
        ];
        doubts.into_iter().flatten().collect()
    }

    /// The node that a packet on the wire is for: it has the address, or is home to the pod. `None` if
    /// no trace is of it, or several could be.
    fn next_node(&self, from: usize, packet: &Packet, pod: Option<&Pod>) -> Option<usize> {
        let others = || (0..self.traces.len()).filter(|node| *node != from);
        let destination = &packet.wire.dst;
        // Many addresses are the same on every node: docker0's, or that of a machine behind NAT.
        if self.traces[from].addresses.contains(destination) {
            return None;
        }
        let mut holders =
            others().filter(|node| self.traces[*node].addresses.contains(destination));
        if let Some(holder) = holders.next() {
            return holders.next().is_none().then_some(holder);
        }
        let home = pod?.node.as_ref()?;
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
            verdict.evidence.insert(0, format!("seen at {name}"));
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
