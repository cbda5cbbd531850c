//! What one node's trace says.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
    time::{Duration, SystemTime},
};

use super::scope::{Filter, Shown};
use crate::{
    model::{AttemptReport, DropReport, Report, Span, Started},
    words,
};

/// Attempts and drops that are kept of one trace each. What is beyond that is counted as lost: the
/// trace cannot say any more that a packet did not come.
const MOST: usize = 200_000;

/// One node's trace.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    /// The node's name.
    pub(crate) node: String,
    /// The addresses of its watched interfaces.
    pub(super) addresses: BTreeSet<IpAddr>,
    /// What its filter matches; `None` in a recording of an older version.
    pub(super) filter: Option<Filter>,
    /// Whether the probes saw all packets of all watched interfaces, but for the gaps.
    pub(super) complete: bool,
    /// From when on nothing was missed, by the node's clock.
    pub(super) start: SystemTime,
    /// Until when.
    pub(super) end: SystemTime,
    /// When an interface had no probes, or no trace ran.
    pub(super) gaps: Vec<Span>,
    /// Whether it ended in order, with a summary.
    pub(super) ended: bool,
    /// Events and records that are missing.
    pub(super) lost: u64,
    /// The attempts, each as the last record has it.
    pub(super) attempts: Vec<AttemptReport>,
    /// Between which addresses they were.
    pub(super) shown: Shown,
    /// The drops.
    pub(super) drops: Vec<DropReport>,
    /// The initial sequence numbers of attempts whose records were left out (`--max-rate`).
    pub(super) left_out: HashSet<u32>,
    /// How many attempts that were: those with no path of their own.
    left_out_attempts: u64,
    /// Where each attempt stands, by the time and number that all of its records share.
    known: HashMap<(SystemTime, Option<u32>, Option<u16>), usize>,
    /// The number of the latest record.
    number: Option<u64>,
}

impl Trace {
    /// A trace that begins.
    pub(crate) fn new(started: Started, name_if_it_has_none: &str) -> Self {
        let node = started.node.filter(|name| !name.is_empty());
        Self {
            node: node.unwrap_or_else(|| name_if_it_has_none.to_owned()),
            addresses: started.addresses.into_iter().collect(),
            filter: started.scope.as_ref().and_then(Filter::of),
            complete: started.complete,
            start: started.ts,
            end: started.ts,
            gaps: Vec::new(),
            ended: false,
            lost: 0,
            attempts: Vec::new(),
            shown: Shown::default(),
            drops: Vec::new(),
            left_out: HashSet::new(),
            left_out_attempts: 0,
            known: HashMap::new(),
            number: None,
        }
    }

    /// Takes the number of its next record. One that was left out may be that of the missing packet.
    pub(crate) fn number(&mut self, number: Option<u64>) {
        if let (Some(before), Some(number)) = (self.number, number) {
            self.miss(number.saturating_sub(before).saturating_sub(1));
        }
        self.number = number.or(self.number);
    }

    /// Takes the number of a line that is no known record. It may be that of the missing packet.
    pub(crate) fn skip(&mut self, number: Option<u64>) {
        // In a numbered trace, one whose number cannot be read leaves a gap, which counts it.
        if number.is_some() || self.number.is_none() {
            self.miss(1);
        }
        self.number(number);
    }

    /// Counts what is missing in it.
    fn miss(&mut self, records: u64) {
        self.lost = self.lost.saturating_add(records);
    }

    /// Takes its next record.
    pub(crate) fn take(&mut self, report: Report) {
        match report {
            Report::Started(started) => self.again(*started),
            Report::Attempt(attempt) => {
                self.reach(attempt.ts + Duration::from_millis(attempt.waited_ms));
                self.attempt(*attempt);
            }
            Report::Drop(drop) => {
                self.reach(drop.ts);
                if drop.corrects.is_some() {
                    let same = |known: &DropReport| known.flow == drop.flow && known.ts == drop.ts;
                    self.drops.retain(|known| !same(known));
                }
                if self.drops.len() < MOST {
                    self.drops.push(*drop);
                } else {
                    self.miss(1);
                }
            }
            Report::More(more) => {
                self.reach(more.ts);
                let room = MOST.saturating_sub(self.left_out.len());
                let known = more.isns.len().min(room);
                self.left_out.extend(&more.isns[..known]);
                if more.outcome.is_some() {
                    self.left_out_attempts = self.left_out_attempts.saturating_add(more.count);
                }
                // It is not known of the others which attempts they were.
                self.miss(more.records.saturating_sub(known as u64));
            }
            Report::Lost(lost) => {
                self.reach(lost.ts);
                self.miss(lost.events);
            }
            Report::Summary(summary) => {
                self.ended = true;
                // What no table had room for may have been the packet that is missing.
                self.lost = self.lost.max(summary.lost);
                self.miss(summary.untracked);
                self.gaps.extend(summary.unwatched);
                // At the start, the cluster may not have answered yet.
                if let Some(name) = summary.node.filter(|name| !name.is_empty()) {
                    self.node = name;
                }
                if let Some(end) = summary.ts {
                    self.reach(end);
                }
            }
            Report::Tick(tick) => {
                self.reach(tick.ts);
                self.lost = self.lost.max(tick.lost);
            }
            Report::Path(_) | Report::Plan(_) | Report::Layer(_) => {}
        }
    }

    /// What it does not show of the node's attempts, in a sentence.
    pub(crate) fn without_path(&self) -> Option<String> {
        (self.left_out_attempts > 0).then(|| {
            format!(
                "{} counted {} in `more` records: none of them is a path here. A trace with \
                 `--max-rate 0` has them all",
                self.node,
                words::count(self.left_out_attempts, "attempt"),
            )
        })
    }

    /// Another trace of the node, appended to the same file.
    fn again(&mut self, started: Started) {
        self.gaps.push(Span {
            from: self.end,
            to: started.ts,
        });
        self.complete &= started.complete;
        if self.filter != started.scope.as_ref().and_then(Filter::of) {
            self.filter = None;
        }
        self.addresses.extend(started.addresses);
        self.ended = false;
        self.number = None;
        self.reach(started.ts);
    }

    /// Whether it was watching everything in all of this time, by its own clock.
    pub(super) fn covers(&self, time: Span) -> bool {
        let is_gap = |gap: &Span| gap.from <= time.to && time.from <= gap.to;
        self.start <= time.from && time.to <= self.end && !self.gaps.iter().any(is_gap)
    }

    fn reach(&mut self, time: SystemTime) {
        self.end = self.end.max(time);
    }

    /// A later record of an attempt corrects the earlier one.
    fn attempt(&mut self, attempt: AttemptReport) {
        let id = attempt.dns.as_ref().and_then(|dns| dns.id);
        let key = (attempt.ts, attempt.isn, id);
        if let Some(place) = self.known.get(&key) {
            self.shown.add(&attempt);
            self.attempts[*place] = attempt;
        } else if self.attempts.len() < MOST {
            self.shown.add(&attempt);
            self.known.insert(key, self.attempts.len());
            self.attempts.push(attempt);
        } else {
            self.miss(1);
        }
    }
}
