//! All attempts, bounded, with their deadlines.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use tracer_common::{
    event::{EarlyHop, RetransmitEvent},
    packet::{Tcp, protocol},
    tuple::Tuple,
};

use super::attempt::{Attempt, Lost, OwnDrop, Reply, Step};
use crate::decode::{
    sighting::{Key, Part, Segment, Sighting},
    tls::{Tls, TlsCounts},
};
use crate::{
    decode::drop::DropFacts,
    model::{TlsStage, Verdict},
};

/// How many attempts are followed at once. One takes about two kilobytes.
const CAPACITY: usize = 1 << 14;
/// How long an outcome may still be corrected, in nanoseconds: as long as Linux retries a SYN by
/// default, and a little more.
const CORRECTABLE: u64 = 150_000_000_000;
/// SYNs without a place that are remembered, so that each counts once however many hops it has.
const RECENT: usize = 16;
/// `TCP_ESTABLISHED` of the kernel's UAPI (include/net/tcp_states.h).
const ESTABLISHED: u32 = 1;

/// All attempts.
#[derive(Debug)]
pub struct Table {
    attempts: HashMap<Key, Attempt>,
    /// By the flow of the first hop, which is the client's own.
    by_flow: HashMap<Tuple, Key>,
    /// In order of creation.
    order: VecDeque<Key>,
    /// When a quarter of the timeout is over. In order, since the timeout is the same for all.
    early_deadlines: VecDeque<(u64, Key)>,
    /// When the timeout is over.
    deadlines: VecDeque<(u64, Key)>,
    timeout: u64,
    /// SYNs that found the table full.
    pub untracked: u64,
    /// What was seen of TLS.
    pub tls: TlsCounts,
    /// The last of them.
    recently_untracked: VecDeque<Key>,
}

impl Table {
    /// An empty table. `timeout` is in nanoseconds.
    pub fn new(timeout: u64) -> Self {
        Self {
            attempts: HashMap::new(),
            by_flow: HashMap::new(),
            order: VecDeque::new(),
            early_deadlines: VecDeque::new(),
            deadlines: VecDeque::new(),
            timeout,
            untracked: 0,
            tls: TlsCounts::default(),
            recently_untracked: VecDeque::new(),
        }
    }

    /// An attempt by its key.
    pub fn get(&self, key: &Key) -> Option<&Attempt> {
        self.attempts.get(key)
    }

    /// An attempt by its key.
    pub fn get_mut(&mut self, key: &Key) -> Option<&mut Attempt> {
        self.attempts.get_mut(key)
    }

