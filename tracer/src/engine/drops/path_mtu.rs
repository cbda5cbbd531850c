//! Path MTU discovery: a segment that is too large is dropped, its sender gets an ICMP message, and
//! sends smaller ones. Where that works, the drop is no failure.
//!
//! So the drop of a segment for its size waits for what follows. The same segment dropped again shows
//! that its sender has not learned: then both are reported. If that does not come within a second,
//! and the ICMP message was seen on its way, or the sender was seen to send smaller segments, the drop
//! is noise. The message may pass no interface that is watched. If neither was seen, the drop is
//! reported, but it alone does not show a failure.

use std::collections::VecDeque;

use tracer_common::{event::RetransmitEvent, tuple::Tuple};

use super::PendingDrop;
use crate::{
    decode::drop::DropFacts,
    engine::{Nanos, SECOND},
    verdict,
};

/// How long a drop waits. A segment is sent again after 200 ms or so.
const WAITS: Nanos = SECOND;
/// How long what was seen of a flow is remembered.
const REMEMBERED: Nanos = 60 * SECOND;
/// Drops that wait, and flows that are remembered.
const CAPACITY: usize = 256;

/// What is known of segments that were too large.
#[derive(Debug, Default)]
pub(crate) struct PathMtu {
    /// Oldest first.
    held: Vec<Held>,
    /// Flows whose senders were sent an ICMP message, by the packet that it quotes; oldest first.
    notified: VecDeque<(Nanos, Tuple)>,
    /// Segments that were dropped for their size, oldest first.
    dropped: VecDeque<(Nanos, Segment)>,
    /// Flows of which packets were dropped for their size, of any protocol, oldest first.
    too_large: VecDeque<(Nanos, Tuple)>,
    /// Flows whose senders have learned, oldest first.
    learned: VecDeque<(Nanos, Tuple)>,
}

#[derive(Debug)]
struct Held {
    until: Nanos,
    segment: Segment,
    /// Its bytes of payload, in one packet.
    payload: u32,
    drop: PendingDrop,
}

/// What a segment is known by when it is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    flow: Tuple,
    seq: u32,
    netns: u32,
}

impl Segment {
    /// The segment of a drop that path MTU discovery can be behind.
    fn of(facts: &DropFacts) -> Option<Self> {
        let tcp = facts.tcp.filter(|tcp| tcp.payload > 0)?;
        verdict::drop::is_too_large(facts).then_some(Self {
            flow: facts.key.flow,
            seq: tcp.seq,
            netns: facts.key.netns,
        })
    }
}

impl PathMtu {
    /// Takes an ICMP message that asks the sender of this packet for smaller ones.
    pub(crate) fn notified(&mut self, quoted: Tuple, now: Nanos) {
        forget(&mut self.notified, now);
        self.notified.push_back((now, quoted));
    }

    /// Takes a retransmission. Segments that are smaller than those dropped show that the sender has
    /// learned.
    pub(crate) fn resent(&mut self, event: &RetransmitEvent, now: Nanos) {
        let is_smaller =
            |held: &Held| is_about(&event.flow, &held.segment.flow) && event.mss < held.payload;
        if self.held.iter().any(is_smaller) {
            self.notified(event.flow, now);
        }
    }

    /// Takes the drop of such a message: it did not reach the sender.
    pub(crate) fn not_notified(&mut self, quoted: &Tuple) {
        self.notified.retain(|(_, flow)| !is_about(flow, quoted));
    }

    /// Takes a packet that was dropped for its size.
    pub(crate) fn was_too_large(&mut self, flow: Tuple, now: Nanos) {
        if !self.too_large.iter().any(|(_, known)| *known == flow) {
            forget(&mut self.too_large, now);
            self.too_large.push_back((now, flow));
        }
    }

    /// Whether packets of the flow that a message quotes were seen to be too large.
    pub(crate) fn has_seen(&self, quoted: &Tuple) -> bool {
        let mut seen = self.too_large.iter();
        seen.any(|(_, flow)| is_about(quoted, flow))
    }

