//! Drops that were counted, and whose events were not sent: whose they may have been.
//!
//! The kernel sends few events a second of one kind of drops, and counts all. Queries that share a
//! socket share the kind, so most of a burst is counted only. The count says how many more were
//! dropped, and when; the attempts that got as far as the one whose drop was seen are theirs.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::SystemTime,
};

use tracer_common::{event::DropKey, tuple::Tuple};

use crate::{
    attempt::{Attempt, Lost, OwnDrop, Reply, Step},
    decode::drop::DropFacts,
    model::{Confidence, Outcome, Place, Verdict},
};

/// Kinds of drops that are kept, the latest.
const CAPACITY: usize = 1024;
/// Gaps of one kind that are kept, the latest.
const GAPS: usize = 16;

/// The kinds of drops that attempts have lost packets by.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    kinds: HashMap<DropKey, Kind>,
    /// In order of their first event.
    order: VecDeque<DropKey>,
    /// The same by flow.
    by_flow: HashMap<Tuple, Vec<DropKey>>,
}

#[derive(Debug)]
struct Kind {
    /// The flows that it is found by.
    flows: HashSet<Tuple>,
    /// The exact count, as far as it is known.
    count: u64,
    gaps: VecDeque<Gap>,
    seen: Option<Seen>,
}

/// Drops that were counted up to a time, and without an event.
#[derive(Debug)]
struct Gap {
    until: SystemTime,
    left: u64,
}

/// A drop of the kind that was seen.
#[derive(Debug)]
struct Seen {
    drop: OwnDrop,
    /// The last place where its attempt's packet was seen before it.
    behind: Option<Place>,
}

