//! Alike drops become one record, and none is lost in it.
//!
//! The first drop of a kind is shown at once. What follows within a second is shown as one record
//! with a count at the second's end. The count is not that of the events that came through: it is
//! how far the kernel's exact count has moved since the last record. So the counts of all records of
//! a kind always add up to the kernel's count, whatever the ring buffer lost.

use std::{collections::HashMap, rc::Rc};

use tracer_common::event::DropKey;

use super::judge::TrackedDrop;
use crate::{
    decode::drop::DropKind,
    engine::{Nanos, SECOND},
};

/// How long alike drops are gathered.
const WINDOW: Nanos = SECOND;
/// After how long without a drop a kind may be evicted. A TCP sender tries again after 1, 3 and 7
/// seconds; what comes later is shown as new, which it is to a reader.
const IDLE: Nanos = 5 * SECOND;

/// What was shown of each kind of drop. As many as the kernel's map can hold.
#[derive(Debug, Default)]
pub(crate) struct Folds {
    kinds: HashMap<DropKey, Kind>,
}

#[derive(Debug, Default)]
struct Kind {
    /// How much of the kernel's count the records so far stand for.
    reported: u64,
    /// When the current second ends; `None` between two of them.
    until: Option<Nanos>,
    /// The first drop in the current second that was not shown yet.
    waiting: Option<Rc<TrackedDrop>>,
    /// When a record was last made of it.
    last_record: Option<Nanos>,
}

/// A record to be: a drop, and how many alike ones it stands for.
#[derive(Debug)]
pub(crate) struct Folded {
    /// The first of them.
    pub(crate) drop: Rc<TrackedDrop>,
    /// How many.
    pub(crate) count: u64,
}

impl Folds {
    /// Takes one drop, and the kernel's exact count at it. Returns how many drops a record is to
    /// stand for if this drop is the first of its kind for a while.
    pub(crate) fn add(&mut self, drop: &Rc<TrackedDrop>, count: u64, now: Nanos) -> Option<u64> {
        let kind = self.kinds.entry(drop.facts.key).or_default();
        if kind.until.is_some() {
            kind.waiting.get_or_insert_with(|| Rc::clone(drop));
            return None;
        }
        kind.until = Some(now.saturating_add(WINDOW));
        kind.report(count, now)
    }

    /// How many kinds are remembered.
    pub(crate) fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Kinds of which there was no drop for a while, each with how many were reported. Where there is
    /// little room, those of a single drop go as soon as their second is over.
    pub(crate) fn idle(&self, now: Nanos, is_crowded: bool) -> Vec<(DropKey, u64)> {
        let is_idle = |kind: &Kind| {
            let after = match kind.reported {
                1 if is_crowded => WINDOW,
                _ => IDLE,
            };
            let long_ago = |at| now.saturating_sub(at) >= after;
            kind.until.is_none() && kind.waiting.is_none() && kind.last_record.is_some_and(long_ago)
        };
        self.kinds
            .iter()
            .filter(|(_, kind)| is_idle(kind))
            .map(|(key, kind)| (*key, kind.reported))
            .collect()
    }

    /// Forgets a kind whose count the kernel has evicted.
    pub(crate) fn forget(&mut self, key: &DropKey) {
        self.kinds.remove(key);
    }

    /// Ends the seconds that are over. Returns the kinds whose exact counts are needed to report
    /// what was gathered: they are due until [`Folds::counted`].
    pub(crate) fn due(&mut self, now: Nanos) -> Vec<DropKey> {
        let mut due = Vec::new();
        for (key, kind) in &mut self.kinds {
            if kind.until.is_none_or(|until| until > now) {
                continue;
            }
            match kind.waiting {
                Some(_) => due.push(*key),
                None => kind.until = None,
            }
        }
        due
    }

    /// Takes the kernel's counts of kinds that are due, and begins their next second.
    pub(crate) fn counted(&mut self, exact: &[(DropKey, u64)], now: Nanos) -> Vec<Folded> {
        let mut folded = Vec::new();
        for (key, count) in exact {
            // Others ask for counts, too.
            if let Some(kind) = self.kinds.get_mut(key)
                && kind.until.is_some_and(|until| until <= now)
                && let Some(drop) = kind.waiting.take()
            {
                kind.until = Some(now.saturating_add(WINDOW));
                folded.extend(kind.report(*count, now).map(|count| Folded { drop, count }));
            }
        }
        in_order(folded)
    }

    /// Accounts for what no event has shown: `exact` is the kernel's count of every kind, and
    /// `describe` makes a drop of which nothing but its kind is known.
    pub(crate) fn reconcile(
        &mut self,
        exact: Vec<(DropKind, u64)>,
        now: Nanos,
        mut describe: impl FnMut(DropKind) -> TrackedDrop,
    ) -> Vec<Folded> {
        let mut folded = Vec::new();
        for (of, count) in exact {
            let kind = self.kinds.entry(of.key).or_default();
            if count > kind.reported {
                let drop = kind.waiting.take();
                let drop = drop.unwrap_or_else(|| Rc::new(describe(of)));
                folded.extend(kind.report(count, now).map(|count| Folded { drop, count }));
            }
        }
        in_order(folded)
    }
}

