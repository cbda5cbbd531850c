//! All attempts, bounded, with their deadlines.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
};

use tracer_common::{
    event::{DropKey, EarlyHop, RetransmitEvent},
    packet::protocol,
    share::Share,
    tuple::Tuple,
};

use super::{
    deadlines::Deadlines,
    join::{Flows, begins},
    shares::Shares,
};
use crate::{
    attempt::{Attempt, Lost, OwnDrop, Reply, Step},
    decode::{
        drop::DropFacts,
        sighting::{AttemptKey, Part, Segment, Sighting},
        tls::{Tls, TlsCounts},
    },
    engine::{Nanos, SECOND, interfaces::Interfaces},
    model::{Outcome, TlsStage},
};

/// How many attempts are followed at once. One takes about two kilobytes.
pub(crate) const CAPACITY: usize = 1 << 14;
/// How long an outcome may still be corrected, as long as Linux retries a SYN by
/// default, and a little more.
const CORRECTABLE: Nanos = 150 * SECOND;
/// How many of the oldest attempts are looked at for one to evict: a flood must not make each SYN search
/// them all.
const OLDEST: usize = 64;
/// SYNs without a place that are remembered, so that each counts once however many hops it has.
const RECENT: usize = 16;
/// States of a socket that may have data to send, of the kernel's UAPI (include/net/tcp_states.h):
/// `TCP_ESTABLISHED`, `TCP_FIN_WAIT1`, `TCP_CLOSE_WAIT`, `TCP_LAST_ACK` and `TCP_CLOSING`.
const SENDING: [u32; 5] = [1, 4, 8, 9, 11];

/// All attempts.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) attempts: HashMap<AttemptKey, Attempt>,
    pub(super) flows: Flows,
    /// In order of creation.
    order: VecDeque<AttemptKey>,
    /// When a quarter of the timeout is over. In order, since the timeout is the same for all.
    early_deadlines: Deadlines,
    /// When the timeout is over.
    deadlines: Deadlines,
    timeout: Nanos,
    /// SYNs that found the table full.
    pub(super) untracked: u64,
    /// Who has taken how much of it.
    shares: Shares,
    /// What was seen of TLS.
    tls: TlsCounts,
    /// The last of them.
    recently_untracked: VecDeque<AttemptKey>,
}

impl Table {
    /// An empty table.
    pub(super) fn new(timeout: Nanos) -> Self {
        Self {
            attempts: HashMap::new(),
            flows: Flows::default(),
            order: VecDeque::new(),
            early_deadlines: Deadlines::default(),
            deadlines: Deadlines::default(),
            timeout,
            untracked: 0,
            shares: Shares::default(),
            tls: TlsCounts::default(),
            recently_untracked: VecDeque::new(),
        }
    }

    /// An attempt by its key.
    pub(super) fn get(&self, key: &AttemptKey) -> Option<&Attempt> {
        self.attempts.get(key)
    }

    /// An attempt by its key.
    pub(super) fn get_mut(&mut self, key: &AttemptKey) -> Option<&mut Attempt> {
        self.attempts.get_mut(key)
    }

    /// Whether a sighting opens an attempt that is not followed yet.
    pub(super) fn is_new(&self, sighting: &Sighting) -> bool {
        if !matches!(sighting.part, Part::Opens(..)) {
            return false;
        }
        let known = self.key_of(sighting).and_then(|key| self.get(&key));
        !known.is_some_and(|known| known.is_opened_by(sighting))
    }

    /// Takes a sighting. `lost` is the number of events lost so far. Returns the attempt that it is
    /// about.
    pub(super) fn sighted(&mut self, sighting: &Sighting, lost: u64) -> Option<AttemptKey> {
        let its = self.key_of(sighting);
        match &sighting.part {
            Part::Opens(..) => self.opened(&its?, sighting, lost),
            Part::Answers(_, rcode) => self.replied(&its?, sighting, Reply::Answer(rcode.clone())),
            Part::Refuses(key, _) if self.attempts.contains_key(key) => {
                self.replied(key, sighting, Reply::Reset)
            }
            Part::Refuses(_, seq) => {
                let key = self.of_server(sighting)?;
                let tls = self.attempts.get_mut(&key)?.tls.as_mut()?;
                tls.reset(&sighting.place, *seq);
                Some(key)
            }
            Part::Rejects(key, rejection) if rejection.is_too_big() => {
                let Some(AttemptKey::Tcp(seq)) = *key else {
                    return None;
                };
                let (key, by_client) = self.flows.find(&rejection.quoted)?;
                let attempt = self.attempts.get_mut(&key)?;
                // It is about a packet that was sent, or made up.
                attempt.can_have_sent(seq, None, by_client).then_some(())?;
                attempt.too_big = Some(rejection.clone());
                Some(key)
            }
            // It is for the tunnel's own end, and does not come back to the client.
            Part::Rejects(_, rejection) if rejection.carrier.is_some() => {
                let attempt = self.attempts.get_mut(its.as_ref()?)?;
                attempt.may_be(&rejection.quoted).then_some(())?;
                attempt
                    .tunnel_error
                    .get_or_insert_with(|| rejection.clone());
                its
            }
            Part::Rejects(_, rejection) => {
                self.replied(&its?, sighting, Reply::Rejection(rejection.clone()))
            }
            Part::Settles(key, segment) => self.settled(key, segment, sighting),
        }
    }

