//! What an attempt comes to, by what was seen of it.

use tracer_common::tuple::Tuple;

use super::{Attempt, Lost, OwnDrop, Reply, Step, resent::is_stalled_hello};
use crate::{
    decode::tls::Tls,
    model::{Confidence, Direction, Outcome, Point, TlsStage},
};

impl Attempt {
    /// Whether what came back has come back all the way: to where the first packet was first seen.
    pub(crate) fn reply_arrived(&self) -> bool {
        let Some(first) = self.hops.first() else {
            return false;
        };
        let mut there = self.reply_hops.iter();
        there.any(|hop| hop.place.is_reverse_of(&first.place) && self.is_from_requested(hop))
    }

    /// Whether a reply that came back to the client's side comes from the address and port that the
    /// client asked: another one is no answer to it. An ICMP error may come from anyone.
    ///
    /// A redirect to a port of the namespace itself is in force before the first interface, `lo`, where
    /// the answer is already translated back: it comes from what the client asked for.
    ///
    /// What the namespace itself sends has its translated source before the first interface. A bridge may
    /// translate an answer's destination back in front of its own device (br_netfilter), and its source
    /// only behind that.
    fn is_from_requested(&self, hop: &Step) -> bool {
        let is_error = matches!(self.reply, Some(Reply::Rejection(_)));
        let is_sent_here =
            (self.hops.first()).is_some_and(|first| first.place.dir == Direction::Out);
        let requested = [Some(self.flow), self.original].into_iter().flatten();
        let mut answers = requested.map(Tuple::reversed);
        is_error
            || answers.any(|flow| {
                let source = |flow: Tuple| (flow.proto, flow.src, flow.sport);
                flow == hop.flow || (is_sent_here && source(flow) == source(hop.flow))
            })
    }

    /// The reply that came back to the client's side from another address or port than was asked.
    pub(crate) fn misaddressed_reply(&self) -> Option<&Step> {
        let first = self.hops.first()?;
        let mut there = self.reply_hops.iter();
        there.find(|hop| hop.place.is_reverse_of(&first.place) && !self.is_from_requested(hop))
    }

