//! What becomes of a drop: counted always, shown unless alike ones were just shown, and handed to
//! its attempt.
//!
//! A drop is judged only once it is known who wants the verdict.
//!
//! - `fold`: alike drops become one report; `fragments`: which of them a filter by port is about
//! - `judge`: the verdict; `node_facts`: what the node says of alike drops
//! - `late`: drops that were judged before the rules were read, and are judged again
//! - `copies`: what a bridge floods, until its packet is answered or not
//! - `path_mtu`: segments that are too large, until their senders have learned or not
//! - `report`: what is reported of a judged drop

mod copies;
mod fold;
mod fragments;
mod judge;
mod late;
mod node_facts;
mod path_mtu;
mod report;

use std::{net::IpAddr, rc::Rc, sync::Arc};

use tracer_common::{
    event::{DropKey, RetransmitEvent},
    tuple::Tuple,
};

pub(super) use self::judge::DropVerdict;
use self::{
    copies::Copies,
    fold::{Folded, Folds},
    fragments::Fragments,
    judge::{Judge, TrackedDrop},
    late::{LateDrop, LateDrops},
    node_facts::{FactsCache, Informed},
    path_mtu::PathMtu,
    report::report,
};
use super::{
    Nanos,
    effect::{Effect, MapQuery},
    knowledge::Context,
    work::Work,
};
use crate::{
    decode::drop::{DropFacts, DropKind},
    node::{facts::Wants, gather::Fact},
    report::accounts::DropTotals,
    verdict,
};

/// How drops are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DropOptions {
    /// Whether to show what healthy traffic drops too.
    pub(crate) noise: bool,
    /// Whether to show the kernel stack.
    pub(crate) stack: bool,
    /// Whether the filter is a port and no address, so that it cannot match fragments.
    pub(crate) by_port_alone: bool,
    /// After how many reports to stop.
    pub(crate) limit: Option<u64>,
    /// How many kinds of drops the kernel can count.
    pub(crate) capacity: usize,
}

/// The drops of a trace.
#[derive(Debug)]
pub(crate) struct Drops {
    options: DropOptions,
    judge: Judge,
    folds: Folds,
    fragments: Fragments,
    node_facts: FactsCache,
    late: LateDrops,
    path_mtu: PathMtu,
    copies: Copies,
    totals: DropTotals,
    reports: u64,
    /// Whether the user has seen as many as they want.
    is_enough: bool,
    /// Whether the kernel's map has little room left.
    is_crowded: bool,
}

/// A drop, and who wants the verdict on it.
#[derive(Debug)]
pub(crate) struct PendingDrop {
    pub(crate) drop: Rc<TrackedDrop>,
    /// How many drops a report is to stand for, if there is to be one.
    count: Option<u64>,
    /// Whether its attempt is to have the verdict.
    for_attempt: bool,
}

impl Drops {
    pub(crate) fn new(options: DropOptions) -> Self {
        Self {
            options,
            judge: Judge::default(),
            folds: Folds::default(),
            fragments: Fragments::default(),
            node_facts: FactsCache::default(),
            late: LateDrops::default(),
            path_mtu: PathMtu::default(),
            copies: Copies::default(),
            totals: DropTotals::default(),
            reports: 0,
            is_enough: false,
            is_crowded: false,
        }
    }

    /// Takes one drop, and the kernel's exact count of its kind. `is_wanted` says whether it is one
    /// of an attempt's packets, `connects` whether an attempt is between two addresses. Returns the
    /// drop if its attempt can have the verdict now.
    pub(crate) fn received(
        &mut self,
        facts: DropFacts,
        count: u64,
        is_wanted: bool,
        connects: impl FnOnce(IpAddr, IpAddr) -> bool,
        cx: &mut Context<'_>,
    ) -> Vec<DropVerdict> {
        let mut facts = facts;
        if verdict::drop::is_too_large(&facts) {
            self.path_mtu.was_too_large(facts.key.flow, cx.now);
        }
        let quoted = facts.quoted_tuple;
        facts.quotes_seen |= quoted.is_some_and(|quoted| self.path_mtu.has_seen(&quoted));
        let drop = Rc::new(self.judge.track(facts));
        if self.options.by_port_alone && self.fragments.is_foreign(&drop.facts, connects) {
            drop.disregard();
        }
        if let Some(quoted) = not_notified(&drop.facts) {
            self.path_mtu.not_notified(&quoted);
        }
        let pending = PendingDrop {
            // Without a count of its own it is in the total, and of use to its attempt alone.
            count: match count {
                0 => None,
                count => self.folds.add(&drop, count, cx.now),
            },
            for_attempt: is_wanted && !drop.is_noise(),
            drop,
        };
        let ready = self.path_mtu.hold(pending, cx.now);
        let copies = &mut self.copies;
        let ready = ready
            .into_iter()
            .filter_map(|drop| copies.hold(drop, cx.now));
        let ready = ready.collect();
        self.proceed_all(ready, cx)
    }

