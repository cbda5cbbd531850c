//! One attempt: its ladder of hops, there and back, and what it comes to.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tracer_common::{
    event::{EarlyHop, RetransmitEvent},
    packet::protocol,
    tuple::Tuple,
};

use crate::decode::{
    sighting::{Rejection, Sighting},
    tls::Tls,
};
use crate::{
    decode::drop::{DropFacts, original_destination},
    model::{Direction, Outcome, Place, SocketAddress, TlsStage, Verdict},
};

/// Hops that are kept, each way. Longer ladders are loops.
const MAX_HOPS: usize = 32;
/// Drops that are kept. Retransmissions are dropped like their first.
const MAX_DROPS: usize = 8;

/// One place where a packet was seen, once or more.
#[derive(Debug, Clone)]
pub struct Step {
    /// The interface and the direction.
    pub place: Place,
    /// When it was first seen here, in nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
    /// How often it was seen here.
    pub times: u64,
    /// The flow as seen here.
    pub flow: Tuple,
    /// The flow of the encapsulating packet.
    pub outer: Option<Tuple>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A SYN-ACK, or a DNS answer with its code.
    Answer(Option<String>),
    /// A RST.
    Reset,
    /// An ICMP error.
    Rejection(Rejection),
}

/// Which packet of the attempt a drop took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The SYN or the query.
    Opening,
    /// The SYN-ACK, the RST, the ICMP error or the DNS answer.
    Reply,
    /// The last ACK, or data.
    Later,
}

/// A drop of one of the attempt's own packets.
#[derive(Debug, Clone)]
pub struct OwnDrop {
    /// Which packet it took.
    pub lost: Lost,
    /// What was seen of it.
    pub facts: Arc<DropFacts>,
    /// The verdict on it.
    pub verdict: Verdict,
}

/// Full-size segments that are sent again and again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retransmissions {
    /// The segment's first sequence number.
    pub seq: u32,
    /// How often it was sent again.
    pub times: u64,
    /// When it was sent again for the first and the last time, in nanoseconds of
    /// `CLOCK_MONOTONIC`.
    pub span: (u64, u64),
    /// Payload bytes of it in one packet.
    pub len: u32,
    /// Payload bytes of a full segment.
    pub mss: u32,
    /// Whether the client is the sender.
    pub by_client: bool,
}

/// A segment of data that was dropped, and dropped again when it was sent again: what can be seen
/// of retransmissions whose socket is in a namespace that is not watched, or on another machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Redrops {
    /// The segment's first sequence number.
    pub seq: u32,
    /// How often it was dropped in succession.
    pub times: u64,
    /// When it was dropped for the first and the last time.
    pub span: Option<(SystemTime, SystemTime)>,
}

/// Everything that was seen of one attempt.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// When its first packet was seen.
    pub first_at: u64,
    /// The flow as the first hop saw it.
    pub flow: Tuple,
    /// Conntrack's original tuple, from the first hop that had one.
    pub original: Option<Tuple>,
    /// The DNS question and its type.
    pub dns: Option<(String, String)>,
    /// The hops of the SYN or query, oldest first.
    pub hops: Vec<Step>,
    /// The hops of what came back, oldest first.
    pub reply_hops: Vec<Step>,
    /// What came back.
    pub reply: Option<Reply>,
    /// Whether the client went on behind the SYN-ACK: then it did arrive.
    pub settled: bool,
    /// Drops of its packets.
    pub drops: Vec<OwnDrop>,
    /// What its sockets send again.
    pub retransmissions: Retransmissions,
    /// What was sent again, and dropped again.
    pub redrops: Redrops,
    /// How far TLS got, where the client has begun it.
    pub tls: Option<Tls>,
    /// An ICMP "too big" about its packets, if one was seen.
    pub too_big: Option<Rejection>,
    /// The outcome that was last reported, if any was.
    pub reported: Option<Outcome>,
    /// Events that were lost, here or in the kernel, before its first packet.
    pub lost_before: u64,
}

impl Attempt {
    /// An attempt that begins with this sighting.
    pub fn new(first: &Sighting, dns: Option<(String, String)>, lost_before: u64) -> Self {
        let mut attempt = Self {
            dns,
            ..Self::unseen(first.flow, first.at, lost_before)
        };
        attempt.opened(first);
        attempt
    }

    /// An attempt whose first packet was seen at no interface.
    pub fn unseen(flow: Tuple, first_at: u64, lost_before: u64) -> Self {
        Self {
            first_at,
            flow,
            original: None,
            dns: None,
            hops: Vec::new(),
            reply_hops: Vec::new(),
            reply: None,
            settled: false,
            drops: Vec::new(),
            retransmissions: Retransmissions::default(),
            redrops: Redrops::default(),
            tls: None,
            too_big: None,
            reported: None,
            lost_before,
        }
    }

