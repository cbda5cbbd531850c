//! Drops that were counted, and whose events were not sent: whose they may have been.
//!
//! The kernel sends few events a second of one kind of drops, and counts all. Queries that share a
//! socket share the kind, so most of a burst is counted only. The count says how many more were
//! dropped, and when; the attempts that got as far as the one whose drop was seen are theirs.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::SystemTime,
};

use tracer_common::event::DropKey;

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
}

#[derive(Debug)]
struct Kind {
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
    pub(super) fn event(&mut self, facts: &DropFacts, count: u64, is_own: impl FnOnce() -> bool) {
        if let Some(kind) = self.kinds.get_mut(&facts.key) {
            kind.event(facts.at, count);
            return;
        }
        if !is_own() {
            return;
        }
        if self.order.len() >= CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.kinds.remove(&oldest);
        }
        self.order.push_back(facts.key);
        let kind = Kind {
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
    pub(super) fn judged(&mut self, drop: OwnDrop, attempt: &Attempt) -> bool {
        let Some(kind) = self.kinds.get_mut(&drop.facts.key) else {
            return false;
        };
        let behind = last_step(attempt, drop.lost).map(|step| step.place.clone());
        let is_first = kind.seen.replace(Seen { drop, behind }).is_none();
        is_first && kind.gaps.iter().any(|gap| gap.left > 0)
    }

    /// Forgets kinds that the kernel counts anew.
    pub(super) fn forget(&mut self, kinds: &[DropKey]) {
        for key in kinds {
            self.kinds.remove(key);
        }
        self.order.retain(|key| self.kinds.contains_key(key));
    }

    /// The kinds by which an attempt may have lost a packet.
    pub(super) fn kinds_of<'a>(
        &'a self,
        attempt: &'a Attempt,
    ) -> impl Iterator<Item = DropKey> + 'a {
        let is_its = |key: &&DropKey| {
            has_flow(attempt, key, Lost::Opening) || has_flow(attempt, key, Lost::Reply)
        };
        self.kinds.keys().filter(is_its).copied()
    }

    /// A drop for an attempt that has none: one that was counted and not sent, since its first
    /// packet, and behind the same place.
    pub(super) fn claim(&mut self, attempt: &Attempt, since: SystemTime) -> Option<OwnDrop> {
        let lost = match attempt.reply {
            None => Lost::Opening,
            Some(Reply::Answer(_)) => Lost::Reply,
            Some(_) => return None,
        };
        attempt
            .deciding_drop(Outcome::Unanswered)
            .is_none()
            .then_some(())?;
        let behind = last_step(attempt, lost).map(|step| &step.place);
        let mut kinds = self.kinds.iter_mut();
        kinds.find_map(|(key, kind)| {
            let seen = kind.seen.as_ref().filter(|seen| seen.drop.lost == lost)?;
            (seen.behind.as_ref() == behind && has_flow(attempt, key, lost)).then_some(())?;
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

/// Whether such a packet of the attempt had the flow of the kind, at some hop.
fn has_flow(attempt: &Attempt, key: &DropKey, lost: Lost) -> bool {
    let hops = match lost {
        Lost::Opening => &attempt.hops,
        Lost::Reply | Lost::Later => &attempt.reply_hops,
    };
    hops.iter().any(|hop| hop.flow == key.flow)
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