    /// Takes an ICMP message that was seen on its way to the sender of the packet that it quotes:
    /// it asks for smaller ones.
    pub(crate) fn notified(&mut self, quoted: Tuple, now: Nanos) {
        self.path_mtu.notified(quoted, now);
    }

    /// Takes a retransmission of a segment that may have been too large.
    pub(crate) fn resent(&mut self, event: &RetransmitEvent, now: Nanos) {
        self.path_mtu.resent(event, now);
    }

    /// Lets the drops go that have waited for what follows until `now`. `reached` says whether a
    /// dropped packet, or another copy of it, has reached its destination. Returns those whose
    /// attempts can have the verdict now.
    pub(crate) fn release(
        &mut self,
        now: Nanos,
        reached: impl Fn(&DropFacts) -> bool,
        cx: &mut Context<'_>,
    ) -> Vec<DropVerdict> {
        let mut ready = self.path_mtu.due(now);
        for copy in self.copies.due(now) {
            if reached(&copy.drop.facts) {
                copy.drop.disregard();
            }
            ready.push(copy);
        }
        self.proceed_all(ready, cx)
    }

    fn proceed_all(&mut self, drops: Vec<PendingDrop>, cx: &mut Context<'_>) -> Vec<DropVerdict> {
        let each = drops.into_iter().map(|drop| self.proceed(drop, cx));
        each.collect::<Vec<_>>().into_iter().flatten().collect()
    }

    /// Takes the kernel's counts of kinds that were due. `reached` as in [`Drops::release`].
    pub(crate) fn counted(
        &mut self,
        exact: &[(DropKey, u64)],
        reached: impl Fn(&DropFacts) -> bool,
        cx: &mut Context<'_>,
    ) {
        let folded = self.folds.counted(exact, cx.now);
        for Folded { drop, .. } in &folded {
            if drop.facts.reason.is("OTHERHOST") && reached(&drop.facts) {
                drop.disregard();
            }
        }
        self.report_all(folded, cx);
    }

    /// Takes the kernel's counts of all kinds, and accounts for what no event has shown.
    pub(crate) fn reconcile(&mut self, exact: Vec<(DropKind, u64)>, cx: &mut Context<'_>) {
        let Self {
            folds,
            judge,
            fragments,
            options,
            ..
        } = self;
        let at = cx.time_of_day();
        let folded = folds.reconcile(exact, cx.now, |kind| {
            let drop = judge.track(kind.facts(at));
            if options.by_port_alone && fragments.is_foreign(&drop.facts, |_, _| false) {
                drop.disregard();
            }
            drop
        });
        self.report_all(folded, cx);
    }

    /// Looks at what the clock decides.
    pub(crate) fn tick(&mut self, cx: &mut Context<'_>) {
        let due = self.folds.due(cx.now);
        if !due.is_empty() {
            cx.effects.push(Effect::Read(MapQuery::Counts(due)));
        }
        self.late.ask(cx);
        self.make_room(cx);
    }

    /// Evicts idle kinds of drops that were fully reported, before the kernel's map has no room for
    /// new ones.
    fn make_room(&mut self, cx: &mut Context<'_>) {
        let is_crowded = self.folds.len() >= self.options.capacity / 2;
        if std::mem::replace(&mut self.is_crowded, is_crowded) != is_crowded {
            cx.effects.push(Effect::Crowd(is_crowded));
        }
        if self.folds.len() < self.options.capacity / 4 {
            return;
        }
        let idle = self.folds.idle(cx.now, is_crowded);
        if !idle.is_empty() {
            cx.effects.push(Effect::Forget(idle));
        }
    }

