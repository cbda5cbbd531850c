//! Drops that were reported while the netfilter rules of their namespace were still being read.
//!
//! A ruleset can take longer to read than a record should wait. So the record comes without the rule, and
//! is corrected when it is known. The node is asked once for several of them, so that one thread reads at
//! a time, however many flows there are.

use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    sync::Arc,
};

use super::{
    DropVerdict, Drops,
    judge::{Judge, TrackedDrop},
    report::report,
};
use crate::{
    engine::{Nanos, SECOND, knowledge::Context, queries::Purpose},
    node::{
        facts::{NodeFacts, Wants},
        gather::Fact,
        query::Query,
    },
    verdict,
};

/// Drops that are kept; more than these are not corrected.
const MOST: usize = 1024;
/// As many are asked about at once. Their records share a second's room with others.
const BATCH: usize = 32;
/// The least time from one question to the next about the same namespace.
const PAUSE: Nanos = SECOND;

/// A drop that was judged without the rules.
#[derive(Debug)]
pub(crate) struct LateDrop {
    pub(super) drop: Rc<TrackedDrop>,
    /// How many drops its record stands for, if it is one of a record.
    pub(super) count: Option<u64>,
    /// Whether its attempt has the verdict.
    pub(super) for_attempt: bool,
}

/// Those of one namespace.
#[derive(Debug, Default)]
struct Namespace {
    waiting: VecDeque<LateDrop>,
    asked: Vec<LateDrop>,
    asked_at: Option<Nanos>,
    /// What nf_tables called its rules when the first of them was dropped.
    generation: Option<u32>,
}

/// All of them, by the inode number of their namespace.
#[derive(Debug, Default)]
pub(super) struct LateDrops {
    namespaces: BTreeMap<u32, Namespace>,
    kept: usize,
}

impl LateDrops {
    /// Whether the rules of a namespace are known to take long, and are being read.
    pub(super) fn awaits(&self, netns: Option<u32>) -> bool {
        netns.is_some_and(|netns| self.namespaces.contains_key(&netns))
    }

    /// Keeps a drop that was judged without its rules, by these facts, if that is of use to anything.
    pub(super) fn judged(&mut self, late: LateDrop, facts: Option<&NodeFacts>) {
        let netns = late.drop.facts.netns;
        let lacks_rules = match facts {
            Some(facts) => facts.lacks_rules,
            None => self.awaits(netns) && Judge::all_wants(&late.drop).0.contains(&Fact::Ruleset),
        };
        let is_of_use = (late.count.is_some() || late.for_attempt) && !late.drop.is_confirmed();
        let Some(netns) = netns.filter(|_| lacks_rules && is_of_use && self.kept < MOST) else {
            return;
        };
        let generation = facts.and_then(|facts| facts.generation);
        let here = self.namespaces.entry(netns).or_insert_with(|| Namespace {
            generation,
            ..Namespace::default()
        });
        here.waiting.push_back(late);
        self.kept += 1;
    }

    /// Asks about those that wait.
    pub(super) fn ask(&mut self, cx: &mut Context<'_>) {
        for (netns, here) in &mut self.namespaces {
            let is_early = |asked| cx.now.saturating_sub(asked) < PAUSE;
            if !here.asked.is_empty() || here.asked_at.is_some_and(is_early) {
                continue;
            }
            here.asked_at = Some(cx.now);
            here.asked = here
                .waiting
                .drain(..here.waiting.len().min(BATCH))
                .collect();
            let drops = here.asked.iter().map(|late| {
                let wants = Judge::all_wants(&late.drop);
                (Arc::clone(&late.drop.facts), wants)
            });
            let drops: Vec<(_, Wants)> = drops.collect();
            let generation = here.generation;
            cx.ask(Purpose::Rules(*netns), Query::Rules { drops, generation });
        }
    }

    /// Takes the answer about a namespace. Returns the drops that have one.
    pub(super) fn answered(
        &mut self,
        netns: u32,
        facts: Vec<NodeFacts>,
    ) -> Vec<(LateDrop, NodeFacts)> {
        let Some(here) = self.namespaces.get_mut(&netns) else {
            return Vec::new();
        };
        let asked = std::mem::take(&mut here.asked);
        self.kept -= asked.len();
        if here.waiting.is_empty() {
            self.namespaces.remove(&netns);
        }
        let known = |(_, facts): &(_, NodeFacts)| !facts.lacks_rules;
        asked.into_iter().zip(facts).filter(known).collect()
    }
}

impl Drops {
    /// Takes what the node says of drops of a namespace that were judged without its rules. Corrects
    /// their records, and returns the new verdicts for their attempts.
    pub(crate) fn corrected(
        &mut self,
        netns: u32,
        facts: Vec<NodeFacts>,
        cx: &mut Context<'_>,
    ) -> Vec<DropVerdict> {
        let mut wanted = Vec::new();
        for (late, facts) in self.late.answered(netns, facts) {
            let Some((drop, before)) = self.judge.again(&late.drop, &facts, cx) else {
                continue;
            };
            let judged = self.judge.conclude(&drop, Some(&facts), cx);
            if let Some(count) = late.count {
                let report = report(&drop.facts, judged, (0, false), self.options.stack, cx);
                cx.correct_drop(report, &before, count);
            }
            if late.for_attempt {
                wanted.push(DropVerdict {
                    facts: Arc::clone(&drop.facts),
                    verdict: judged.verdict.clone(),
                    is_from_stranger: verdict::drop::is_from_stranger(&drop.facts, &facts),
                });
            }
        }
        wanted
    }
}