impl Unsent {
    /// Takes an event, with the exact count at it. `is_own` says whether it is of one of the
    /// attempts' packets.
    pub(super) fn event(&mut self, facts: &DropFacts, count: u64, is_own: bool) {
        if let Some(kind) = self.kinds.get_mut(&facts.key) {
            kind.event(facts.at, count);
            return;
        }
        if !is_own {
            return;
        }
        if self.order.len() >= CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.remove(&oldest);
        }
        self.order.push_back(facts.key);
        // Behind NAT, the attempt may have been seen in front of it only.
        let entry = facts.wire.as_ref().and_then(|wire| wire.entry);
        let original = entry.map(|(original, _)| original);
        let flows: HashSet<_> = [facts.key.flow].into_iter().chain(original).collect();
        for flow in &flows {
            self.by_flow.entry(*flow).or_default().push(facts.key);
        }
        let kind = Kind {
            flows,
            count,
            gaps: VecDeque::new(),
            seen: None,
        };
        self.kinds.insert(facts.key, kind);
    }

    /// Takes the exact counts of some kinds.
    pub(super) fn counted(&mut self, exact: &[(DropKey, u64)], at: SystemTime) {
        for (key, count) in exact {
            if let Some(kind) = self.kinds.get_mut(key) {
                kind.moved_to(*count, at, 0);
            }
        }
    }

    /// Takes a drop of an attempt's packet, and the verdict on it. Returns whether others may have
    /// waited for that.
    pub(super) fn judged(&mut self, drop: &OwnDrop, attempt: &Attempt) -> bool {
        let Some(kind) = self.kinds.get_mut(&drop.facts.key) else {
            return false;
        };
        let behind = last_step(attempt, drop.lost).map(|step| &step.place);
        let is_first = kind.seen.is_none();
        let is_known = kind.seen.as_ref().is_some_and(|seen| {
            let known = &seen.drop;
            seen.behind.as_ref() == behind
                && (known.lost, &known.verdict) == (drop.lost, &drop.verdict)
        });
        if !is_known {
            kind.seen = Some(Seen {
                drop: drop.clone(),
                behind: behind.cloned(),
            });
        }
        is_first && kind.gaps.iter().any(|gap| gap.left > 0)
    }

    /// Forgets kinds that the kernel counts anew.
    pub(super) fn forget(&mut self, kinds: &[DropKey]) {
        for key in kinds {
            self.remove(key);
        }
        self.order.retain(|key| self.kinds.contains_key(key));
    }

    fn remove(&mut self, key: &DropKey) {
        let kind = self.kinds.remove(key);
        for flow in kind.into_iter().flat_map(|kind| kind.flows) {
            if let Some(alike) = self.by_flow.get_mut(&flow) {
                alike.retain(|other| other != key);
                if alike.is_empty() {
                    self.by_flow.remove(&flow);
                }
            }
        }
    }

    /// The kinds by which an attempt may have lost a packet.
    pub(super) fn kinds_of(&self, attempt: &Attempt) -> impl Iterator<Item = DropKey> {
        let flows: HashSet<_> = [Lost::Opening, Lost::Reply]
            .into_iter()
            .flat_map(|lost| flows(attempt, lost))
            .collect();
        flows.into_iter().flat_map(|flow| self.of_flow(flow))
    }

    fn of_flow(&self, flow: Tuple) -> impl Iterator<Item = DropKey> {
        self.by_flow.get(&flow).into_iter().flatten().copied()
    }

    /// A drop for an attempt that has none: one that was counted and not sent, since its first
    /// packet, and behind the same place.
    pub(super) fn claim(&mut self, attempt: &Attempt, since: SystemTime) -> Option<OwnDrop> {
        let lost = match attempt.reply {
            None => Lost::Opening,
            Some(Reply::Answer(_)) => Lost::Reply,
            // Who dropped it has sent the answer.
            Some(_) if attempt.outcome().is_some() => Lost::Opening,
            Some(_) => return None,
        };
        attempt
            .deciding_drop(attempt.outcome().unwrap_or(Outcome::Unanswered))
            .is_none()
            .then_some(())?;
        let behind = last_step(attempt, lost).map(|step| &step.place);
        let alike: Vec<_> = flows(attempt, lost)
            .flat_map(|flow| self.of_flow(flow))
            .collect();
        alike.iter().find_map(|key| {
            let kind = self.kinds.get_mut(key)?;
            let seen = kind.seen.as_ref().filter(|seen| seen.drop.lost == lost)?;
            (seen.behind.as_ref() == behind).then_some(())?;
            let mut gaps = kind.gaps.iter_mut();
            let gap = gaps.find(|gap| gap.left > 0 && gap.until >= since)?;
            gap.left -= 1;
            Some(OwnDrop {
                lost,
                facts: Arc::clone(&seen.drop.facts),
                verdict: counted_alike(&seen.drop.verdict),
            })
        })
    }
}

impl Kind {
    fn event(&mut self, at: SystemTime, count: u64) {
        if count > self.count {
            self.moved_to(count, at, 1);
            return;
        }
        // It was sent before a count that was read earlier.
        let mut gaps = self.gaps.iter_mut().rev();
        if let Some(gap) = gaps.find(|gap| gap.left > 0) {
            gap.left -= 1;
        }
    }

    /// The count has moved, of which so many are seen themselves.
    fn moved_to(&mut self, count: u64, at: SystemTime, seen: u64) {
        let unseen = count.saturating_sub(self.count).saturating_sub(seen);
        if unseen > 0 {
            if self.gaps.len() >= GAPS {
                self.gaps.pop_front();
            }
            self.gaps.push_back(Gap {
                until: at,
                left: unseen,
            });
        }
        self.count = self.count.max(count);
    }
}

/// The last place where such a packet of the attempt was seen.
fn last_step(attempt: &Attempt, lost: Lost) -> Option<&Step> {
    match lost {
        Lost::Opening => attempt.last_hop(),
        Lost::Reply | Lost::Later => attempt.last_reply_hop(),
    }
}