    /// What the attempt has come to so far; `None` while that is open.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        if self.is_reset_in_tls() {
            return Some(Outcome::Refused);
        }
        if self.is_stalled() {
            return Some(Outcome::Stalled);
        }
        let arrived = self.reply_arrived();
        match &self.reply {
            Some(Reply::Answer(_)) if self.is_kept_from_client() => Some(Outcome::Unanswered),
            Some(Reply::Answer(_)) if arrived || self.settled => Some(Outcome::Answered),
            Some(Reply::Reset) if arrived => Some(Outcome::Refused),
            Some(Reply::Rejection(_)) if arrived => Some(Outcome::Rejected),
            _ => None,
        }
    }

    /// Whether the answer came back to the client's interface again and again, and was dropped behind it:
    /// the client has acknowledged none.
    fn is_kept_from_client(&self) -> bool {
        let sender = self.hops.first().map(|hop| &hop.place);
        let Some(sender) = sender.filter(|place| place.dir == Direction::Out) else {
            return false;
        };
        let mut back = self.reply_hops.iter();
        let is_sent_again =
            back.any(|hop| hop.place.is_reverse_of(sender) && hop.times > 1) && !self.settled;
        let is_dropped_there = |drop: &OwnDrop| {
            let facts = &drop.facts;
            drop.lost == Lost::Reply
                && (facts.netns, facts.iif) == (Some(sender.netns), sender.ifindex)
                && !matches!(drop.verdict.point, Point::Socket | Point::Unknown)
        };
        is_sent_again && self.drops.iter().any(is_dropped_there)
    }

    /// Whether the handshake was done, and the ClientHello answered with a RST.
    pub(crate) fn is_reset_in_tls(&self) -> bool {
        let tls = self.tls.as_ref();
        tls.is_some_and(|tls| tls.stage == TlsStage::Reset)
    }

    /// The ClientHello that was sent, and never acknowledged.
    pub(crate) fn unanswered_hello(&self) -> Option<&Tls> {
        self.tls.as_ref().filter(|tls| tls.stage == TlsStage::Sent)
    }

    /// Whether the handshake is done, and what follows it does not get through.
    fn is_stalled(&self) -> bool {
        let answered = matches!(self.reply, Some(Reply::Answer(None)))
            && (self.reply_arrived() || self.settled);
        let answered_again = self.reply_hops.iter().any(|hop| hop.times > 2);
        let last_ack_lost = self.drops.iter().any(|drop| drop.lost == Lost::Later);
        answered
            && (self.has_lost_translation()
                || self.retransmissions.is_stall()
                || self.redrops.is_stall()
                || self.unanswered_hello().is_some_and(is_stalled_hello)
                || (answered_again && last_ack_lost))
    }

    /// Whether data of it was dropped for want of the translation that the connection began with.
    pub(super) fn has_lost_translation(&self) -> bool {
        self.drops.iter().any(|drop| {
            let has_data = drop.facts.tcp.is_some_and(|tcp| tcp.payload > 0);
            let lacks_one = has_data && drop.facts.untranslated.is_some();
            drop.lost == Lost::Later && lacks_one && drop.verdict.point == Point::Conntrack
        })
    }

    /// The drop that explains why nothing arrived: of the opening packet, or else of the reply, or
    /// of what followed it.
    pub(crate) fn deciding_drop(&self, outcome: Outcome) -> Option<&OwnDrop> {
        let of = |lost| self.drop_of(lost);
        match (outcome, &self.reply) {
            // What was lost before, was sent again and did arrive.
            (Outcome::Refused, _) if self.is_reset_in_tls() => None,
            (Outcome::Stalled, _) => of(Lost::Later),
            (Outcome::Refused | Outcome::Rejected, _) => of(Lost::Opening),
            // An opening packet that was answered has arrived: the loss of a copy decides nothing.
            (_, Some(Reply::Answer(_))) => of(Lost::Reply).or_else(|| of(Lost::Later)),
            (_, Some(_)) => of(Lost::Reply).or_else(|| of(Lost::Opening)),
            // The answer may have taken another way than by this node: then the client goes on.
            (_, None) => of(Lost::Opening)
                .or_else(|| of(Lost::Reply))
                .or_else(|| of(Lost::Later)),
        }
    }

    /// The first drop of such a packet whose cause is known, or else the first. A later one by the
    /// same rule may be known for more certain.
    fn drop_of(&self, lost: Lost) -> Option<&OwnDrop> {
        let all = || self.drops.iter().filter(move |drop| drop.lost == lost);
        let mut explained = all().filter(|drop| drop.verdict.point != Point::Unknown);
        let Some(first) = explained.next() else {
            return all().next();
        };
        let is_alike = |drop: &&OwnDrop| {
            drop.verdict.rule == first.verdict.rule
                && (drop.facts.netns, drop.facts.hook) == (first.facts.netns, first.facts.hook)
        };
        let alike = std::iter::once(first).chain(explained.filter(is_alike));
        let sharper = |best: &'_ OwnDrop, drop: &'_ OwnDrop| {
            drop.verdict.confidence > best.verdict.confidence
        };
        alike.reduce(|best, drop| if sharper(best, drop) { drop } else { best })
    }

    /// Whether a drop was seen that explains an outcome better than its last report did.
    pub(crate) fn is_better_explained(&self, outcome: Outcome) -> bool {
        let Some(reported) = self.reported.as_ref() else {
            return false;
        };
        let Some(verdict) = &reported.verdict else {
            return false;
        };
        let is_weak = reported.outcome == outcome && verdict.confidence < Confidence::Confirmed;
        let least = match reported.is_of_drop {
            true => verdict.confidence,
            false => Confidence::Possible,
        };
        let drop = self.deciding_drop(outcome).filter(|_| is_weak);
        drop.is_some_and(|drop| {
            drop.verdict.point != Point::Unknown && drop.verdict.confidence > least
        })
    }

    /// Whether the refusal comes from this node, and a drop that explains it may still follow: a rule
    /// that rejects sends its answer first and frees the packet then. `is_near`: the answer came in from
    /// another namespace of this node.
    pub(crate) fn awaits_drop(&self, outcome: Outcome, is_near: bool) -> bool {
        matches!(outcome, Outcome::Refused | Outcome::Rejected)
            && (self.reply_is_local() || is_near)
            && self.reported_outcome() != Some(outcome)
            && self.deciding_drop(outcome).is_none()
    }
}
