//! Alike drops become one record, and none is lost in it.
//!
//! The first drop of a kind is shown at once. What follows within a second is shown as one record
//! with a count at the second's end. The count is not that of the events that came through: it is
//! how far the kernel's exact count has moved since the last record. So the counts of all records of
//! a kind always add up to the kernel's count, whatever the ring buffer lost.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tracer_common::event::DropKey;

use crate::decode::drop::DropFacts;

/// How long alike drops are gathered.
pub const WINDOW: Duration = Duration::from_secs(1);
/// After how long without a drop a kind may be let go. A TCP sender tries again after 1, 3 and 7
/// seconds; what comes later is shown as new, which it is to a reader.
const IDLE: Duration = Duration::from_secs(5);

/// What was shown of each kind of drop. As many as the kernel's map can hold.
#[derive(Debug, Default)]
pub struct Folds {
    kinds: HashMap<DropKey, Kind>,
}

#[derive(Debug)]
struct Kind {
    /// How much of the kernel's count the records so far stand for.
    reported: u64,
    /// When the current second ends; `None` between two of them.
    until: Option<Instant>,
    /// The first drop in the current second that was not shown yet.
    waiting: Option<Box<DropFacts>>,
    /// When a record was last made of it.
    told: Option<Instant>,
}

/// A record to be: facts, and how many drops they stand for.
#[derive(Debug)]
pub struct Folded {
    /// The facts of the first of them.
    pub facts: Box<DropFacts>,
    /// How many drops.
    pub count: u64,
}

impl Folds {
    /// Takes the facts of one event, and the kernel's exact count at it. Gives a record if the drop
    /// is the first of its kind for a while.
    pub fn add(&mut self, facts: DropFacts, count: u64, now: Instant) -> Option<Folded> {
        let facts = Box::new(facts);
        let kind = self.kinds.entry(facts.key).or_insert(Kind {
            reported: 0,
            until: None,
            waiting: None,
            told: None,
        });
        if kind.until.is_some() {
            kind.waiting.get_or_insert(facts);
            return None;
        }
        kind.until = Some(now + WINDOW);
        kind.report(facts, count, now)
    }

    /// How many kinds are remembered.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Kinds of which there was no drop for a while, each with how many were told.
    pub fn idle(&self, now: Instant) -> Vec<(DropKey, u64)> {
        let is_idle = |kind: &Kind| {
            let told = |told| now.saturating_duration_since(told) >= IDLE;
            kind.until.is_none() && kind.waiting.is_none() && kind.told.is_some_and(told)
        };
        self.kinds
            .iter()
            .filter(|(_, kind)| is_idle(kind))
            .map(|(key, kind)| (*key, kind.reported))
            .collect()
    }

    /// Forgets a kind whose count the kernel has let go.
    pub fn forget(&mut self, key: &DropKey) {
        self.kinds.remove(key);
    }

    /// When the next second ends; `None` if nothing is being gathered.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.kinds.values().filter_map(|kind| kind.until).min()
    }

    /// Ends the seconds that are over. `exact` gives the kernel's count of a kind.
    pub fn expire(&mut self, now: Instant, mut exact: impl FnMut(&DropKey) -> u64) -> Vec<Folded> {
        let mut folded = Vec::new();
        for (key, kind) in &mut self.kinds {
            if kind.until.is_none_or(|until| until > now) {
                continue;
            }
            kind.until = None;
            if let Some(facts) = kind.waiting.take() {
                kind.until = Some(now + WINDOW);
                folded.extend(kind.report(facts, exact(key), now));
            }
        }
        folded.sort_by_key(|folded| folded.facts.at);
        folded
    }

    /// Accounts for what no event has shown: `exact` are the kernel's counts of all kinds, and
    /// `describe` says what can be said from a key alone.
    pub fn reconcile(
        &mut self,
        exact: impl Iterator<Item = (DropKey, u64)>,
        now: Instant,
        mut describe: impl FnMut(&DropKey) -> DropFacts,
    ) -> Vec<Folded> {
        let mut folded = Vec::new();
        for (key, count) in exact {
            let kind = self.kinds.entry(key).or_insert(Kind {
                reported: 0,
                until: None,
                waiting: None,
                told: None,
            });
            if count > kind.reported {
                let facts = kind
                    .waiting
                    .take()
                    .unwrap_or_else(|| Box::new(describe(&key)));
                folded.extend(kind.report(facts, count, now));
            }
        }
        folded.sort_by_key(|folded| folded.facts.at);
        folded
    }
}

