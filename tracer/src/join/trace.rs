//! What one node's trace says.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    time::{Duration, SystemTime},
};

use crate::model::{AttemptReport, DropReport, Report, Scope, Started};

/// Attempts and drops that are kept of one trace each. What is beyond that is counted as lost: the
/// trace cannot say any more that a packet did not come.
const MOST: usize = 200_000;

/// One node's trace.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    /// The node's name.
    pub(crate) node: String,
    /// The addresses of its watched interfaces.
    pub(crate) addresses: BTreeSet<IpAddr>,
    /// What its filter matches.
    pub(crate) scope: Option<Scope>,
    /// Whether every interface of the watched namespaces had probes.
    pub(crate) complete: bool,
    /// From when on nothing was missed, by the node's clock.
    pub(crate) start: SystemTime,
    /// Until when.
    pub(crate) end: SystemTime,
    /// Whether it ended in order, with a summary.
    pub(crate) ended: bool,
    /// Events that it lost.
    pub(crate) lost: u64,
    /// The attempts, each as the last record has it.
    pub(crate) attempts: Vec<AttemptReport>,
    /// The drops.
    pub(crate) drops: Vec<DropReport>,
    /// Where each attempt stands, by the time and number that all of its records share.
    known: HashMap<(SystemTime, Option<u32>, Option<u16>), usize>,
}

impl Trace {
    /// A trace that begins.
    pub(crate) fn new(started: Started, name_if_it_has_none: &str) -> Self {
        let node = started.node.filter(|name| !name.is_empty());
        Self {
            node: node.unwrap_or_else(|| name_if_it_has_none.to_owned()),
            addresses: started.addresses.into_iter().collect(),
            scope: started.scope,
            complete: started.complete,
            start: started.ts,
            end: started.ts,
            ended: false,
            lost: 0,
            attempts: Vec::new(),
            drops: Vec::new(),
            known: HashMap::new(),
        }
    }

    /// Takes its next record.
    pub(crate) fn take(&mut self, report: Report) {
        match report {
            Report::Attempt(attempt) => {
                self.reach(attempt.ts + Duration::from_millis(attempt.waited_ms));
                self.attempt(*attempt);
            }
            Report::Drop(drop) => {
                self.reach(drop.ts);
                if self.drops.len() < MOST {
                    self.drops.push(*drop);
                } else {
                    self.lost += 1;
                }
            }
            Report::Lost(lost) => {
                self.reach(lost.ts);
                self.lost += lost.events;
            }
            Report::Summary(summary) => {
                self.ended = true;
                // What no table had room for may have been the packet that is missing.
                self.lost = self.lost.max(summary.lost) + summary.untracked;
                if let Some(end) = summary.ts {
                    self.reach(end);
                }
            }
            Report::Started(_) | Report::Path(_) => {}
        }
    }

    fn reach(&mut self, time: SystemTime) {
        self.end = self.end.max(time);
    }

    /// A later record of an attempt corrects the earlier one.
    fn attempt(&mut self, attempt: AttemptReport) {
        let id = attempt.dns.as_ref().and_then(|dns| dns.id);
        let key = (attempt.ts, attempt.isn, id);
        if let Some(place) = self.known.get(&key) {
            self.attempts[*place] = attempt;
        } else if self.attempts.len() < MOST {
            self.known.insert(key, self.attempts.len());
            self.attempts.push(attempt);
        } else {
            self.lost += 1;
        }
    }
}
