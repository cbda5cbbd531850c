//! Which attempt a packet belongs to: the one place where packets are joined to attempts.
//!
//! By the number of the handshake, which passes NAT and encapsulation unchanged, if the flow can be
//! the attempt's at one of its hops; and by the flow at the hops that were seen first, which are the
//! client's own.

use std::collections::HashMap;

use tracer_common::{address::Address, packet::Tcp, tuple::Tuple};

use super::{
    near::{is_in_its_tunnel, is_on_way},
    table::Table,
};
use crate::{
    attempt::{Attempt, Lost},
    decode::{
        drop::DropFacts,
        sighting::{AttemptKey, Sighting},
        untranslated::Untranslated,
    },
    engine::interfaces::Interfaces,
};

/// The flows of attempts.
#[derive(Debug, Default)]
pub(super) struct Flows {
    /// Those of the hops that were seen first.
    first: HashMap<Tuple, AttemptKey>,
    /// The client's end of all hops.
    clients: HashMap<End, AttemptKey>,
}

/// An address and a port.
type End = (Address, u16);

impl Flows {
    pub(super) fn learn(&mut self, flow: Tuple, key: &AttemptKey) {
        self.first.insert(flow, key.clone());
        self.learn_client(&flow, key);
    }

    /// Learns what NAT has made of the client's end.
    pub(super) fn learn_client(&mut self, flow: &Tuple, key: &AttemptKey) {
        self.clients.insert((flow.src, flow.sport), key.clone());
    }

    /// Forgets the flows of an attempt, unless another one has them by now.
    pub(super) fn forget(&mut self, key: &AttemptKey, attempt: &Attempt) {
        let hops = attempt.hops.iter().map(|hop| hop.flow);
        for flow in hops.chain([attempt.flow]) {
            if self.first.get(&flow) == Some(key) {
                self.first.remove(&flow);
            }
            let client = (flow.src, flow.sport);
            if self.clients.get(&client) == Some(key) {
                self.clients.remove(&client);
            }
        }
    }

    /// The attempt of a flow seen from either end, and whether it is the client's end.
    pub(super) fn find(&self, flow: &Tuple) -> Option<(AttemptKey, bool)> {
        let of_client = self.first.get(flow).map(|key| (key.clone(), true));
        let reversed = || self.first.get(&flow.reversed());
        of_client.or_else(|| reversed().map(|key| (key.clone(), false)))
    }
}

impl Table {
    /// The attempt of a flow seen from either end, at any of its hops: NAT changes the flow of a
    /// connection on its way, and an ICMP error quotes what it has become.
    fn find(&self, flow: &Tuple) -> Option<(AttemptKey, bool)> {
        let behind_nat = |flow: &Tuple| {
            let key = self.flows.clients.get(&(flow.src, flow.sport))?;
            let mut hops = self.attempts.get(key)?.hops.iter();
            hops.any(|hop| hop.flow == *flow).then(|| key.clone())
        };
        self.flows.find(flow).or_else(|| {
            let of_client = behind_nat(flow).map(|key| (key, true));
            let of_server = || behind_nat(&flow.reversed()).map(|key| (key, false));
            of_client.or_else(of_server)
        })
    }

    /// The attempt whose server has sent this.
    pub(super) fn of_server(&self, sighting: &Sighting) -> Option<AttemptKey> {
        let (key, by_client) = self.flows.find(&sighting.flow)?;
        (!by_client).then_some(key)
    }

    /// The attempt that a dropped packet belongs to, and which of its packets it is.
    ///
    /// What a packet says of itself, an outsider can write into it. So what is known by its flow
    /// alone must also have come by the attempt's way, in the same tunnel, with a number that this
    /// end could have sent.
    pub(super) fn owner_of(
        &self,
        facts: &DropFacts,
        interfaces: &Interfaces,
    ) -> Option<(AttemptKey, Lost)> {
        let claimed = self.claimed_owner_of(facts).and_then(|(key, lost, claim)| {
            let attempt = self.attempts.get(&key)?;
            let is_ours = claim.is_none_or(|claim| {
                is_on_way(attempt, facts, interfaces)
                    && is_in_its_tunnel(attempt, facts, interfaces)
                    && attempt.can_have_sent(claim.seq, claim.ack, claim.by_client)
            });
            is_ours.then_some((key, lost))
        });
        let strayed = || Some((self.untranslated(facts)?.0, Lost::Later));
        claimed.or_else(strayed)
    }