    /// Takes a drop. Returns those that need not wait.
    pub(crate) fn hold(&mut self, drop: PendingDrop, now: Nanos) -> Vec<PendingDrop> {
        let Some(segment) = Segment::of(&drop.drop.facts) else {
            return vec![drop];
        };
        let is_repeated = self.dropped.iter().any(|(_, known)| *known == segment);
        forget(&mut self.dropped, now);
        self.dropped.push_back((now, segment));
        if is_repeated {
            self.learned.retain(|(_, flow)| *flow != segment.flow);
            return self.release(segment.flow, drop);
        }
        if self.held.len() >= CAPACITY {
            return vec![drop];
        }
        self.held.push(Held {
            until: now.saturating_add(WAITS),
            segment,
            payload: payload(&drop.drop.facts),
            drop,
        });
        Vec::new()
    }

    /// Those of a flow that wait, and one more.
    fn release(&mut self, flow: Tuple, last: PendingDrop) -> Vec<PendingDrop> {
        let is_of_flow = |held: &mut Held| held.segment.flow == flow;
        let released = self.held.extract_if(.., is_of_flow).map(|held| held.drop);
        released.chain([last]).collect()
    }

    /// Takes a report that gathers drops which came one by one before. Returns it if it need not
    /// wait for what becomes of them; it may be noise by then.
    pub(crate) fn gathered(&mut self, drop: PendingDrop, now: Nanos) -> Option<PendingDrop> {
        let Some(segment) = Segment::of(&drop.drop.facts) else {
            return Some(drop);
        };
        let flow = segment.flow;
        if let Some(until) = self.until(&flow) {
            self.held.push(Held {
                until,
                segment,
                payload: payload(&drop.drop.facts),
                drop,
            });
            return None;
        }
        forget(&mut self.learned, now);
        if self.learned.iter().any(|(_, learned)| *learned == flow) {
            drop.drop.disregard();
        }
        Some(drop)
    }

    /// Until when drops of a flow wait.
    fn until(&self, flow: &Tuple) -> Option<Nanos> {
        let held = self.held.iter().find(|held| held.segment.flow == *flow)?;
        Some(held.until)
    }

    /// Takes out the drops that have waited long enough. Those that path MTU discovery was behind
    /// are noise.
    pub(crate) fn due(&mut self, now: Nanos) -> Vec<PendingDrop> {
        let is_due = |held: &mut Held| held.until <= now;
        let due: Vec<_> = self.held.extract_if(.., is_due).collect();
        let mut released = Vec::new();
        for Held { segment, drop, .. } in due {
            let flow = segment.flow;
            if self.notified.iter().any(|(_, sent)| is_about(sent, &flow)) {
                drop.drop.disregard();
                forget(&mut self.learned, now);
                self.learned.push_back((now, flow));
            } else {
                drop.drop.came_once();
            }
            released.push(drop);
        }
        released
    }
}

/// The bytes of payload that one packet carries of a dropped segment.
fn payload(facts: &DropFacts) -> u32 {
    let all = facts.tcp.map_or(0, |tcp| tcp.payload);
    let of_each = facts.packet.and_then(|packet| packet.gso_size);
    of_each.map_or(all, |each| all.min(each))
}

/// Whether a message that quotes one packet is about the flow of another. NAT may have changed one
/// end of the quoted packet on its way back.
fn is_about(quoted: &Tuple, flow: &Tuple) -> bool {
    quoted.proto == flow.proto
        && ((quoted.src, quoted.sport) == (flow.src, flow.sport)
            || (quoted.dst, quoted.dport) == (flow.dst, flow.dport))
}

/// Makes room for one more.
fn forget<T>(all: &mut VecDeque<(Nanos, T)>, now: Nanos) {
    while all
        .pop_front_if(|(at, _)| now.saturating_sub(*at) >= REMEMBERED)
        .is_some()
    {}
    if all.len() >= CAPACITY {
        all.pop_front();
    }
}
