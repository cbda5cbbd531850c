//! What the node says about drops: asked once for alike ones, and kept for a while.
//!
//! A drop whose verdict the node can sharpen waits for the answer, a fraction of a second at most.
//! In a storm of unlike drops the open questions are limited; what is not asked is judged as it is.

use std::{collections::HashMap, sync::Arc};

use super::{DropVerdict, Drops, PendingDrop};
use crate::{
    decode::drop::DropFacts,
    engine::{
        Nanos, SECOND,
        knowledge::Context,
        networks::{Networks, Rank},
        queries::Purpose,
    },
    node::{
        facts::{NodeFacts, Subject, Wants},
        query::Query,
    },
};

/// Questions that may be open at once …
const MAX_OPEN: usize = 10;
/// … and as many more for networks that have few drops: a flood asks all the time.
const RESERVE: usize = 6;
/// How long an answer holds. Rules and routes change, and retransmissions come seconds apart.
const HOLDS: Nanos = 10 * SECOND;
/// From then on, counters are read again after another drop.
const COUNTS_AGAIN: Nanos = SECOND / 4;
/// Answers that are kept.
const MAX_KEPT: usize = 1024;

/// The answers of late, and the drops that wait for one.
#[derive(Debug, Default)]
pub(crate) struct FactsCache {
    known: HashMap<Subject, Known>,
    networks: Networks,
}

#[derive(Debug)]
enum Known {
    Asked(Vec<PendingDrop>),
    /// The answer; `None` if none could be had.
    Answered(Nanos, Option<Arc<NodeFacts>>),
}

/// Drops that need not wait, and what the node says of them, if it was asked.
#[derive(Debug)]
pub(crate) struct Informed {
    pub(crate) drops: Vec<PendingDrop>,
    pub(crate) facts: Option<Arc<NodeFacts>>,
}

impl FactsCache {
    /// Returns the drop with what the node says of it, or without if there is nothing to ask.
    /// Returns `None` while the node is asked: the drop comes back by [`FactsCache::answered`].
    pub(crate) fn inform(
        &mut self,
        drop: PendingDrop,
        wants: Wants,
        cx: &mut Context<'_>,
    ) -> Option<Informed> {
        let subject = match Subject::of(&drop.drop.facts) {
            Some(subject) if wants != Wants::default() => subject,
            _ => return Some(Informed::as_it_is(drop)),
        };
        match self.known.get_mut(&subject) {
            Some(Known::Answered(at, facts))
                if cx.now.saturating_sub(*at) < HOLDS
                    && !lacks_rules(facts.as_deref())
                    && !is_open(&drop, (*at, facts.as_deref()), cx) =>
            {
                return Some(Informed {
                    drops: vec![drop],
                    facts: facts.clone(),
                });
            }
            Some(Known::Asked(waiting)) => {
                waiting.push(drop);
                return None;
            }
            _ => {}
        }
        let most = match self.networks.count(&drop.drop.facts.key.flow, cx.now) {
            Rank::Busy => MAX_OPEN,
            _ => MAX_OPEN + RESERVE,
        };
        if cx.queries.about_drops() >= most {
            // What was known of the same a moment ago is better than nothing.
            let facts = match self.known.get(&subject) {
                Some(Known::Answered(at, facts)) if cx.now.saturating_sub(*at) < HOLDS => {
                    facts.clone()
                }
                _ => None,
            };
            return Some(Informed {
                drops: vec![drop],
                facts,
            });
        }
        if self.known.len() >= MAX_KEPT {
            self.known
                .retain(|_, known| matches!(known, Known::Asked(_)));
        }
        let facts = Arc::clone(&drop.drop.facts);
        let earlier = match self.known.remove(&subject) {
            Some(Known::Answered(at, earlier)) if is_before(at, &drop, cx) => earlier,
            _ => None,
        };
        let query = Query::Drop {
            facts,
            wants,
            earlier,
        };
        cx.ask(Purpose::Drops(subject.clone()), query);
        self.known.insert(subject, Known::Asked(vec![drop]));
        None
    }

    /// Takes an answer of the node; `None` if none could be had. Returns what has waited for it.
    pub(crate) fn answered(
        &mut self,
        subject: Subject,
        facts: Option<Box<NodeFacts>>,
        now: Nanos,
    ) -> Informed {
        let facts = facts.map(Arc::from);
        let answer = Known::Answered(now, facts.clone());
        let drops = match self.known.insert(subject, answer) {
            Some(Known::Asked(waiting)) => waiting,
            _ => Vec::new(),
        };
        Informed { drops, facts }
    }

    /// The drops that wait for an answer, and whose attempts are to have the verdict.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &DropFacts> {
        let asked = self.known.values().filter_map(|known| match known {
            Known::Asked(waiting) => Some(waiting),
            Known::Answered(..) => None,
        });
        let drops = asked.flatten().filter(|pending| pending.for_attempt);
        drops.map(|pending| &*pending.drop.facts)
    }

    /// Returns all that still waits: no more answers will come.
    pub(crate) fn give_up(&mut self) -> Informed {
        let waiting = self.known.drain().filter_map(|(_, known)| match known {
            Known::Asked(waiting) => Some(waiting),
            Known::Answered(..) => None,
        });
        Informed {
            drops: waiting.flatten().collect(),
            facts: None,
        }
    }
}

/// Whether a drop asks again, as rules count what they drop: two readings may tell which one did. A
/// flood asks no more often for it.
fn is_open(drop: &PendingDrop, known: (Nanos, Option<&NodeFacts>), cx: &Context<'_>) -> bool {
    let (at, facts) = known;
    let is_due = cx.now.saturating_sub(at) >= COUNTS_AGAIN && is_before(at, drop, cx);
    is_due && facts.is_some_and(NodeFacts::is_open)
}

/// Whether an answer was there before the packet was dropped.
fn is_before(at: Nanos, drop: &PendingDrop, cx: &Context<'_>) -> bool {
    cx.clock.wall(at) < drop.drop.facts.at
}

/// Whether the next drop asks again, as the answer came too early.
fn lacks_rules(facts: Option<&NodeFacts>) -> bool {
    facts.is_some_and(|facts| facts.lacks_rules)
}

impl Informed {
    pub(super) fn as_it_is(drop: PendingDrop) -> Self {
        Self {
            drops: vec![drop],
            facts: None,
        }
    }
}

impl Drops {
    /// Takes an answer of the node. Returns the drops whose attempts can have the verdict now.
    pub(crate) fn answered(
        &mut self,
        subject: Subject,
        facts: Option<Box<NodeFacts>>,
        cx: &mut Context<'_>,
    ) -> Vec<DropVerdict> {
        let informed = self.node_facts.answered(subject, facts, cx.now);
        self.deliver(informed, cx)
    }

    /// The drops of attempts that wait for what the node says of them.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &DropFacts> {
        self.node_facts.waiting()
    }

    /// Judges all that still waits for the node as it is.
    pub(crate) fn give_up(&mut self, cx: &mut Context<'_>) -> Vec<DropVerdict> {
        let informed = self.node_facts.give_up();
        self.deliver(informed, cx)
    }
}
