//! How the clocks of two nodes compare.
//!
//! A packet takes some time from one node to the other. So each SYN that both saw is an upper bound
//! of how far the second clock is ahead, and each answer a lower one. The true offset lies between;
//! half of what is between them is the uncertainty, as in NTP (RFC 5905, section 8).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Leg, matching::Sight, micros, micros_since};
use crate::model::AttemptReport;

/// Where packets of one direction only were seen at both: up to this long a packet may have been on
/// the wire, and clocks that agree so far are taken to be right. Microseconds.
const PLAUSIBLE_DELAY: i64 = 1_000_000;

/// How far a clock is ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Estimate {
    /// Microseconds.
    pub(super) offset: i64,
    /// How far off that may be, in microseconds; `None` where that has no bound.
    pub(super) uncertainty: Option<u64>,
}

/// What is known of how far the second clock of a pair is ahead of the first, in microseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Bounds {
    lower: Option<i64>,
    upper: Option<i64>,
}

/// All pairs of nodes that saw the same packets.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    pairs: BTreeMap<(usize, usize), Bounds>,
}

impl Clocks {
    /// Compares them by all packets that two nodes saw.
    pub(super) fn compare(groups: &[Vec<Sight<'_>>]) -> Self {
        let mut clocks = Self::default();
        for sights in groups {
            for pair in sights.windows(2) {
                let [from, to] = pair else {
                    continue;
                };
                let (Some(first), Some(second)) = (from.attempt, to.attempt) else {
                    continue;
                };
                if Leg::There.crosses(first, second) {
                    let upper = travel(Leg::There, first, second);
                    clocks.bound(from.node, to.node, None, upper);
                }
                if Leg::Back.crosses(second, first) {
                    let lower = travel(Leg::Back, second, first).map(|it| -it);
                    clocks.bound(from.node, to.node, lower, None);
                }
            }
        }
        clocks
    }

    fn bound(&mut self, from: usize, to: usize, lower: Option<i64>, upper: Option<i64>) {
        // Each pair is kept in one direction.
        let (key, lower, upper) = if from < to {
            ((from, to), lower, upper)
        } else {
            ((to, from), upper.map(|it| -it), lower.map(|it| -it))
        };
        let bounds = self.pairs.entry(key).or_default();
        bounds.lower = bounds.lower.max(lower);
        bounds.upper = match (bounds.upper, upper) {
            (Some(known), Some(new)) => Some(known.min(new)),
            (known, new) => known.or(new),
        };
    }

    /// How far the clock of `node` is ahead of that of `reference`; through other nodes where these
    /// two saw no packet in common. `None` where there is no such chain.
    pub(super) fn offset(&self, reference: usize, node: usize) -> Option<Estimate> {
        let mut queue = VecDeque::from([(
            reference,
            Estimate {
                offset: 0,
                uncertainty: Some(0),
            },
        )]);
        let mut seen = BTreeSet::from([reference]);
        while let Some((at, so_far)) = queue.pop_front() {
            if at == node {
                return Some(so_far);
            }
            for (&(a, b), bounds) in &self.pairs {
                let (next, step) = match () {
                    () if a == at => (b, bounds.estimate()),
                    () if b == at => (a, bounds.estimate().map(Estimate::reversed)),
                    () => continue,
                };
                if let Some(step) = step
                    && seen.insert(next)
                {
                    queue.push_back((next, so_far.plus(step)));
                }
            }
        }
        None
    }
}

impl Bounds {
    fn estimate(self) -> Option<Estimate> {
        match (self.lower, self.upper) {
            (Some(lower), Some(upper)) => Some(Estimate {
                offset: lower.midpoint(upper),
                // Clocks that drift apart can turn the bounds around.
                uncertainty: Some(upper.abs_diff(lower).div_ceil(2)),
            }),
            (None, Some(upper)) => Some(Estimate::one_sided(upper, 0..=PLAUSIBLE_DELAY)),
            (Some(lower), None) => Some(Estimate::one_sided(lower, -PLAUSIBLE_DELAY..=0)),
            (None, None) => None,
        }
    }
}

impl Estimate {
    fn one_sided(bound: i64, plausible: std::ops::RangeInclusive<i64>) -> Self {
        let agrees = plausible.contains(&bound);
        Self {
            offset: if agrees { 0 } else { bound },
            uncertainty: None,
        }
    }

    fn reversed(self) -> Self {
        Self {
            offset: -self.offset,
            ..self
        }
    }

    fn plus(self, step: Self) -> Self {
        Self {
            offset: self.offset.saturating_add(step.offset),
            uncertainty: self
                .uncertainty
                .zip(step.uncertainty)
                .map(|(one, other)| one.saturating_add(other)),
        }
    }
}

/// How much later, by its own clock, the second node saw what had left the first, in microseconds.
fn travel(leg: Leg, from: &AttemptReport, to: &AttemptReport) -> Option<i64> {
    let (left, came) = (leg.hops(from).last()?, leg.hops(to).first()?);
    let between_hops = micros(came.at_us).saturating_sub(micros(left.at_us));
    Some(micros_since(to.ts, from.ts).saturating_add(between_hops))
}