/// The flows that such a packet of the attempt had, at its hops.
fn flows(attempt: &Attempt, lost: Lost) -> impl Iterator<Item = Tuple> {
    let hops = match lost {
        Lost::Opening => &attempt.hops,
        Lost::Reply | Lost::Later => &attempt.reply_hops,
    };
    hops.iter().map(|hop| hop.flow)
}

/// The verdict on a drop that was seen, for another one of the same kind.
fn counted_alike(verdict: &Verdict) -> Verdict {
    let mut verdict = verdict.clone();
    verdict.confidence = verdict.confidence.min(Confidence::Likely);
    verdict.evidence.push(
        "its own drop is among those that were counted only: the kernel counted more of this flow, \
         reason and place than it reported one by one"
            .to_owned(),
    );
    verdict
}

#[cfg(test)]
mod tests {
    use tracer_common::packet::{Tcp, protocol};

    use super::*;
    use crate::{decode::drop::DropKind, model::Direction};

    fn flow(sport: u16) -> Tuple {
        Tuple {
            proto: protocol::TCP,
            sport,
            ..Tuple::default()
        }
    }

    fn kind(sport: u16, location: u64) -> DropFacts {
        let key = DropKey {
            flow: flow(sport),
            location,
            reason: 0,
            netns: 0,
            ifindex: 0,
            tcp_flags: Tcp::SYN,
            has_payload: 0,
            icmp_type: 0,
            reserved: 0,
        };
        let kind = DropKind {
            key,
            reason: "NETFILTER_DROP".into(),
            function: None,
        };
        kind.facts(SystemTime::UNIX_EPOCH)
    }

    /// An attempt whose packets had these flows, one after the other, at hops of their own.
    fn attempt(sports: &[u16], reply: &[u16]) -> Attempt {
        let mut attempt = Attempt::unseen(flow(sports[0]), 0, 0);
        let hops = |sports: &[u16]| {
            let hops = sports.iter().map(|sport| Step {
                place: Place {
                    netns: 1,
                    ifindex: 2,
                    ifname: "eth0".to_owned(),
                    dir: Direction::In,
                    mtu: 1500,
                },
                at: 0,
                times: 1,
                flow: flow(*sport),
                outer: None,
                vni: None,
            });
            hops.collect()
        };
        attempt.hops = hops(sports);
        attempt.reply_hops = hops(reply);
        attempt
    }

    fn kinds(unsent: &Unsent, attempt: &Attempt) -> Vec<(u16, u64)> {
        let kinds = unsent.kinds_of(attempt);
        let mut kinds: Vec<_> = kinds.map(|key| (key.flow.sport, key.location)).collect();
        kinds.sort_unstable();
        kinds
    }

    #[test]
    fn kinds_are_found_by_the_flows_of_an_attempt() {
        let mut unsent = Unsent::default();
        for (sport, location) in [(1, 10), (1, 11), (2, 10), (3, 10)] {
            unsent.event(&kind(sport, location), 1, true);
        }
        unsent.event(&kind(4, 10), 1, false);
        // Several hops of one flow are no several kinds.
        let found = kinds(&unsent, &attempt(&[1, 1, 4], &[2, 1]));
        assert_eq!(found, [(1, 10), (1, 11), (2, 10)]);
        assert_eq!(kinds(&unsent, &attempt(&[9], &[])), []);
        unsent.forget(&[kind(1, 10).key, kind(2, 10).key]);
        let found = kinds(&unsent, &attempt(&[1], &[2]));
        assert_eq!(found, [(1, 11)]);
    }

    #[test]
    fn the_oldest_kind_makes_room_and_is_not_found_any_more() {
        let mut unsent = Unsent::default();
        for location in 0..=CAPACITY as u64 {
            unsent.event(&kind(1, location), 1, true);
        }
        let found = kinds(&unsent, &attempt(&[1], &[]));
        assert_eq!(found.len(), CAPACITY);
        assert!(!found.contains(&(1, 0)));
        unsent.forget(&unsent.order.iter().copied().collect::<Vec<_>>());
        assert!(unsent.by_flow.is_empty());
    }
}