    /// All attempts.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Attempt)> {
        self.attempts.iter()
    }

    /// How many attempts are followed.
    pub fn len(&self) -> usize {
        self.attempts.len()
    }

    /// Whether none is followed.
    pub fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    /// Whether a sighting opens an attempt that is not followed yet.
    pub fn is_new(&self, sighting: &Sighting) -> bool {
        let Part::Opens(key, _) = &sighting.part else {
            return false;
        };
        let known = self.attempts.get(key);
        !known.is_some_and(|known| known.may_be(&sighting.flow))
    }

    /// Takes a sighting. `lost` is the number of events lost so far. Returns the attempt that it is
    /// about.
    pub fn sighted(&mut self, sighting: &Sighting, lost: u64) -> Option<Key> {
        match &sighting.part {
            Part::Opens(key, dns) => self.opened(key, dns.as_ref(), sighting, lost),
            Part::Answers(key, rcode) => self.replied(key, sighting, Reply::Answer(rcode.clone())),
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
                let key = key
                    .clone()
                    .filter(|key| self.attempts.contains_key(key))
                    .or_else(|| self.of_flow(&rejection.quoted).map(|(key, _)| key))?;
                self.attempts.get_mut(&key)?.too_big = Some(rejection.clone());
                Some(key)
            }
            Part::Rejects(key, rejection) => {
                self.replied(key.as_ref()?, sighting, Reply::Rejection(rejection.clone()))
            }
            Part::Settles(key, segment) => self.settled(key, segment, sighting),
        }
    }

    fn settled(&mut self, key: &Key, segment: &Segment, sighting: &Sighting) -> Option<Key> {
        let Sighting {
            place, at, flow, ..
        } = sighting;
        if let Some(attempt) = self.attempts.get_mut(key)
            && attempt.may_be(flow)
        {
            attempt.settled |= attempt.reply.is_some();
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
        let tls = self.attempts.get_mut(&key)?.tls.as_mut()?;
        let before = tls.stage;
        tls.server_sent(segment);
        self.tls.answered += u64::from(before != tls.stage && tls.stage == TlsStage::Answered);
        Some(key)
    }

    /// The attempt whose server has sent this.
    fn of_server(&self, sighting: &Sighting) -> Option<Key> {
        let (key, by_client) = self.of_flow(&sighting.flow)?;
        (!by_client).then_some(key)
    }

    fn opened(
        &mut self,
        key: &Key,
        dns: Option<&(String, String)>,
        sighting: &Sighting,
        lost: u64,
    ) -> Option<Key> {
        if let Some(known) = self.attempts.get_mut(key) {
            if known.may_be(&sighting.flow) {
                known.opened(sighting);
                return Some(key.clone());
            }
            // Another attempt with the same number, by chance.
            self.remove(key);
        }
        if !self.make_room(sighting.at) {
            self.leave_out(key);
            return None;
        }
        let attempt = Attempt::new(sighting, dns.cloned(), lost);
        self.insert(key.clone(), attempt);
        Some(key.clone())
    }

    /// Takes sightings of an attempt's first packet from before it matched the filter.
    pub fn preceded(&mut self, key: &Key, early: &[EarlyHop]) {
        let Some(attempt) = self.attempts.get_mut(key) else {
            return;
        };
        let first = attempt.first_at;
        let is_recent = |hop: &&EarlyHop| hop.at < first && first - hop.at < self.timeout;
        let steps: Vec<_> = early.iter().filter(is_recent).map(Step::from).collect();
        let flows: Vec<_> = steps.iter().map(|step| step.flow).collect();
        if attempt.preceded(steps) && attempt.flow.proto == protocol::TCP {
            for flow in flows {
                self.by_flow.insert(flow, key.clone());
            }
        }
    }

    /// Counts a SYN that is not followed, unless an earlier hop of it was counted.
    fn leave_out(&mut self, key: &Key) {
        if self.recently_untracked.contains(key) {
            return;
        }
        self.untracked += 1;
        if self.recently_untracked.len() >= RECENT {
            self.recently_untracked.pop_front();
        }
        self.recently_untracked.push_back(key.clone());
    }

    fn replied(&mut self, key: &Key, sighting: &Sighting, reply: Reply) -> Option<Key> {
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

    /// Whether a dropped packet opens an attempt that no interface shows: a SYN that dies at the
    /// host that sent it, as for want of a neighbor.
    pub fn begins(facts: &DropFacts) -> bool {
        let flags = facts.tcp.map(|tcp| tcp.flags & (Tcp::SYN | Tcp::ACK));
        flags == Some(Tcp::SYN) && facts.iif == 0
    }

    /// Begins an attempt with a dropped packet, if that opens one.
    pub fn begun(&mut self, facts: &DropFacts, now: u64, lost: u64) {
        let Some(tcp) = facts.tcp.filter(|_| Self::begins(facts)) else {
            return;
        };
        let key = Key::Tcp(tcp.seq);
        if !self.make_room(now) {
            self.leave_out(&key);
            return;
        }
        self.remove(&key);
        let attempt = Attempt::unseen(facts.key.flow, now, lost);
        self.by_flow.insert(attempt.flow, key.clone());
        self.insert(key, attempt);
    }

    /// Takes a drop, if it is of one of the attempts' packets. Returns the attempt.
    pub fn dropped(&mut self, facts: Arc<DropFacts>, verdict: Verdict) -> Option<Key> {
        let (key, lost) = self.owner_of(&facts)?;
        self.attempts.get_mut(&key)?.dropped(OwnDrop {
            lost,
            facts,
            verdict,
        });
        Some(key)
    }

    /// The attempt that a dropped packet belongs to, and which of its packets it is.
    pub fn owner_of(&self, facts: &DropFacts) -> Option<(Key, Lost)> {
        let flow = &facts.key.flow;
        if let Some(tcp) = facts.tcp {
            let has = |flag| tcp.flags & flag != 0;
            let (key, lost) = match (has(Tcp::SYN), has(Tcp::ACK)) {
                (true, false) => (Key::Tcp(tcp.seq), Lost::Opening),
                (true, true) => (Key::Tcp(tcp.ack.wrapping_sub(1)), Lost::Reply),
                (false, true) if has(Tcp::RST) => (Key::Tcp(tcp.ack.wrapping_sub(1)), Lost::Reply),
                _ => (Key::Tcp(tcp.seq.wrapping_sub(1)), Lost::Later),
            };
            let of_number = self
                .attempts
                .get(&key)
                .is_some_and(|attempt| attempt.may_be(flow) || attempt.may_be(&flow.reversed()));
            if of_number {
                return Some((key, lost));
            }
            // Data further on in the connection.
            let data = !has(Tcp::SYN) && !has(Tcp::RST);
            return self
                .of_flow(flow)
                .filter(|_| data)
                .map(|(key, _)| (key, Lost::Later));
        }
        if let Some(key) = &facts.dns {
            let attempt = self.attempts.get(&key.0)?;
            let lost = if key.1 { Lost::Reply } else { Lost::Opening };
            return (attempt.may_be(flow) || attempt.may_be(&flow.reversed()))
                .then(|| (key.0.clone(), lost));
        }
        let quoted = facts.quoted_tuple?;
        let (key, _) = self.of_flow(&quoted)?;
        Some((key, Lost::Reply))
    }

    /// Takes a retransmission of data. Returns the attempt.
    pub fn retransmitted(&mut self, event: &RetransmitEvent) -> Option<Key> {
        if event.state != ESTABLISHED {
            return None;
        }
        let (key, by_client) = self.of_flow(&event.flow)?;
        self.attempts.get_mut(&key)?.retransmitted(event, by_client);
        Some(key)
    }

    /// The attempt of a flow seen from either end, and whether it is the client's end.
    fn of_flow(&self, flow: &Tuple) -> Option<(Key, bool)> {
        let of_client = self.by_flow.get(flow).map(|key| (key.clone(), true));
        of_client.or_else(|| {
            self.by_flow
                .get(&flow.reversed())
                .map(|key| (key.clone(), false))
        })
    }

    /// The attempts whose time is up at `now`, in nanoseconds of `CLOCK_MONOTONIC`.
    pub fn expired(&mut self, now: u64) -> Vec<Key> {
        let expired = self.due(now, |table| &mut table.deadlines);
        self.forget_old(now);
        expired
    }

    /// The attempts a quarter of whose time is up at `now`.
    pub fn early(&mut self, now: u64) -> Vec<Key> {
        self.due(now, |table| &mut table.early_deadlines)
    }

    fn due(
        &mut self,
        now: u64,
        queue: impl Fn(&mut Self) -> &mut VecDeque<(u64, Key)>,
    ) -> Vec<Key> {
        let mut due = Vec::new();
        while let Some((_, key)) = queue(self).pop_front_if(|(at, _)| *at <= now) {
            due.push(key);
        }
        due.retain(|key| self.attempts.contains_key(key));
        due
    }

    fn insert(&mut self, key: Key, attempt: Attempt) {
        self.early_deadlines.push_back((
            attempt.first_at.saturating_add(self.timeout / 4),
            key.clone(),
        ));
        self.deadlines
            .push_back((attempt.first_at.saturating_add(self.timeout), key.clone()));
        if attempt.flow.proto == protocol::TCP {
            for hop in &attempt.hops {
                self.by_flow.insert(hop.flow, key.clone());
            }
        }
        self.order.push_back(key.clone());
        self.attempts.insert(key, attempt);
    }

    fn remove(&mut self, key: &Key) {
        if let Some(attempt) = self.attempts.remove(key) {
            for hop in &attempt.hops {
                if self.by_flow.get(&hop.flow) == Some(key) {
                    self.by_flow.remove(&hop.flow);
                }
            }
        }
    }

    /// Removes what cannot be corrected any more.
    fn forget_old(&mut self, now: u64) {
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

    /// Makes room for one more by evicting the oldest that was reported. `false` if all are open.
    fn make_room(&mut self, now: u64) -> bool {
        /// How many of the oldest are looked at: a flood must not make each SYN search them all.
        const OLDEST: usize = 64;
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
        self.attempts.len() < CAPACITY
    }
}

#[cfg(test)]
mod tests {
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
            part: Part::Opens(Key::Tcp(isn), None),
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
        assert_eq!(table.len(), CAPACITY);
        assert_eq!(table.untracked, u64::from(LEFT_OUT));
    }
}