fn in_order(mut folded: Vec<Folded>) -> Vec<Folded> {
    folded.sort_by_key(|folded| folded.drop.facts.at);
    folded
}

impl Kind {
    fn report(&mut self, exact: u64, now: Nanos) -> Option<u64> {
        self.last_record = Some(now);
        // An event that was read late may carry a count which a record already stands for.
        let count = exact
            .checked_sub(self.reported)
            .filter(|count| *count > 0)?;
        self.reported = exact;
        Some(count)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::engine::drops::judge::Judge;

    fn kind(reason: u32) -> DropKind {
        let key = DropKey {
            reason,
            ..DropKey::default()
        };
        DropKind {
            key,
            reason: reason.to_string().into(),
            function: None,
        }
    }

    fn described(kind: DropKind) -> TrackedDrop {
        Judge::default().track(kind.facts(SystemTime::UNIX_EPOCH))
    }

    fn drop(reason: u32) -> Rc<TrackedDrop> {
        Rc::new(described(kind(reason)))
    }

    fn counts(folded: &[Folded]) -> Vec<u64> {
        folded.iter().map(|folded| folded.count).collect()
    }

    #[test]
    fn the_first_is_shown_at_once_and_the_rest_once_a_second() {
        let mut folds = Folds::default();
        assert_eq!(folds.add(&drop(1), 1, 0), Some(1));
        assert_eq!(folds.add(&drop(1), 2, 0), None);
        assert_eq!(folds.add(&drop(1), 3, 0), None);
        assert!(folds.due(0).is_empty());
        assert_eq!(folds.due(WINDOW), [kind(1).key]);
        // 500 more came without an event.
        let folded = folds.counted(&[(kind(1).key, 503)], WINDOW);
        assert_eq!(counts(&folded), [502]);
        assert!(folds.due(2 * WINDOW).is_empty());
        assert_eq!(folds.add(&drop(1), 504, 3 * WINDOW), Some(1));
    }

    #[test]
    fn what_is_due_stays_due_until_it_was_counted() {
        let mut folds = Folds::default();
        folds.add(&drop(1), 1, 0);
        folds.add(&drop(1), 2, 0);
        assert_eq!(folds.due(WINDOW), folds.due(WINDOW));
        assert!(folds.idle(WINDOW + IDLE, true).is_empty());
    }

    #[test]
    fn kinds_do_not_hide_each_other() {
        let mut folds = Folds::default();
        assert!(folds.add(&drop(1), 1, 0).is_some());
        assert!(folds.add(&drop(2), 1, 0).is_some());
    }

    #[test]
    fn all_records_of_a_kind_add_up_to_the_kernels_count() {
        let mut folds = Folds::default();
        let mut shown = folds.add(&drop(1), 1, 0).unwrap();
        assert!(folds.add(&drop(1), 2, 0).is_none());
        // The end comes within the second; the events of another kind were all lost.
        let exact = vec![(kind(1), 40), (kind(2), 2)];
        let rest = folds.reconcile(exact.clone(), 0, described);
        shown += counts(&rest).iter().sum::<u64>();
        assert_eq!(shown, 42);
        assert!(folds.reconcile(exact, 0, described).is_empty());
    }

    #[test]
    fn a_late_event_is_not_counted_twice() {
        let mut folds = Folds::default();
        let rest = folds.reconcile(vec![(kind(1), 5)], 0, described);
        assert_eq!(counts(&rest), [5]);
        assert!(folds.add(&drop(1), 3, 0).is_none());
    }

    #[test]
    fn only_idle_kinds_that_were_fully_reported_are_evicted() {
        let mut folds = Folds::default();
        assert!(folds.add(&drop(1), 1, 0).is_some());
        let later = WINDOW + IDLE;
        assert!(folds.add(&drop(2), 1, later).is_some());
        assert!(
            folds.idle(later, true).is_empty(),
            "its second has not been ended"
        );
        assert!(folds.due(later).is_empty());
        assert_eq!(folds.idle(later, false), [(kind(1).key, 1)]);
        folds.forget(&kind(1).key);
        // The kernel counts anew, and so do the records.
        assert_eq!(folds.add(&drop(1), 1, later), Some(1));
    }

    #[test]
    fn where_there_is_little_room_kinds_of_one_drop_go_first() {
        let mut folds = Folds::default();
        for (reason, count) in [(1, 1), (2, 7)] {
            assert!(folds.add(&drop(reason), count, 0).is_some());
        }
        assert!(folds.due(WINDOW).is_empty());
        assert!(folds.idle(WINDOW, false).is_empty());
        assert_eq!(folds.idle(WINDOW, true), [(kind(1).key, 1)]);
    }
}