    fn settled(
        &mut self,
        key: &AttemptKey,
        segment: &Segment,
        sighting: &Sighting,
    ) -> Option<AttemptKey> {
        let Sighting {
            place, at, flow, ..
        } = sighting;
        if let Some(attempt) = self.attempts.get_mut(key)
            && attempt.may_be(flow)
        {
            attempt.settled |= attempt.reply.is_some();
            attempt.went_on(segment, true);
            match &mut attempt.tls {
                Some(tls) => tls.seen_again(place, *at, segment),
                None => {
                    attempt.tls = Tls::begin(place, *at, segment);
                    self.tls.hellos += u64::from(attempt.tls.is_some());
                }
            }
            return Some(key.clone());
        }
        let key = self.of_server(sighting)?;
        let attempt = self.attempts.get_mut(&key)?;
        if attempt.can_have_sent(segment.seq, None, false) {
            attempt.went_on(segment, false);
        }
        let tls = attempt.tls.as_mut()?;
        let before = tls.stage;
        tls.server_sent(segment);
        self.tls.answered += u64::from(before != tls.stage && tls.stage == TlsStage::Answered);
        Some(key)
    }

    /// What was seen of TLS until now.
    pub(super) fn tls(&self, now: Nanos) -> TlsCounts {
        let is_silent = |tls: &&Tls| {
            let waited = now.saturating_sub(tls.span.1);
            tls.stage == TlsStage::Acknowledged && waited >= self.timeout
        };
        let begun = self.attempts.values().filter_map(|one| one.tls.as_ref());
        TlsCounts {
            silent: begun.filter(is_silent).count() as u64,
            ..self.tls
        }
    }

    fn opened(&mut self, key: &AttemptKey, sighting: &Sighting, lost: u64) -> Option<AttemptKey> {
        if let Some(known) = self.attempts.get_mut(key) {
            if known.is_opened_by(sighting) {
                known.opened(sighting);
                return Some(key.clone());
            }
            // Another attempt with the same number, by chance.
            self.remove(key);
        }
        if !self.make_room(&sighting.flow, sighting.at) {
            self.leave_out(key);
            return None;
        }
        let attempt = Attempt::new(sighting, lost);
        self.let_in(key);
        self.insert(key.clone(), attempt);
        Some(key.clone())
    }

    /// Takes sightings of an attempt's first packet from before it matched the filter.
    pub(super) fn preceded(
        &mut self,
        key: &AttemptKey,
        early: &[EarlyHop],
        interfaces: &Interfaces,
    ) {
        let Some(attempt) = self.attempts.get_mut(key) else {
            return;
        };
        let first = attempt.first_at;
        let is_recent = |hop: &&EarlyHop| hop.at < first && first - hop.at < self.timeout;
        let link = |netns, ifindex| interfaces.name_and_mtu(netns, ifindex);
        let steps = early.iter().filter(is_recent);
        let steps: Vec<_> = steps.map(|hop| Step::early(hop, link)).collect();
        let flows: Vec<_> = steps.iter().map(|step| step.flow).collect();
        if attempt.preceded(steps) && attempt.flow.proto == protocol::TCP {
            for flow in flows {
                self.flows.learn(flow, key);
            }
        }
    }

    /// Counts a SYN that is not followed, unless an earlier hop of it was counted.
    fn leave_out(&mut self, key: &AttemptKey) {
        if self.recently_untracked.contains(key) {
            return;
        }
        self.untracked += 1;
        if self.recently_untracked.len() >= RECENT {
            self.recently_untracked.pop_front();
        }
        self.recently_untracked.push_back(key.clone());
    }