    /// Forgets kinds that the kernel has evicted.
    pub(crate) fn forgotten(&mut self, kinds: &[DropKey]) {
        for key in kinds {
            self.folds.forget(key);
        }
    }

    pub(crate) fn totals(&self) -> DropTotals {
        self.totals
    }

    pub(crate) fn work(&self) -> Work {
        self.judge.work
    }

    fn report_all(&mut self, folded: Vec<Folded>, cx: &mut Context<'_>) {
        for Folded { drop, count } in folded {
            let pending = PendingDrop {
                drop,
                count: Some(count),
                for_attempt: false,
            };
            if let Some(ready) = self.path_mtu.gathered(pending, cx.now) {
                self.proceed(ready, cx);
            }
        }
    }

    /// Judges a drop if its verdict is wanted, now or when the node has answered.
    fn proceed(&mut self, mut pending: PendingDrop, cx: &mut Context<'_>) -> Vec<DropVerdict> {
        if !self.is_shown(&pending.drop)
            && let Some(count) = pending.count.take()
        {
            self.count(&pending.drop, count);
        }
        if pending.count.is_none() && !pending.for_attempt {
            return Vec::new();
        }
        let wants = match pending.drop.is_noise() {
            true => Wants::default(),
            false => Judge::wants(&pending.drop),
        };
        // Its record need not wait for what takes longer than that.
        if wants.0.contains(&Fact::Ruleset) && self.late.awaits(pending.drop.facts.netns) {
            return self.deliver(Informed::as_it_is(pending), cx);
        }
        match self.node_facts.inform(pending, wants, cx) {
            Some(informed) => self.deliver(informed, cx),
            None => Vec::new(),
        }
    }

    /// Reports drops whose verdict can be final. Returns those that an attempt waits for.
    fn deliver(&mut self, informed: Informed, cx: &mut Context<'_>) -> Vec<DropVerdict> {
        let Informed { drops, facts } = informed;
        let mut wanted = Vec::new();
        for pending in drops {
            let PendingDrop {
                drop,
                count,
                for_attempt,
            } = pending;
            self.judge.reconsider(&drop, facts.as_deref());
            let for_attempt = for_attempt && !drop.is_noise();
            if let Some(count) = count {
                self.count(&drop, count);
            }
            let count = count.filter(|_| self.is_shown(&drop));
            if count.is_none() && !for_attempt {
                continue;
            }
            let judged = self.judge.conclude(&drop, facts.as_deref(), cx);
            let mut shown = None;
            if let Some(count) = count {
                let report = report(
                    &drop.facts,
                    judged,
                    (count, drop.is_noise()),
                    self.options.stack,
                    cx,
                );
                if cx.report_drop(report) {
                    shown = Some(count);
                }
            }
            let late = LateDrop {
                drop: Rc::clone(&drop),
                count: shown,
                for_attempt,
            };
            self.late.judged(late, facts.as_deref());
            if let Some(count) = shown {
                self.shown(count, cx);
            }
            if for_attempt {
                wanted.push(DropVerdict {
                    facts: Arc::clone(&drop.facts),
                    verdict: judged.verdict.clone(),
                    is_from_stranger: facts
                        .as_deref()
                        .is_some_and(|facts| verdict::drop::is_from_stranger(&drop.facts, facts)),
                });
            }
        }
        wanted
    }

    /// Everything is counted to the end; shown is what the user asked for.
    fn is_shown(&self, drop: &TrackedDrop) -> bool {
        !self.is_enough && (self.options.noise || !drop.is_noise())
    }

    fn count(&mut self, drop: &TrackedDrop, count: u64) {
        if drop.is_noise() && !self.options.noise {
            self.totals.noise = self.totals.noise.saturating_add(count);
        } else {
            self.totals.all = self.totals.all.saturating_add(count);
        }
    }

    fn shown(&mut self, count: u64, cx: &mut Context<'_>) {
        self.totals.shown = self.totals.shown.saturating_add(count);
        self.reports += 1;
        if self
            .options
            .limit
            .is_some_and(|limit| self.reports >= limit)
        {
            self.is_enough = true;
            cx.effects.push(Effect::Stop);
        }
    }
}

/// The packet whose sender was to send smaller ones, if the ICMP message about that was dropped.
fn not_notified(facts: &DropFacts) -> Option<Tuple> {
    facts
        .quoted_tuple
        .filter(|_| verdict::drop::is_too_big_message(facts))
}
