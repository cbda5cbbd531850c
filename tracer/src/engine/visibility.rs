//! What the probes may have missed: silence proves nothing where something was not seen.

use std::{collections::VecDeque, time::SystemTime};

use super::Nanos;
use crate::model::Span;

/// Gaps that a summary lists; a trace may run for days. Beyond that, the last one grows.
const MOST_GAPS: usize = 64;

/// Losses that are remembered one by one: one a tick, for longer than an event is held back.
const MOST_LOSSES: usize = 64;

/// What may have happened without being seen.
#[derive(Debug, Default)]
pub(super) struct Visibility {
    /// What keeps the probes from seeing everything, a sentence each.
    blind_spots: Vec<String>,
    /// Interfaces that have no probes now, in a sentence.
    unwatched: Option<String>,
    /// Since when.
    since: Option<SystemTime>,
    /// When any interface had no probes, up to now.
    gaps: Vec<Span>,
    /// Events lost so far.
    pub(super) lost: u64,
    /// The last losses: when each was known, and how many events were lost before.
    losses: VecDeque<(Nanos, u64)>,
}

impl Visibility {
    pub(super) fn new(blind_spots: Vec<String>) -> Self {
        Self {
            blind_spots,
            ..Self::default()
        }
    }

    /// Takes a loss that is known now.
    pub(super) fn lose(&mut self, events: u64, now: Nanos) {
        if self.losses.len() >= MOST_LOSSES {
            self.losses.pop_front();
        }
        self.losses.push_back((now, self.lost));
        self.lost = self.lost.saturating_add(events);
    }

    /// How many events were lost before `at`, for certain: an event may be handed in long after it
    /// happened.
    pub(super) fn lost_before(&self, at: Nanos) -> u64 {
        let later = self.losses.iter().find(|(known, _)| *known > at);
        later.map_or(self.lost, |(_, before)| *before)
    }

    /// What keeps the probes from seeing everything, a sentence each.
    pub(super) fn blind_spots(&self) -> Vec<String> {
        let all = self.blind_spots.iter().chain(&self.unwatched);
        all.cloned().collect()
    }

    /// Takes which interfaces have no probes from now on.
    pub(super) fn watched_except(&mut self, unwatched: Option<String>, now: SystemTime) {
        match (&unwatched, self.since) {
            (Some(_), None) => self.since = Some(now),
            (None, Some(_)) => self.close(now),
            _ => {}
        }
        self.unwatched = unwatched;
    }

    /// All gaps of a trace that ends now.
    pub(super) fn gaps(&mut self, now: SystemTime) -> Vec<Span> {
        self.close(now);
        std::mem::take(&mut self.gaps)
    }

    fn close(&mut self, now: SystemTime) {
        let Some(from) = self.since.take() else {
            return;
        };
        let is_full = self.gaps.len() >= MOST_GAPS;
        match self.gaps.last_mut() {
            Some(last) if is_full => last.to = now,
            _ => self.gaps.push(Span { from, to: now }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_gap_lasts_from_the_first_sentence_to_none() {
        let mut visibility = Visibility::default();
        visibility.watched_except(None, at(1));
        visibility.watched_except(Some("eth1".to_owned()), at(2));
        visibility.watched_except(Some("eth2".to_owned()), at(3));
        visibility.watched_except(None, at(4));
        visibility.watched_except(Some("eth1".to_owned()), at(6));
        let span = |from, to| Span {
            from: at(from),
            to: at(to),
        };
        assert_eq!(visibility.gaps(at(9)), [span(2, 4), span(6, 9)]);
    }

    #[test]
    fn a_loss_that_is_known_later_may_have_been_at_that_time() {
        let mut visibility = Visibility::default();
        for at in [10, 20] {
            visibility.lose(3, at);
        }
        assert_eq!(
            [5, 10, 19, 20].map(|at| visibility.lost_before(at)),
            [0, 3, 3, 6]
        );
        for at in 30..1000 {
            visibility.lose(1, at);
        }
        assert_eq!(visibility.losses.len(), MOST_LOSSES);
        assert!(visibility.lost_before(5) <= visibility.lost);
    }

    #[test]
    fn the_last_of_too_many_gaps_grows() {
        let mut visibility = Visibility::default();
        for second in 0..1000 {
            visibility.watched_except(Some("eth1".to_owned()), at(2 * second));
            visibility.watched_except(None, at(2 * second + 1));
        }
        let gaps = visibility.gaps(at(5000));
        assert_eq!(gaps.len(), MOST_GAPS);
        assert_eq!(gaps.last().map(|gap| gap.to), Some(at(1999)));
    }
}
