//! One connection attempt: everything that was seen of it.
//!
//! - [`Attempt`]: takes what is seen of its packets
//! - `ladder`: where they were seen; `resent`: segments that are sent again and again; `sent`: the
//!   numbers that its segments can have; `translation`: what NAT made of it
//! - `decision`: what it comes to
//!
//! Plain data, for the engine that fills it and for the rules that judge it.

mod decision;
mod ladder;
mod resent;
mod sent;
mod translation;

use std::{net::IpAddr, sync::Arc};

use tracer_common::{event::RetransmitEvent, packet::protocol, share::Share, tuple::Tuple};

use self::ladder::add;
pub(crate) use self::{
    ladder::Step,
    resent::{Redrops, Retransmissions},
    sent::Sent,
};
use crate::{
    decode::{
        drop::{DropFacts, original_destination},
        sighting::{Part, Rejection, Segment, Sighting},
        tls::Tls,
    },
    model::{Direction, Outcome, SocketAddress, Verdict},
};

/// Drops that are kept. Retransmissions are dropped like their first.
const MAX_DROPS: usize = 8;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A SYN-ACK, or a DNS answer with its code.
    Answer(Option<String>),
    /// A RST.
    Reset,
    /// An ICMP error.
    Rejection(Rejection),
}

impl Reply {
    /// Whether the other is the same packet at another hop.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Rejection(one), Self::Rejection(other)) => {
                (one.v6, one.icmp) == (other.v6, other.icmp)
            }
            _ => self == other,
        }
    }
}

/// Which packet of the attempt a drop took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The SYN or the query.
    Opening,
    /// The SYN-ACK, the RST, the ICMP error or the DNS answer.
    Reply,
    /// The last ACK, or data.
    Later,
}

/// A drop of one of the attempt's own packets.
#[derive(Debug, Clone)]
pub(crate) struct OwnDrop {
    /// Which packet it took.
    pub(crate) lost: Lost,
    /// What was seen of it.
    pub(crate) facts: Arc<DropFacts>,
    /// The verdict on it.
    pub(crate) verdict: Verdict,
}

/// What was reported of an attempt.
#[derive(Debug, Clone)]
pub(crate) struct Reported {
    /// What it came to.
    pub(crate) outcome: Outcome,
    /// Who lost it.
    pub(crate) verdict: Option<Verdict>,
    /// Whether the verdict is that of a drop, which was reported itself.
    pub(crate) is_of_drop: bool,
}

/// Everything that was seen of one attempt.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    /// When its first packet was seen.
    pub(crate) first_at: u64,
    /// The flow as the first hop saw it.
    pub(crate) flow: Tuple,
    /// Conntrack's original tuple, from the first hop that had one.
    pub(crate) original: Option<Tuple>,
    /// The DNS question and its type.
    pub(crate) dns: Option<(String, String)>,
    /// The hops of the SYN or query, oldest first.
    pub(crate) hops: Vec<Step>,
    /// The hops of what came back, oldest first.
    pub(crate) reply_hops: Vec<Step>,
    /// What came back.
    pub(crate) reply: Option<Reply>,
    /// Whether the client went on behind the SYN-ACK: then it did arrive.
    pub(crate) settled: bool,
    /// Drops of its packets.
    pub(crate) drops: Vec<OwnDrop>,
    /// What its sockets send again.
    pub(crate) retransmissions: Retransmissions,
    /// What was sent again, and dropped again.
    pub(crate) redrops: Redrops,
    /// The numbers that the client was seen to send.
    pub(crate) client_sent: Sent,
    /// The numbers that the server was seen to send.
    pub(crate) server_sent: Sent,
    /// How far TLS got, where the client has begun it.
    pub(crate) tls: Option<Tls>,
    /// An ICMP error about a tunnel's packet that carried it, if one was seen.
    pub(crate) tunnel_error: Option<Rejection>,
    /// An ICMP "too big" about its packets, if one was seen.
    pub(crate) too_big: Option<Rejection>,
    /// What was last reported, if anything was.
    pub(crate) reported: Option<Reported>,
    /// Events that were lost, here or in the kernel, before its first packet.
    pub(crate) lost_before: u64,
    /// Whose part of what is scarce it takes, by its first flow.
    pub(crate) share: u32,
}