    /// Takes a sighting of the opening packet.
    pub fn opened(&mut self, sighting: &Sighting) {
        self.original = self.original.or(sighting.original);
        add(&mut self.hops, Step::of(sighting));
    }

    /// Takes sightings of the opening packet from before it matched the filter, if they can be its.
    /// Returns whether they are.
    pub fn preceded(&mut self, mut early: Vec<Step>) -> bool {
        early.sort_by_key(|hop| hop.at);
        let Some(first) = early.first().filter(|first| self.may_be(&first.flow)) else {
            return false;
        };
        self.first_at = first.at;
        self.flow = first.flow;
        let later = std::mem::take(&mut self.hops);
        for hop in early.into_iter().chain(later) {
            add(&mut self.hops, hop);
        }
        true
    }

    /// Takes a sighting of what came back.
    pub fn replied(&mut self, sighting: &Sighting, reply: Reply) {
        // An answer outweighs a RST that follows it, and an error that crosses it.
        if !matches!(self.reply, Some(Reply::Answer(_))) {
            if self.reply.as_ref().is_some_and(|known| *known != reply) {
                self.reply_hops.clear();
            }
            self.reply = Some(reply);
        } else if !matches!(reply, Reply::Answer(_)) {
            return;
        }
        add(&mut self.reply_hops, Step::of(sighting));
    }

    /// Takes a drop of one of its packets.
    pub fn dropped(&mut self, drop: OwnDrop) {
        if let Some(tcp) = drop.facts.tcp
            && drop.lost == Lost::Later
            && tcp.payload > 0
        {
            let known = &mut self.redrops;
            if known.seq != tcp.seq {
                *known = Redrops {
                    seq: tcp.seq,
                    ..Redrops::default()
                };
            }
            known.times += 1;
            let first = known.span.map_or(drop.facts.at, |(first, _)| first);
            known.span = Some((first, drop.facts.at));
        }
        if self.drops.len() < MAX_DROPS {
            self.drops.push(drop);
        }
    }

    /// Takes a retransmission of data.
    pub fn retransmitted(&mut self, event: &RetransmitEvent, by_client: bool) {
        let known = &mut self.retransmissions;
        let RetransmitEvent {
            at, seq, len, mss, ..
        } = *event;
        if known.seq != seq || known.by_client != by_client {
            *known = Retransmissions {
                seq,
                by_client,
                span: (at, at),
                ..Retransmissions::default()
            };
        }
        known.times += 1;
        known.span.1 = at;
        known.len = len.min(mss);
        known.mss = mss;
    }

    /// Whether a flow may be this attempt's, at some hop: NAT changes addresses and ports, but
    /// hardly all of them at once.
    pub fn may_be(&self, flow: &Tuple) -> bool {
        let seen = self.hops.iter().map(|hop| &hop.flow);
        seen.chain([&self.flow]).any(|known| {
            known.proto == flow.proto
                && (known.src == flow.src
                    || known.dst == flow.dst
                    || known.sport == flow.sport
                    || known.dport == flow.dport)
        })
    }

    /// How many SYNs or queries were seen: as often as at the place that saw the most.
    pub fn openings(&self) -> u64 {
        self.hops.iter().map(|hop| hop.times).max().unwrap_or(0)
    }

    /// Whether what came back has come back all the way: to where the first packet was first seen.
    pub fn reply_arrived(&self) -> bool {
        let Some(first) = self.hops.first() else {
            return false;
        };
        let mut there = self.reply_hops.iter();
        there.any(|hop| hop.place.is_reverse_of(&first.place) && self.is_from_requested(hop))
    }

    /// Whether a reply that came back to the client's side comes from the address and port that the
    /// client asked: another one is no answer to it. An ICMP error may come from anyone.
    fn is_from_requested(&self, hop: &Step) -> bool {
        let is_error = matches!(self.reply, Some(Reply::Rejection(_)));
        is_error || hop.flow == self.flow.reversed()
    }

    /// The reply that came back to the client's side from another address or port than was asked.
    pub fn misaddressed_reply(&self) -> Option<&Step> {
        let first = self.hops.first()?;
        let mut there = self.reply_hops.iter();
        there.find(|hop| hop.place.is_reverse_of(&first.place) && !self.is_from_requested(hop))
    }

    /// What the attempt has come to so far; `None` while that is open.
    pub fn outcome(&self) -> Option<Outcome> {
        if self.is_reset_in_tls() {
            return Some(Outcome::Refused);
        }
        if self.is_stalled() {
            return Some(Outcome::Stalled);
        }
        let arrived = self.reply_arrived();
        match &self.reply {
            Some(Reply::Answer(_)) if arrived || self.settled => Some(Outcome::Answered),
            Some(Reply::Reset) if arrived => Some(Outcome::Refused),
            Some(Reply::Rejection(_)) if arrived => Some(Outcome::Rejected),
            _ => None,
        }
    }

