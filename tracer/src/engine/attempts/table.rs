//! All attempts, bounded, with their deadlines.

mod room;

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
};

use tracer_common::{
    event::{DropKey, EarlyHop, RetransmitEvent},
    packet::protocol,
};

use self::room::LeftOut;
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
    engine::{Nanos, interfaces::Interfaces},
    model::{Flow, Outcome, TlsStage},
};

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
    /// How many attempts are followed at once.
    capacity: usize,
    /// SYNs that found the table full.
    left_out: LeftOut,
    /// Who has taken how much of it.
    shares: Shares,
    /// What was seen of TLS; silent are those that are not kept any more.
    tls: TlsCounts,
}

impl Table {
    /// An empty table.
    pub(super) fn new(timeout: Nanos, capacity: usize) -> Self {
        Self {
            attempts: HashMap::new(),
            flows: Flows::default(),
            order: VecDeque::new(),
            early_deadlines: Deadlines::default(),
            deadlines: Deadlines::default(),
            timeout,
            capacity,
            left_out: LeftOut::default(),
            shares: Shares::default(),
            tls: TlsCounts::default(),
        }
    }

    /// How many SYNs found the table full.
    pub(super) fn untracked(&self) -> u64 {
        self.left_out.count
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

    /// All attempts.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&AttemptKey, &Attempt)> {
        self.attempts.iter()
    }

    /// What was seen of TLS until now.
    pub(super) fn tls(&self, now: Nanos) -> TlsCounts {
        let kept = self.attempts.values();
        let silent = kept.filter(|attempt| self.has_silent_tls(attempt, now));
        TlsCounts {
            silent: self.tls.silent + silent.count() as u64,
            ..self.tls
        }
    }

    /// Whether the server has acknowledged a ClientHello, and sent nothing since.
    fn has_silent_tls(&self, attempt: &Attempt, now: Nanos) -> bool {
        attempt.tls.as_ref().is_some_and(|tls| {
            let waited = now.saturating_sub(tls.span.1);
            tls.stage == TlsStage::Acknowledged && waited >= self.timeout
        })
    }

    fn opened(&mut self, key: &AttemptKey, sighting: &Sighting, lost: u64) -> Option<AttemptKey> {
        if let Some(known) = self.attempts.get_mut(key) {
            if known.is_opened_by(sighting) {
                known.opened(sighting);
                // Removing the attempt forgets the ends of its hops, and no others.
                let is_kept = known.hops.iter().any(|hop| hop.flow == sighting.flow);
                if is_kept && sighting.flow.proto == protocol::TCP {
                    self.flows.learn_client(&sighting.flow, key);
                }
                return Some(key.clone());
            }
            // Another attempt with the same number, by chance.
            self.remove(key, sighting.at);
        }
        if !self.make_room(&sighting.flow, sighting.at) {
            self.left_out.add(key);
            return None;
        }
        let attempt = Attempt::new(sighting, lost);
        self.left_out.take_back(key);
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
        // Where one was may have gone before it could be read.
        let is_recent =
            |hop: &&EarlyHop| hop.netns != 0 && hop.at < first && first - hop.at < self.timeout;
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
            self.left_out.add(&key);
            return None;
        }
        self.remove(&key, now);
        self.left_out.take_back(&key);
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

    fn remove(&mut self, key: &AttemptKey, now: Nanos) {
        if let Some(attempt) = self.attempts.remove(key) {
            self.tls.silent += u64::from(self.has_silent_tls(&attempt, now));
            self.flows.forget(key, &attempt);
            self.shares.returned(attempt.share);
        }
    }

    /// Forgets an attempt, if nothing was reported of it, and nothing but packets in this tunnel has shown
    /// it. Returns whether that is so.
    pub(super) fn disown(&mut self, key: &AttemptKey, outer: Option<Flow>, now: Nanos) -> bool {
        let source = outer.map(|outer| outer.src);
        let is_of_tunnel = |hop: &Step| hop.outer.map(|outer| IpAddr::from(outer.src)) == source;
        let is_shown_by_it = self.attempts.get(key).is_some_and(|attempt| {
            let is_open = attempt.reported.is_none() && attempt.reply.is_none();
            let is_seen = !attempt.hops.is_empty();
            is_open && is_seen && source.is_some() && attempt.hops.iter().all(is_of_tunnel)
        });
        if is_shown_by_it {
            self.remove(key, now);
        }
        is_shown_by_it
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
mod tests;
