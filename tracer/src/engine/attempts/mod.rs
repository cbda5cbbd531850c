//! The attempts of a trace: what is seen of them, and when that decides them.
//!
//! What the packets themselves decide is reported at once. What silence decides waits for the
//! timeout and, where the node can say more, for a look at what may have been silent: once a quarter
//! of the way to the timeout, to have something to compare with, and once after it.
//!
//! - `table`: all attempts, bounded, with their `deadlines`; `join`: which one a packet belongs to;
//!   `near`: where it can have been lost then
//! - `silence`: what the node is asked before silence decides
//! - `outcomes`: the verdict and the `report`; `tunnel_stats`: what became of others

mod deadlines;
mod join;
mod near;
mod outcomes;
mod report;
mod silence;
mod table;
mod tunnel_stats;

use std::net::IpAddr;

use tracer_common::event::{EarlyHop, RetransmitEvent};

use self::{
    deadlines::Deadlines, join::begins, silence::SilenceChecks, table::Table,
    tunnel_stats::TunnelStats,
};
use super::{
    MILLISECOND, Nanos,
    drops::DropVerdict,
    effect::{Effect, MapQuery},
    interfaces::Interfaces,
    knowledge::Context,
    queries::Purpose,
    work::Work,
};
use crate::{
    attempt::{Attempt, Reply},
    decode::{
        drop::DropFacts,
        sighting::{AttemptKey, Sighting},
        tls::TlsCounts,
    },
    model::Outcome,
    node::query::{Answer, SilenceFacts},
};

/// How long the drop behind a refusal is waited for: the node may be asked about it.
const DROP_FOLLOWS: Nanos = 900 * MILLISECOND;

/// The attempts of a trace.
#[derive(Debug)]
pub(crate) struct Attempts {
    table: Table,
    tunnels: TunnelStats,
    /// Attempts that this node itself has refused, until the drop behind that can no longer come.
    refused_here: Deadlines,
    silence: SilenceChecks,
    work: Work,
}

impl Attempts {
    pub(crate) fn new(timeout: Nanos) -> Self {
        Self {
            table: Table::new(timeout),
            tunnels: TunnelStats::default(),
            refused_here: Deadlines::default(),
            silence: SilenceChecks::new(timeout),
            work: Work::default(),
        }
    }

    pub(crate) fn work(&self) -> Work {
        self.work
    }

    pub(crate) fn sighted(&mut self, sighting: &Sighting, cx: &mut Context<'_>) {
        let is_new = self.table.is_new(sighting);
        let moved = self.table.sighted(sighting, cx.visibility.lost);
        if let Some(key) = moved.clone().filter(|_| is_new) {
            cx.effects.push(Effect::Read(MapQuery::EarlyHops(key)));
        }
        self.decide(moved, cx);
    }

    pub(crate) fn preceded(&mut self, key: &AttemptKey, early: &[EarlyHop]) {
        self.table.preceded(key, early);
    }

    pub(crate) fn retransmitted(&mut self, event: &RetransmitEvent, cx: &mut Context<'_>) {
        let moved = self.table.retransmitted(event);
        self.decide(moved, cx);
    }

    /// Whether the attempt that a dropped packet belongs to has reached its destination.
    pub(crate) fn has_reached(&self, facts: &DropFacts) -> bool {
        // Copies are flooded to where the packet itself does not pass.
        let of = self.table.claimed_owner_of(facts);
        let attempt = of.and_then(|(key, ..)| self.table.get(&key));
        attempt
            .is_some_and(|attempt| matches!(attempt.reply, Some(Reply::Answer(_) | Reply::Reset)))
    }

    /// Whether a dropped packet is one of an attempt's.
    pub(crate) fn own(&self, facts: &DropFacts, interfaces: &Interfaces) -> bool {
        self.table.owner_of(facts, interfaces).is_some() || begins(facts).is_some()
    }

    /// Whether an attempt is between two addresses, at any of its hops.
    pub(crate) fn connects(&self, one: IpAddr, other: IpAddr) -> bool {
        self.table.connects(one, other)
    }