    /// The attempt that a segment belongs to which goes another way than its SYN, for want of that one's
    /// translation: known by one end of the client, and by both numbers. Of DNS, that of an answer.
    pub(super) fn untranslated(&self, facts: &DropFacts) -> Option<(AttemptKey, Untranslated)> {
        let flow = &facts.key.flow;
        if let Some((key, true)) = &facts.dns {
            let key = self.of_client(key, [Some(flow.reversed()), None])?;
            let untranslated = self.attempts.get(&key)?.untranslated_answer(facts)?;
            return Some((key, untranslated));
        }
        facts.tcp?;
        let ends = [(flow.src, flow.sport), (flow.dst, flow.dport)];
        ends.iter().find_map(|end| {
            let key = self.flows.clients.get(end)?;
            let untranslated = self.attempts.get(key)?.untranslated(facts)?;
            Some((key.clone(), untranslated))
        })
    }

    /// The attempt that a dropped packet says to belong to; with a claim where only its flow says
    /// so, and not the number of the handshake.
    pub(super) fn claimed_owner_of(
        &self,
        facts: &DropFacts,
    ) -> Option<(AttemptKey, Lost, Option<Claim>)> {
        let flow = &facts.key.flow;
        if let Some(tcp) = facts.tcp {
            return self.claimed_by_segment(flow, &tcp);
        }
        if let Some((key, is_answer)) = &facts.dns {
            let lost = if *is_answer {
                Lost::Reply
            } else {
                Lost::Opening
            };
            // Ids are few, and anyone can guess one: the client must be the same, as it is here or
            // before NAT.
            let here = if *is_answer { flow.reversed() } else { *flow };
            let entry = facts.wire.as_ref().and_then(|wire| wire.entry);
            let before_nat = entry.map(|(original, _)| original);
            let key = self.of_client(key, [Some(here), before_nat])?;
            return Some((key, lost, None));
        }
        let (key, by_client) = self.find(&facts.quoted_tuple?)?;
        let claim = Claim {
            seq: facts.quoted_seq?,
            ack: None,
            by_client,
        };
        Some((key, Lost::Reply, Some(claim)))
    }

    fn claimed_by_segment(
        &self,
        flow: &Tuple,
        tcp: &Tcp,
    ) -> Option<(AttemptKey, Lost, Option<Claim>)> {
        let has = |flag| tcp.flags & flag != 0;
        let (key, lost) = match (has(Tcp::SYN), has(Tcp::ACK)) {
            (true, false) => (AttemptKey::Tcp(tcp.seq), Lost::Opening),
            (true, true) => (AttemptKey::Tcp(tcp.ack.wrapping_sub(1)), Lost::Reply),
            (false, true) if has(Tcp::RST) => {
                (AttemptKey::Tcp(tcp.ack.wrapping_sub(1)), Lost::Reply)
            }
            _ => (AttemptKey::Tcp(tcp.seq.wrapping_sub(1)), Lost::Later),
        };
        let of_number = self
            .attempts
            .get(&key)
            .is_some_and(|attempt| attempt.may_be(flow) || attempt.may_be(&flow.reversed()));
        if of_number {
            return Some((key, lost, None));
        }
        // Data further on in the connection.
        let data = !has(Tcp::SYN) && !has(Tcp::RST);
        let (key, by_client) = self.flows.find(flow).filter(|_| data)?;
        let claim = Claim {
            seq: tcp.seq,
            ack: has(Tcp::ACK).then_some(tcp.ack),
            by_client,
        };
        Some((key, Lost::Later, Some(claim)))
    }
}

/// What a packet that is known by its flow alone says of its place in the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    seq: u32,
    ack: Option<u32>,
    /// Whether the client is to have sent it.
    by_client: bool,
}

/// The attempt that a dropped packet opens without having been seen at an interface: a SYN that dies
/// at the host that sent it, as without a neighbor.
pub(super) fn begins(facts: &DropFacts) -> Option<AttemptKey> {
    let tcp = facts.tcp.filter(|_| facts.iif == 0)?;
    let is_syn = tcp.flags & (Tcp::SYN | Tcp::ACK) == Tcp::SYN;
    is_syn.then_some(AttemptKey::Tcp(tcp.seq))
}
