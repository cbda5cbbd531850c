//! Which records are shown in a flood: a bounded number a second. The others are counted, and reported
//! once a second as so many more of their kind.
//!
//! Half of a second's records go to the first ones that come. The rest is for records of a new kind, and
//! for networks that have few: a flood cannot starve them.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    time::SystemTime,
};

use tracer_common::tuple::Tuple;

use super::{
    Nanos, SECOND,
    networks::{Networks, Rank},
};
use crate::model::{AttemptReport, Cause, DropReport, Flow, More, Outcome, Verdict};

/// Kinds that are remembered, and kinds that are counted apart within a second.
const KINDS: usize = 1024;
/// Most source addresses that are counted separately within a second.
const SOURCES: usize = 4096;
/// Most initial sequence numbers that are kept of all kinds, until they are reported.
const ISNS: usize = 4096;

/// Decides about each record.
#[derive(Debug)]
pub(super) struct Excess {
    /// Records in a second; `None` for all of them.
    limit: Option<u64>,
    /// When the current second began, and what was shown in it.
    second: Nanos,
    shown: Shown,
    known: HashSet<Kind>,
    networks: Networks,
    folded: HashMap<Kind, Folded>,
    /// The initial sequence numbers in these.
    isns: usize,
    total: u64,
    /// The dropped packets that they stand for.
    packets: u64,
}

#[derive(Debug, Default)]
struct Shown {
    first_come: u64,
    of_new_kind: u64,
    of_quiet: u64,
}

/// What alike records have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    /// That of an attempt; `None` for a drop.
    outcome: Option<Outcome>,
    cause: Option<Cause>,
}

/// Alike records that were not shown.
#[derive(Debug)]
struct Folded {
    since: Nanos,
    more: More,
    sources: HashSet<IpAddr>,
}

impl Excess {
    pub(super) fn new(limit: Option<u64>) -> Self {
        Self {
            limit,
            second: 0,
            shown: Shown::default(),
            known: HashSet::new(),
            networks: Networks::default(),
            folded: HashMap::new(),
            isns: 0,
            total: 0,
            packets: 0,
        }
    }

    /// Whether to show a drop. If not, it is counted.
    pub(super) fn shows_drop(&mut self, drop: &DropReport, at: SystemTime, now: Nanos) -> bool {
        let kind = Kind {
            outcome: None,
            cause: Some(drop.verdict.cause()),
        };
        let is_shown = self.shows(&kind, &drop.flow, drop.corrects.is_some(), now);
        if !is_shown {
            self.packets += drop.count;
            let verdict = Some(&drop.verdict);
            self.fold(kind, (drop.flow.src, drop.count, None), verdict, at, now);
        }
        is_shown
    }

    /// Whether to show an attempt. If not, it is counted.
    pub(super) fn shows_attempt(
        &mut self,
        attempt: &AttemptReport,
        at: SystemTime,
        now: Nanos,
    ) -> bool {
        let verdict = attempt.verdict.as_ref();
        let kind = Kind {
            outcome: Some(attempt.outcome),
            cause: verdict.map(Verdict::cause),
        };
        let corrects = attempt.corrects.is_some();
        let is_shown = self.shows(&kind, &attempt.flow, corrects, now);
        if !is_shown {
            self.fold(kind, (attempt.flow.src, 1, attempt.isn), verdict, at, now);
        }
        is_shown
    }

    /// What was counted for a second; at the end, all that is left.
    pub(super) fn due(&mut self, now: Nanos, is_end: bool) -> Vec<More> {
        let is_due = |folded: &Folded| is_end || now.saturating_sub(folded.since) >= SECOND;
        let due = self.folded.extract_if(|_, folded| is_due(folded));
        let mut due: Vec<_> = due.map(|(_, folded)| folded.more).collect();
        self.isns -= due.iter().map(|more| more.isns.len()).sum::<usize>();
        due.sort_by_key(|more| (std::cmp::Reverse(more.records), more.outcome));
        due
    }

    /// Records that were not shown.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The dropped packets that they stand for.
    pub(super) fn packets(&self) -> u64 {
        self.packets
    }

    fn shows(&mut self, kind: &Kind, flow: &Flow, corrects: bool, now: Nanos) -> bool {
        let Some(limit) = self.limit else {
            return true;
        };
        if now.saturating_sub(self.second) >= SECOND {
            self.second = now;
            self.shown = Shown::default();
        }
        let tuple = Tuple {
            src: flow.src.into(),
            dst: flow.dst.into(),
            ..Tuple::default()
        };
        let rank = self.networks.count(&tuple, now);
        let is_new = !self.known.contains(kind);
        if is_new && self.known.len() < KINDS {
            self.known.insert(kind.clone());
        }
        let reserve = limit / 4;
        let Shown {
            first_come,
            of_new_kind,
            of_quiet,
        } = &mut self.shown;
        if *first_come + 2 * reserve < limit {
            *first_come += 1;
        } else if (is_new || corrects) && *of_new_kind < reserve {
            *of_new_kind += 1;
        } else if rank == Rank::Quiet && *of_quiet < reserve / 2
            || rank == Rank::Rare && *of_quiet < reserve
        {
            *of_quiet += 1;
        } else {
            return false;
        }
        true
    }

    fn fold(
        &mut self,
        kind: Kind,
        (source, count, isn): (IpAddr, u64, Option<u32>),
        verdict: Option<&Verdict>,
        at: SystemTime,
        now: Nanos,
    ) {
        self.total += 1;
        let is_full = self.folded.len() >= KINDS && !self.folded.contains_key(&kind);
        let (kind, verdict) = match is_full {
            true => (
                Kind {
                    cause: None,
                    ..kind
                },
                None,
            ),
            false => (kind, verdict),
        };
        let outcome = kind.outcome;
        let folded = self.folded.entry(kind).or_insert_with(|| Folded {
            since: now,
            more: More {
                ts: at,
                outcome,
                records: 0,
                count: 0,
                sources: 0,
                point: verdict.map(|verdict| verdict.point),
                rule: verdict.and_then(|verdict| verdict.rule.clone()),
                why: verdict.map(|verdict| verdict.why.clone()),
                isns: Vec::new(),
            },
            sources: HashSet::new(),
        });
        folded.more.records += 1;
        folded.more.count = folded.more.count.saturating_add(count);
        if let Some(isn) = isn.filter(|_| self.isns < ISNS) {
            folded.more.isns.push(isn);
            self.isns += 1;
        }
        if folded.sources.len() < SOURCES && folded.sources.insert(source) {
            folded.more.sources += 1;
        }
    }
}

#[cfg(test)]
mod tests;