    /// Takes back that an attempt is not followed: another packet of it has found room.
    fn let_in(&mut self, key: &AttemptKey) {
        let known = self
            .recently_untracked
            .iter()
            .position(|known| known == key);
        if let Some(at) = known {
            self.recently_untracked.remove(at);
            self.untracked -= 1;
        }
    }

    fn replied(
        &mut self,
        key: &AttemptKey,
        sighting: &Sighting,
        reply: Reply,
    ) -> Option<AttemptKey> {
        let attempt = self.attempts.get_mut(key)?;
        let flow = match &reply {
            Reply::Rejection(rejection) => rejection.quoted,
            _ => sighting.flow.reversed(),
        };
        if !attempt.may_be(&flow) {
            return None;
        }
        attempt.replied(sighting, reply);
        Some(key.clone())
    }

    /// Begins an attempt with a dropped packet, if that opens one and there is room. Returns it, and
    /// which of its packets that was.
    pub(super) fn begun(
        &mut self,
        facts: &DropFacts,
        now: Nanos,
        lost: u64,
    ) -> Option<(AttemptKey, Lost)> {
        let key = begins(facts)?;
        if !self.make_room(&facts.key.flow, now) {
            self.leave_out(&key);
            return None;
        }
        self.remove(&key);
        self.let_in(&key);
        let mut attempt = Attempt::unseen(facts.key.flow, now, lost);
        attempt
            .client_sent
            .reached(facts.tcp.map_or(0, |tcp| tcp.seq));
        self.insert(key.clone(), attempt);
        Some((key, Lost::Opening))
    }

    /// Takes a drop of one of an attempt's packets. Returns the attempt.
    pub(super) fn dropped(&mut self, key: &AttemptKey, drop: OwnDrop) -> Option<&Attempt> {
        let attempt = self.attempts.get_mut(key)?;
        attempt.dropped(drop);
        Some(attempt)
    }

    /// Takes a retransmission of data. Returns the attempt.
    pub(super) fn retransmitted(&mut self, event: &RetransmitEvent) -> Option<AttemptKey> {
        // A FIN alone carries no data.
        if !SENDING.contains(&event.state) || event.len == 0 {
            return None;
        }
        let (key, by_client) = self.flows.find(&event.flow)?;
        self.attempts.get_mut(&key)?.retransmitted(event, by_client);
        Some(key)
    }

    /// The attempts whose time is up.
    pub(super) fn expired(&mut self, now: Nanos) -> Vec<AttemptKey> {
        let mut expired = self.deadlines.due(now);
        expired.retain(|key| self.attempts.contains_key(key));
        self.forget_old(now);
        expired
    }

    /// The attempts with the flow of a kind of drops that were reported as unanswered.
    pub(super) fn reported_without(&self, kind: &DropKey) -> Vec<AttemptKey> {
        let is_its = |attempt: &Attempt| {
            let mut hops = attempt.hops.iter().chain(&attempt.reply_hops);
            attempt.reported_outcome() == Some(Outcome::Unanswered)
                && hops.any(|hop| hop.flow == kind.flow)
        };
        let its = self.attempts.iter().filter(|(_, one)| is_its(one));
        its.map(|(key, _)| key.clone()).collect()
    }

    /// The attempts a quarter of whose time is up.
    pub(super) fn early(&mut self, now: Nanos) -> Vec<AttemptKey> {
        let mut early = self.early_deadlines.due(now);
        early.retain(|key| self.attempts.contains_key(key));
        early
    }

    fn insert(&mut self, key: AttemptKey, attempt: Attempt) {
        let after = |delay| attempt.first_at.saturating_add(delay);
        self.early_deadlines
            .set(after(self.timeout / 4), key.clone());
        self.deadlines.set(after(self.timeout), key.clone());
        if attempt.flow.proto == protocol::TCP {
            self.flows.learn(attempt.flow, &key);
        }
        self.order.push_back(key.clone());
        self.shares.taken(attempt.share);
        self.attempts.insert(key, attempt);
    }

    fn remove(&mut self, key: &AttemptKey) {
        if let Some(attempt) = self.attempts.remove(key) {
            self.flows.forget(key, &attempt);
            self.shares.returned(attempt.share);
        }
    }

    /// Removes what cannot be corrected any more.
    fn forget_old(&mut self, now: Nanos) {
        while let Some(key) = self.order.front() {
            match self.attempts.get(key) {
                Some(attempt) if attempt.first_at.saturating_add(CORRECTABLE) > now => break,
                _ => {
                    let key = key.clone();
                    self.order.pop_front();
                    self.remove(&key);
                }
            }
        }
    }