impl Attempt {
    /// An attempt that begins with this sighting.
    pub(crate) fn new(first: &Sighting, lost_before: u64) -> Self {
        let dns = match &first.part {
            Part::Opens(_, dns) => dns.clone(),
            _ => None,
        };
        let mut attempt = Self {
            dns,
            ..Self::unseen(first.flow, first.at, lost_before)
        };
        attempt.opened(first);
        attempt
    }

    /// An attempt whose first packet was seen at no interface.
    pub(crate) fn unseen(flow: Tuple, first_at: u64, lost_before: u64) -> Self {
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
            client_sent: Sent::default(),
            server_sent: Sent::default(),
            tls: None,
            tunnel_error: None,
            too_big: None,
            reported: None,
            lost_before,
            share: Share::of(&flow),
        }
    }

    /// Whether an opening packet with this attempt's number is its own. By chance or on purpose, another
    /// attempt may have that number.
    pub(crate) fn is_opened_by(&self, sighting: &Sighting) -> bool {
        if self.dns.is_none() {
            return self.may_be(&sighting.flow);
        }
        self.is_from_any([Some(sighting.flow), sighting.original])
    }

    /// Takes a sighting of the opening packet.
    pub(crate) fn opened(&mut self, sighting: &Sighting) {
        self.original = self.original.or(sighting.original);
        if let Some(seq) = sighting.seq {
            self.client_sent.reached(seq);
        }
        add(&mut self.hops, Step::of(sighting));
    }

    /// Takes sightings of the opening packet from before it matched the filter, if they can be its.
    /// Returns whether they are.
    pub(crate) fn preceded(&mut self, mut early: Vec<Step>) -> bool {
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
    pub(crate) fn replied(&mut self, sighting: &Sighting, reply: Reply) {
        if let (Reply::Answer(_), Some(seq)) = (&reply, sighting.seq) {
            self.server_sent.reached(seq);
        }
        // An answer outweighs a RST that follows it, and an error that crosses it.
        if !matches!(self.reply, Some(Reply::Answer(_))) {
            match &self.reply {
                // NAT translates the sender of an error on its way: the first one has sent it.
                Some(known) if known.is_same(&reply) => {}
                known => {
                    if known.is_some() {
                        self.reply_hops.clear();
                    }
                    self.reply = Some(reply);
                }
            }
        } else if !matches!(reply, Reply::Answer(_)) {
            return;
        }
        add(&mut self.reply_hops, Step::of(sighting));
    }

    /// Takes a drop of one of its packets.
    pub(crate) fn dropped(&mut self, drop: OwnDrop) {
        if let Some(tcp) = drop.facts.tcp
            && drop.lost == Lost::Later
            && tcp.payload > 0
        {
            self.redrops.count(tcp.seq, drop.facts.at);
        }
        if self.drops.len() < MAX_DROPS {
            self.drops.push(drop);
        }
    }

    /// Takes another verdict on a drop. Returns whether it has that drop.
    pub(crate) fn judged_anew(&mut self, facts: &Arc<DropFacts>, verdict: Verdict) -> bool {
        let mut drops = self.drops.iter_mut();
        let known = drops.find(|drop| Arc::ptr_eq(&drop.facts, facts));
        known.map(|drop| drop.verdict = verdict).is_some()
    }

    /// Takes a retransmission of data.
    pub(crate) fn retransmitted(&mut self, event: &RetransmitEvent, by_client: bool) {
        self.sent(by_client)
            .reached(event.seq.wrapping_add(event.len));
        self.retransmissions.count(event, by_client);
    }

    /// Takes a segment behind the handshake: what the one end has sent, and what it acknowledges of
    /// the other's.
    pub(crate) fn went_on(&mut self, segment: &Segment, by_client: bool) {
        self.sent(by_client)
            .reached(segment.seq.wrapping_add(segment.payload));
        self.sent(!by_client).reached(segment.ack);
    }

    /// Whether a segment can be one of either end's: by its number, or, where that has moved on too
    /// far, by what it acknowledges.
    pub(crate) fn can_have_sent(&self, seq: u32, ack: Option<u32>, by_client: bool) -> bool {
        let (own, other) = match by_client {
            true => (&self.client_sent, &self.server_sent),
            false => (&self.server_sent, &self.client_sent),
        };
        own.can_have_sent(seq) || ack.is_some_and(|ack| other.can_be_acknowledged(ack))
    }

    fn sent(&mut self, by_client: bool) -> &mut Sent {
        match by_client {
            true => &mut self.client_sent,
            false => &mut self.server_sent,
        }
    }

    /// Whether a flow may be this attempt's, at some hop: NAT changes addresses and ports, but
    /// hardly all of them at once.
    pub(crate) fn may_be(&self, flow: &Tuple) -> bool {
        let seen = self.hops.iter().map(|hop| &hop.flow);
        seen.chain([&self.flow]).any(|known| {
            known.proto == flow.proto
                && (known.src == flow.src
                    || known.dst == flow.dst
                    || known.sport == flow.sport
                    || known.dport == flow.dport)
        })
    }

    /// Whether one of these flows comes from this attempt's client.
    pub(crate) fn is_from_any(&self, flows: [Option<Tuple>; 2]) -> bool {
        let mut flows = flows.iter().flatten();
        flows.any(|flow| self.is_from_client(flow))
    }

    /// Whether a flow comes from this attempt's client, by address and port at any hop.
    fn is_from_client(&self, flow: &Tuple) -> bool {
        let seen = self.hops.iter().map(|hop| &hop.flow);
        let mut seen = seen.chain([&self.flow]).chain(&self.original);
        seen.any(|known| {
            (known.proto, known.src, known.sport) == (flow.proto, flow.src, flow.sport)
        })
    }

    /// The outcome that was last reported, if any was.
    pub(crate) fn reported_outcome(&self) -> Option<Outcome> {
        self.reported.as_ref().map(|reported| reported.outcome)
    }

    /// How many SYNs or queries were seen: as often as at the place that saw the most. One that loops
    /// leaves through an interface, and comes back in through it again and again: then the first place counts.
    pub(crate) fn openings(&self) -> u64 {
        let comes_back = |hop: &Step| {
            let mut others = self.hops.iter();
            hop.times > 1 && others.any(|other| other.place.is_reverse_of(&hop.place))
        };
        if self.hops.iter().any(comes_back) {
            return self.hops.first().map_or(0, |hop| hop.times);
        }
        self.hops.iter().map(|hop| hop.times).max().unwrap_or(0)
    }

    /// A place that one SYN passed again and again: more often than it was sent and a switch doubles it.
    pub(crate) fn circled(&self) -> Option<&Step> {
        let most = 2 * self.openings();
        self.hops.iter().find(|hop| hop.times > most)
    }

    /// The destination that the client asked for, where DNAT changed it on the way or before the
    /// first hop.
    pub(crate) fn original_dst(&self) -> Option<SocketAddress> {
        let requested = &self.flow;
        let last = self.hops.last().map_or(requested, |hop| &hop.flow);
        if (last.dst, last.dport) != (requested.dst, requested.dport) {
            let port = requested.has_ports().then_some(requested.dport);
            return Some((requested.dst.into(), port));
        }
        original_destination(requested, self.original.as_ref()?)
    }

    /// The last place where the opening packet was seen.
    pub(crate) fn last_hop(&self) -> Option<&Step> {
        self.hops.last()
    }

    /// The last place where the reply was seen.
    pub(crate) fn last_reply_hop(&self) -> Option<&Step> {
        self.reply_hops.last()
    }

    /// Whether an ICMP error about a datagram comes from where the datagram went, at any hop: then
    /// the host itself has sent it. For a SYN, a host sends a RST, and an ICMP error is a rule's.
    pub(crate) fn is_rejected_by_destination(&self, rejection: &Rejection) -> bool {
        self.flow.proto == protocol::UDP
            && self
                .hops
                .iter()
                .any(|hop| IpAddr::from(hop.flow.dst) == rejection.from)
    }

    /// Whether the first sign of the reply was that it left a namespace: then it was made there.
    pub(crate) fn reply_is_local(&self) -> bool {
        self.reply_hops
            .first()
            .is_some_and(|hop| hop.place.dir == Direction::Out)
    }
}