    /// Takes drops of the attempts' packets.
    pub(crate) fn dropped(&mut self, drops: Vec<DropVerdict>, cx: &mut Context<'_>) {
        for DropVerdict { facts, verdict } in drops {
            if self.table.owner_of(&facts, cx.interfaces).is_none() {
                self.table.begun(&facts, cx.now, cx.visibility.lost);
            }
            let moved = self.table.dropped(facts, verdict, cx.interfaces);
            self.decide(moved, cx);
        }
    }

    /// Looks at what the clock decides.
    pub(crate) fn tick(&mut self, cx: &mut Context<'_>) {
        self.report_refusals(cx.now, cx);
        self.silence.forget_decided(&self.table);
        for key in self.table.early(cx.now) {
            self.silence.take_baseline(key, &self.table, cx);
        }
        for key in self.table.expired(cx.now) {
            if self.is_open(&key) && !self.silence.schedule(&key, &self.table, cx) {
                self.report(&key, Outcome::Unanswered, SilenceFacts::default(), cx);
            }
        }
        for key in self.silence.due(cx.now) {
            if self.is_open(&key) && !self.silence.ask(&key, &self.table, cx) {
                self.report(&key, Outcome::Unanswered, SilenceFacts::default(), cx);
            }
        }
    }

    /// Takes an answer of the node; `None` if none could be had.
    pub(crate) fn answered(
        &mut self,
        purpose: Purpose,
        answer: Option<Answer>,
        cx: &mut Context<'_>,
    ) {
        match (purpose, answer) {
            (Purpose::Baseline(key), Some(Answer::ListenerBaseline(Some(baseline)))) => {
                self.silence.keep(key, baseline);
            }
            (Purpose::Silence(key), answer) if self.is_open(&key) => {
                let found = match answer {
                    Some(Answer::Silence(found)) => *found,
                    _ => SilenceFacts::default(),
                };
                self.report(&key, Outcome::Unanswered, found, cx);
            }
            _ => {}
        }
    }

    /// At the end: reports what is past its timeout.
    pub(crate) fn finish(&mut self, cx: &mut Context<'_>) {
        self.report_refusals(Nanos::MAX, cx);
        let mut overdue = self.silence.due(Nanos::MAX);
        overdue.extend(cx.queries.silent_attempts());
        overdue.extend(self.table.expired(cx.now));
        for key in overdue {
            if self.is_open(&key) {
                self.report(&key, Outcome::Unanswered, SilenceFacts::default(), cx);
            }
        }
    }

    /// SYNs that found the table full.
    pub(crate) fn untracked(&self) -> u64 {
        self.table.untracked
    }

    /// What was seen of TLS.
    pub(crate) fn tls(&self) -> TlsCounts {
        self.table.tls
    }

    /// Whether nothing was reported of an attempt yet.
    fn is_open(&self, key: &AttemptKey) -> bool {
        let attempt = self.table.get(key);
        attempt.is_some_and(|attempt| attempt.reported.is_none())
    }

    /// Reports the outcome of an attempt that the last input may have decided.
    fn decide(&mut self, moved: Option<AttemptKey>, cx: &mut Context<'_>) {
        let Some(key) = moved else { return };
        let Some(attempt) = self.table.get(&key) else {
            return;
        };
        let Some(outcome) = attempt.outcome() else {
            // What was reported for want of an answer may have found its cause.
            if attempt.is_better_explained(Outcome::Unanswered) {
                self.report(&key, Outcome::Unanswered, SilenceFacts::default(), cx);
            }
            return;
        };
        if !attempt.awaits_drop(outcome) {
            self.report(&key, outcome, SilenceFacts::default(), cx);
        } else if !self.refused_here.contains(&key) {
            let until = cx.now.saturating_add(DROP_FOLLOWS);
            self.refused_here.set(until, key);
        }
    }

    /// Reports those refusals whose drop did not come.
    fn report_refusals(&mut self, now: Nanos, cx: &mut Context<'_>) {
        for key in self.refused_here.due(now) {
            if let Some(outcome) = self.table.get(&key).and_then(Attempt::outcome) {
                self.report(&key, outcome, SilenceFacts::default(), cx);
            }
        }
    }
}

#[cfg(test)]
pub(crate) use self::table::CAPACITY;