    /// Whether the handshake was done, and the ClientHello answered with a RST.
    pub fn is_reset_in_tls(&self) -> bool {
        let tls = self.tls.as_ref();
        tls.is_some_and(|tls| tls.stage == TlsStage::Reset)
    }

    /// The ClientHello that was sent, and never acknowledged.
    pub fn unanswered_hello(&self) -> Option<&Tls> {
        self.tls.as_ref().filter(|tls| tls.stage == TlsStage::Sent)
    }

    /// Whether the handshake is done, and what follows it does not get through.
    fn is_stalled(&self) -> bool {
        /// How often a segment is sent again until that means something …
        const RESENT: u64 = 3;
        /// … and the least time that this takes where nothing gets through: the first pauses are
        /// 200, 400 and 800 ms. Path MTU discovery sends again as often in a few milliseconds, and
        /// gets through.
        const PAUSES: Duration = Duration::from_millis(500);
        let Retransmissions { times, span, .. } = self.retransmissions;
        let resent = times >= RESENT && Duration::from_nanos(span.1 - span.0) >= PAUSES;
        let redropped = self.redrops.times > RESENT
            && self.redrops.span.is_some_and(|(first, last)| {
                last.duration_since(first).is_ok_and(|span| span >= PAUSES)
            });
        let hello = self.unanswered_hello().is_some_and(|tls| {
            tls.times > RESENT && Duration::from_nanos(tls.span.1 - tls.span.0) >= PAUSES
        });
        let answered = matches!(self.reply, Some(Reply::Answer(None)))
            && (self.reply_arrived() || self.settled);
        let answered_again = self.reply_hops.iter().any(|hop| hop.times > 2);
        let last_ack_lost = self.drops.iter().any(|drop| drop.lost == Lost::Later);
        answered && (resent || redropped || hello || (answered_again && last_ack_lost))
    }

    /// The destination that the client asked for, where DNAT changed it on the way or before the
    /// first hop.
    pub fn original_dst(&self) -> Option<SocketAddress> {
        let requested = &self.flow;
        let last = self.hops.last().map_or(requested, |hop| &hop.flow);
        if (last.dst, last.dport) != (requested.dst, requested.dport) {
            let port = requested.has_ports().then_some(requested.dport);
            return Some((requested.dst.into(), port));
        }
        original_destination(requested, self.original.as_ref()?)
    }

    /// The last place where the opening packet was seen.
    pub fn last_hop(&self) -> Option<&Step> {
        self.hops.last()
    }

    /// The last place where the reply was seen.
    pub fn last_reply_hop(&self) -> Option<&Step> {
        self.reply_hops.last()
    }

    /// The drop that explains why nothing arrived: of the opening packet, or else of the reply.
    pub fn deciding_drop(&self, outcome: Outcome) -> Option<&OwnDrop> {
        let of = |lost| self.drops.iter().find(move |drop| drop.lost == lost);
        match outcome {
            // What was lost before, was sent again and did arrive.
            Outcome::Refused if self.is_reset_in_tls() => None,
            Outcome::Stalled => of(Lost::Later),
            Outcome::Refused | Outcome::Rejected => of(Lost::Opening),
            _ if self.reply.is_some() => of(Lost::Reply).or_else(|| of(Lost::Opening)),
            _ => of(Lost::Opening).or_else(|| of(Lost::Reply)),
        }
    }

    /// Whether an ICMP error about a datagram comes from where the datagram went, at any hop: the
    /// host itself speaks then. About a SYN a host says that with a RST, and what speaks is a rule.
    pub fn is_told_by_destination(&self, rejection: &Rejection) -> bool {
        self.flow.proto == protocol::UDP
            && self
                .hops
                .iter()
                .any(|hop| IpAddr::from(hop.flow.dst) == rejection.from)
    }

    /// Whether the first sign of the reply was that it left a namespace: then it was made there.
    pub fn reply_is_local(&self) -> bool {
        self.reply_hops
            .first()
            .is_some_and(|hop| hop.place.dir == Direction::Out)
    }
}

impl Step {
    fn of(sighting: &Sighting) -> Self {
        Self {
            place: sighting.place.clone(),
            at: sighting.at,
            times: 1,
            flow: sighting.flow,
            outer: sighting.outer,
        }
    }
}

impl From<&EarlyHop> for Step {
    fn from(hop: &EarlyHop) -> Self {
        Self {
            place: Place::from(&hop.place),
            at: hop.at,
            times: 1,
            flow: hop.flow,
            outer: None,
        }
    }
}

/// Adds a step to a ladder, in order of time.
fn add(ladder: &mut Vec<Step>, step: Step) {
    if let Some(known) = ladder.iter_mut().find(|known| known.place == step.place) {
        known.times += step.times;
        return;
    }
    if ladder.len() >= MAX_HOPS {
        return;
    }
    let at = ladder.partition_point(|known| known.at <= step.at);
    ladder.insert(at, step);
}
