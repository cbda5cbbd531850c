//! Drops of the attempts' packets: which attempt they are of, and what they come to.

use std::{collections::HashSet, sync::Arc};

use tracer_common::event::DropKey;

use super::{Attempts, join::begins};
use crate::{
    attempt::OwnDrop,
    decode::{drop::DropFacts, sighting::AttemptKey},
    engine::{
        drops::DropVerdict,
        effect::{Effect, MapQuery},
        interfaces::Interfaces,
        knowledge::Context,
    },
};

impl Attempts {
    /// Takes drops of the attempts' packets.
    pub(crate) fn dropped(&mut self, drops: Vec<DropVerdict>, cx: &mut Context<'_>) {
        for judged in drops {
            let DropVerdict {
                facts,
                verdict,
                is_from_stranger,
            } = judged;
            self.work.owner_lookups += 1;
            let owner = self.table.owner_of(&facts, cx.interfaces);
            let begun = || self.table.begun(&facts, cx.now, cx.visibility.lost);
            let Some((key, lost)) = owner.or_else(begun) else {
                continue;
            };
            // The packet of a tunnel that anyone may have written shows no connection.
            if is_from_stranger && self.table.disown(&key, facts.outer, cx.now) {
                continue;
            }
            let drop = OwnDrop {
                lost,
                facts: Arc::clone(&facts),
                verdict,
            };
            let attempt = self.table.dropped(&key, drop);
            let own = attempt.and_then(|attempt| {
                let last = attempt.drops.last()?;
                Arc::ptr_eq(&last.facts, &facts).then_some((last, attempt))
            });
            let is_awaited = own.is_some_and(|(drop, attempt)| self.unsent.judged(drop, attempt));
            self.decide(Some(key), cx);
            if is_awaited {
                self.correct(&facts.key, cx);
            }
        }
    }

    /// Takes other verdicts on drops of the attempts' packets.
    pub(crate) fn corrected(&mut self, drops: Vec<DropVerdict>, cx: &mut Context<'_>) {
        for DropVerdict { facts, verdict, .. } in drops {
            self.work.owner_lookups += 1;
            let Some((key, _)) = self.table.owner_of(&facts, cx.interfaces) else {
                continue;
            };
            let attempt = self.table.get_mut(&key);
            if attempt.is_some_and(|attempt| attempt.judged_anew(&facts, verdict)) {
                self.decide(Some(key), cx);
            }
        }
    }

    /// Takes an event of a drop, with the exact count of its kind at it. Returns whether the packet
    /// is one of an attempt's, or begins one.
    pub(crate) fn seen(&mut self, facts: &DropFacts, count: u64, interfaces: &Interfaces) -> bool {
        self.work.owner_lookups += 1;
        let is_own = self.table.owner_of(facts, interfaces).is_some();
        self.unsent.event(facts, count, is_own);
        self.lost_questions.take(facts);
        is_own || begins(facts).is_some()
    }

    /// Takes the exact counts of some kinds of drops.
    pub(crate) fn counted(&mut self, exact: &[(DropKey, u64)], cx: &Context<'_>) {
        self.unsent.counted(exact, cx.time_of_day());
    }

    /// Forgets kinds of drops that the kernel counts anew.
    pub(crate) fn forgotten(&mut self, kinds: &[DropKey]) {
        self.unsent.forget(kinds);
    }

    /// Gives an attempt that has no drop of its own one that was counted only, if it can be its.
    pub(super) fn claim(&mut self, key: &AttemptKey, cx: &Context<'_>) {
        let Some(attempt) = self.table.get_mut(key) else {
            return;
        };
        let since = cx.clock.wall(attempt.first_at);
        if let Some(drop) = self.unsent.claim(attempt, since) {
            attempt.dropped(drop);
        }
    }

    /// Gives drops of a kind that were counted only to attempts that were judged without.
    fn correct(&mut self, kind: &DropKey, cx: &mut Context<'_>) {
        for key in self.table.reported_without(kind) {
            self.claim(&key, cx);
            self.decide(Some(key), cx);
        }
    }

    /// Has the counts read of the kinds by which these attempts may have lost packets.
    pub(super) fn count_kinds(&self, keys: &[AttemptKey], cx: &mut Context<'_>) {
        let attempts = keys.iter().filter_map(|key| self.table.get(key));
        let kinds: HashSet<_> = attempts
            .flat_map(|attempt| self.unsent.kinds_of(attempt))
            .collect();
        if !kinds.is_empty() {
            let kinds = kinds.into_iter().collect();
            cx.effects.push(Effect::Read(MapQuery::Counts(kinds)));
        }
    }

    /// The attempts that these drops are of.
    pub(super) fn owners<'d>(
        &mut self,
        drops: impl Iterator<Item = &'d DropFacts>,
        interfaces: &Interfaces,
    ) -> HashSet<AttemptKey> {
        let mut owners = HashSet::new();
        for facts in drops {
            self.work.owner_lookups += 1;
            owners.extend(self.table.owner_of(facts, interfaces).map(|(key, _)| key));
        }
        owners
    }
}