impl Kind {
    fn report(&mut self, facts: Box<DropFacts>, exact: u64, now: Instant) -> Option<Folded> {
        self.told = Some(now);
        // An event that was read late may carry a count which a record already stands for.
        let count = exact
            .checked_sub(self.reported)
            .filter(|count| *count > 0)?;
        self.reported = exact;
        Some(Folded { facts, count })
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tracer_common::tuple::Tuple;

    use super::*;
    use crate::{decode::drop::Decoder, kernel::clock::Clock};

    fn facts(reason: u32) -> DropFacts {
        let key = DropKey {
            flow: Tuple::default(),
            location: 1,
            reason,
            netns: 1,
            ifindex: 1,
            tcp_flags: 0,
            has_payload: 0,
            icmp_type: 0,
            reserved: 0,
        };
        Decoder::new(Default::default(), Default::default(), Clock::now())
            .key(&key, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn the_first_is_shown_at_once_and_the_rest_once_a_second() {
        let (mut folds, start) = (Folds::default(), Instant::now());
        assert_eq!(folds.add(facts(1), 1, start).unwrap().count, 1);
        assert!(folds.add(facts(1), 2, start).is_none());
        assert!(folds.add(facts(1), 3, start).is_none());
        assert!(folds.expire(start, |_| 3).is_empty());
        // 500 more came without an event.
        let folded = folds.expire(start + WINDOW, |_| 503);
        assert_eq!(
            folded.iter().map(|folded| folded.count).collect::<Vec<_>>(),
            [502]
        );
        assert!(folds.expire(start + 2 * WINDOW, |_| 503).is_empty());
        assert_eq!(folds.next_deadline(), None);
        assert_eq!(
            folds.add(facts(1), 504, start + 3 * WINDOW).unwrap().count,
            1
        );
    }

    #[test]
    fn kinds_do_not_hide_each_other() {
        let (mut folds, start) = (Folds::default(), Instant::now());
        assert!(folds.add(facts(1), 1, start).is_some());
        assert!(folds.add(facts(2), 1, start).is_some());
    }

    #[test]
    fn all_records_of_a_kind_add_up_to_the_kernels_count() {
        let (mut folds, start) = (Folds::default(), Instant::now());
        let mut shown = folds.add(facts(1), 1, start).unwrap().count;
        assert!(folds.add(facts(1), 2, start).is_none());
        // The end comes within the second; the events of another kind were all lost.
        let exact = [(facts(1).key, 40), (facts(2).key, 2)];
        let rest = folds.reconcile(exact.into_iter(), start, |key| facts(key.reason));
        shown += rest.iter().map(|folded| folded.count).sum::<u64>();
        assert_eq!(shown, 42);
        assert!(
            folds
                .reconcile(exact.into_iter(), start, |key| facts(key.reason))
                .is_empty()
        );
    }

    #[test]
    fn a_late_event_is_not_counted_twice() {
        let (mut folds, start) = (Folds::default(), Instant::now());
        let key = facts(1).key;
        assert_eq!(
            folds
                .reconcile([(key, 5)].into_iter(), start, |_| facts(1))
                .len(),
            1
        );
        assert!(folds.add(facts(1), 3, start).is_none());
    }

    #[test]
    fn only_what_has_long_been_told_is_let_go() {
        let (mut folds, start) = (Folds::default(), Instant::now());
        assert!(folds.add(facts(1), 1, start).is_some());
        let later = start + WINDOW + IDLE;
        assert!(folds.add(facts(2), 1, later).is_some());
        assert!(
            folds.idle(later).is_empty(),
            "its second has not been ended"
        );
        assert!(folds.expire(later, |_| 1).is_empty());
        let idle: Vec<_> = folds
            .idle(later)
            .iter()
            .map(|(key, told)| (key.reason, *told))
            .collect();
        assert_eq!(idle, [(1, 1)]);
        folds.forget(&facts(1).key);
        // The kernel counts anew, and so do the records.
        assert_eq!(folds.add(facts(1), 1, later).unwrap().count, 1);
    }
}