    /// Makes room for an attempt with this flow: evicts the oldest attempt that was reported, or one of
    /// a network that holds far more attempts than the new one's. Returns whether it made room.
    fn make_room(&mut self, flow: &Tuple, now: Nanos) -> bool {
        if self.attempts.len() < CAPACITY {
            return true;
        }
        self.forget_old(now);
        let reported = self.order.iter().take(OLDEST).position(|key| {
            self.attempts
                .get(key)
                .is_none_or(|attempt| attempt.reported.is_some())
        });
        if let Some(at) = reported
            && let Some(key) = self.order.remove(at)
        {
            self.remove(&key);
        }
        if self.attempts.len() >= CAPACITY {
            self.evict_for(Share::of(flow));
        }
        self.attempts.len() < CAPACITY
    }

    /// Evicts an attempt whose share has taken far more than that of a newcomer.
    fn evict_for(&mut self, share: u32) {
        let oldest = self.order.iter().take(OLDEST);
        let held = oldest.map(|key| self.attempts.get(key).map_or(share, |held| held.share));
        if let Some(at) = self.shares.largest(held, share)
            && let Some(key) = self.order.remove(at)
        {
            self.leave_out(&key);
            self.remove(&key);
        }
    }

    /// Whether an attempt is between two addresses, at any of its hops.
    pub(super) fn connects(&self, one: IpAddr, other: IpAddr) -> bool {
        self.attempts.values().any(|attempt| {
            let seen = attempt.hops.iter().map(|hop| &hop.flow);
            let mut seen = seen.chain([&attempt.flow]);
            seen.any(|flow| {
                let ends = (IpAddr::from(flow.src), IpAddr::from(flow.dst));
                ends == (one, other) || ends == (other, one)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::model::{Direction, Place};

    fn syn(isn: u32, at: u64, ifindex: u32) -> Sighting {
        Sighting {
            at,
            place: Place {
                netns: 1,
                ifindex,
                ifname: "eth0".to_owned(),
                mtu: 1500,
                dir: Direction::In,
            },
            flow: Tuple {
                proto: protocol::TCP,
                ..Tuple::default()
            },
            outer: None,
            original: None,
            seq: Some(isn),
            part: Part::Opens(AttemptKey::Tcp(isn), None),
        }
    }

    #[test]
    fn a_syn_without_a_place_counts_once_however_many_hops_it_has() {
        const LEFT_OUT: u32 = 100;
        let mut table = Table::new(1_000_000_000);
        let all = u32::try_from(CAPACITY).unwrap() + LEFT_OUT;
        for isn in 0..all {
            for hop in 1..=3 {
                table.sighted(&syn(isn, isn.into(), hop), 0);
            }
        }
        assert_eq!(table.attempts.len(), CAPACITY);
        assert_eq!(table.untracked, u64::from(LEFT_OUT));
    }

    #[test]
    fn a_flood_from_one_network_makes_room_for_others() {
        let mut table = Table::new(1_000_000_000);
        let from = |isn: u32, address: [u8; 4]| {
            let mut syn = syn(isn, isn.into(), 1);
            syn.flow.src = IpAddr::from(Ipv4Addr::from(address)).into();
            syn
        };
        let capacity = u32::try_from(CAPACITY).unwrap();
        for isn in 0..capacity {
            table.sighted(&from(isn, [198, 18, 0, isn.to_be_bytes()[3]]), 0);
        }
        let own = table.sighted(&from(capacity, [10, 50, 1, 2]), 0);
        assert_eq!(own, Some(AttemptKey::Tcp(capacity)));
        assert_eq!((table.attempts.len(), table.untracked), (CAPACITY, 1));
        // More of the flood finds no room, and does not push that one out.
        for isn in 0..100 {
            assert_eq!(
                table.sighted(&from(capacity + 1 + isn, [198, 18, 0, 7]), 0),
                None
            );
        }
        assert!(table.get(&AttemptKey::Tcp(capacity)).is_some());
        assert_eq!(table.untracked, 101);
    }

    #[test]
    fn what_finds_room_later_is_not_counted_as_left_out() {
        let mut table = Table::new(1_000_000_000);
        let capacity = u32::try_from(CAPACITY).unwrap();
        for isn in 0..=capacity {
            table.sighted(&syn(isn, isn.into(), 1), 0);
        }
        assert_eq!(table.untracked, 1);
        table.remove(&AttemptKey::Tcp(7));
        table.sighted(&syn(capacity, u64::from(capacity) + 1, 1), 0);
        assert_eq!((table.attempts.len(), table.untracked), (CAPACITY, 0));
    }
}
