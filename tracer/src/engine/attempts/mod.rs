//! The attempts of a trace: what is seen of them, and when that decides them.
//!
//! What the packets themselves decide is reported at once. What silence decides waits for the
//! timeout and, where the node can say more, for a look at what may have been silent: once a quarter
//! of the way to the timeout, to have something to compare with, and once after it.
//!
//! - `table`: all attempts, bounded, with their `deadlines`, and how they share it (`shares`); `join`:
//!   which one a packet belongs to (`clients`: which client's query); `near`: where it could have been
//!   lost then
//! - `silence`: what the node is asked before silence decides
//! - `dropped`: what the drops of their packets come to; `unsent`: drops that were counted only, and
//!   whose they may have been; `of_drops`: what the attempts say of a drop; `lost_questions`: dropped
//!   packets of Neighbor Discovery
//! - `unread`: what servers have not read at the end
//! - `outcomes`: the verdict and the `report`; `tunnel_stats`: what became of others

mod clients;
mod deadlines;
mod dropped;
mod join;
mod lost_questions;
mod near;
mod of_drops;
mod outcomes;
mod report;
mod shares;
mod silence;
mod table;
mod tunnel_stats;
mod unread;
mod unsent;

use std::collections::HashSet;

use tracer_common::event::{EarlyHop, RetransmitEvent};

use self::{
    deadlines::Deadlines, lost_questions::LostQuestions, silence::SilenceChecks, table::Table,
    tunnel_stats::TunnelStats, unsent::Unsent,
};
use super::{
    MILLISECOND, Nanos,
    effect::{Effect, MapQuery},
    knowledge::Context,
    queries::Purpose,
    work::Work,
};
use crate::{
    attempt::Attempt,
    decode::{
        drop::DropFacts,
        sighting::{AttemptKey, Sighting},
        tls::TlsCounts,
    },
    model::{Direction, Outcome},
    node::{
        query::{Answer, Query, SilenceFacts},
        unread::Unread,
    },
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
    unsent: Unsent,
    lost_questions: LostQuestions,
    work: Work,
    /// Until when packets were read at the last look at the clock, where others waited.
    read: Option<Nanos>,
}

impl Attempts {
    pub(crate) fn new(timeout: Nanos, capacity: usize) -> Self {
        Self {
            table: Table::new(timeout, capacity),
            tunnels: TunnelStats::default(),
            refused_here: Deadlines::default(),
            silence: SilenceChecks::new(timeout),
            unsent: Unsent::default(),
            lost_questions: LostQuestions::default(),
            work: Work::default(),
            read: None,
        }
    }

    pub(crate) fn work(&self) -> Work {
        self.work
    }

    pub(crate) fn sighted(&mut self, sighting: &Sighting, cx: &mut Context<'_>) {
        let is_new = self.table.is_new(sighting);
        let moved = self
            .table
            .sighted(sighting, cx.visibility.lost_before(sighting.at));
        if let Some(key) = moved.clone().filter(|_| is_new) {
            cx.effects.push(Effect::Read(MapQuery::EarlyHops(key)));
        }
        self.decide(moved, cx);
    }

    pub(crate) fn preceded(&mut self, key: &AttemptKey, early: &[EarlyHop], cx: &Context<'_>) {
        self.table.preceded(key, early, cx.interfaces);
    }

    pub(crate) fn retransmitted(&mut self, event: &RetransmitEvent, cx: &mut Context<'_>) {
        let moved = self.table.retransmitted(event);
        self.decide(moved, cx);
    }

    /// Looks at what the clock decides: of the packets, up to the time until which they were `read`.
    /// `waiting` are the attempts' drops about which the node is being asked.
    pub(crate) fn tick<'d, Drops: Iterator<Item = &'d DropFacts>>(
        &mut self,
        read: Nanos,
        waiting: impl FnOnce() -> Drops,
        cx: &mut Context<'_>,
    ) {
        self.read = Some(read).filter(|read| *read < cx.now);
        self.report_refusals(read, cx);
        self.silence.forget_decided(&self.table);
        let early = self.table.early(read);
        let is_reported = |key: &&AttemptKey| {
            let attempt = self.table.get(key);
            attempt.is_some_and(|attempt| attempt.reported.is_some())
        };
        let open: Vec<_> = early
            .iter()
            .filter(|key| !is_reported(key))
            .cloned()
            .collect();
        self.count_kinds(&open, cx);
        for key in early {
            self.silence.take_baseline(key, &self.table, cx);
        }
        let expired = self.table.expired(read);
        let due = self.silence.due(read);
        // Silence says nothing about an attempt whose drop was seen: its verdict is on its way.
        let has_drop = match expired.is_empty() && due.is_empty() {
            true => HashSet::new(),
            false => self.owners(waiting(), cx.interfaces),
        };
        let (later, expired): (Vec<_>, Vec<_>) =
            expired.into_iter().partition(|key| has_drop.contains(key));
        let (still_later, due): (Vec<_>, Vec<_>) =
            due.into_iter().partition(|key| has_drop.contains(key));
        for key in later.into_iter().chain(still_later) {
            self.silence.postpone(key, read);
        }
        for key in expired {
            self.claim(&key, cx);
            if self.is_open(&key) && !self.silence.schedule(&key, &self.table, cx) {
                self.report(&key, Outcome::Unanswered, SilenceFacts::default(), cx);
            }
        }
        for key in due {
            self.claim(&key, cx);
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
            (Purpose::EarlyWalk(key), Some(Answer::Silence(found))) => {
                self.silence.keep_count(key, *found, &self.table);
            }
            (Purpose::Silence(key), answer) if self.is_open(&key) => {
                let mut found = match answer {
                    Some(Answer::Silence(found)) => *found,
                    _ => SilenceFacts::default(),
                };
                found.compared = self.silence.compare(&key, &found, &self.table);
                self.report(&key, Outcome::Unanswered, found, cx);
            }
            (Purpose::Stall(key), answer) if self.is_stalled(&key) => {
                let lost_translation = match answer {
                    Some(Answer::Translation(lost)) => lost,
                    _ => None,
                };
                let found = SilenceFacts {
                    lost_translation,
                    ..SilenceFacts::default()
                };
                self.report(&key, Outcome::Stalled, found, cx);
            }
            (Purpose::Unread, Some(Answer::Unread(unread))) => {
                let unread = unread.iter().map(Unread::in_words);
                cx.accounts.unread(unread.collect());
            }
            _ => {}
        }
    }

    /// At the end: reports what is past its timeout.
    pub(crate) fn finish(&mut self, cx: &mut Context<'_>) {
        // All events were read, or are counted as lost.
        self.read = None;
        self.report_refusals(Nanos::MAX, cx);
        let mut overdue = self.silence.due(Nanos::MAX);
        overdue.extend(cx.queries.silent_attempts());
        overdue.extend(self.table.expired(cx.now));
        let stalled: Vec<_> = cx.queries.stalled_attempts().collect();
        for key in stalled
            .into_iter()
            .filter(|key| self.is_stalled(key))
            .collect::<Vec<_>>()
        {
            self.report(&key, Outcome::Stalled, SilenceFacts::default(), cx);
        }
        for key in overdue {
            self.claim(&key, cx);
            if self.is_open(&key) {
                self.report(&key, Outcome::Unanswered, SilenceFacts::default(), cx);
            }
        }
    }

    /// SYNs that found the table full.
    pub(crate) fn untracked(&self) -> u64 {
        self.table.untracked()
    }

    /// What was seen of TLS.
    pub(crate) fn tls(&self, now: Nanos) -> TlsCounts {
        self.table.tls(now)
    }

    /// Whether nothing has decided an attempt yet. A refusal that waits for its drop has.
    fn is_open(&self, key: &AttemptKey) -> bool {
        let attempt = self.table.get(key);
        attempt.is_some_and(|attempt| attempt.reported.is_none() && attempt.outcome().is_none())
    }

    /// Whether an attempt stalls still: while the node was asked, a reset may have ended it.
    fn is_stalled(&self, key: &AttemptKey) -> bool {
        self.table.get(key).and_then(Attempt::outcome) == Some(Outcome::Stalled)
    }

    /// Reports the outcome of an attempt that the last input may have decided.
    fn decide(&mut self, moved: Option<AttemptKey>, cx: &mut Context<'_>) {
        let Some(key) = moved else { return };
        let Some(attempt) = self.table.get(&key) else {
            return;
        };
        let Some(outcome) = attempt.outcome() else {
            // An attempt that was reported as unanswered may have found its cause.
            if attempt.is_better_explained(Outcome::Unanswered) {
                self.report(&key, Outcome::Unanswered, SilenceFacts::default(), cx);
            }
            return;
        };
        let is_near = attempt.reply_hops.first().is_some_and(|hop| {
            let interface = cx.interfaces.get(hop.place.netns, hop.place.ifindex);
            let is_uplink = interface.is_none_or(|interface| interface.is_uplink);
            hop.place.dir == Direction::In && !is_uplink
        });
        if outcome == Outcome::Stalled && self.asks_about_stall(&key, cx) {
            return;
        }
        if !attempt.awaits_drop(outcome, is_near) {
            self.report(&key, outcome, SilenceFacts::default(), cx);
        } else if !self.refused_here.contains(&key) {
            let until = cx.now.saturating_add(DROP_FOLLOWS);
            self.count_kinds(std::slice::from_ref(&key), cx);
            self.refused_here.set(until, key);
        }
    }

    /// Asks the node whether a stalled connection has lost its translation, if no drop explains the
    /// stall. Returns whether it was asked: the answer reports the stall.
    fn asks_about_stall(&self, key: &AttemptKey, cx: &mut Context<'_>) -> bool {
        let Some(attempt) = self.table.get(key) else {
            return false;
        };
        let is_explained = attempt.deciding_drop(Outcome::Stalled).is_some();
        let is_reported = attempt.reported_outcome() == Some(Outcome::Stalled);
        if is_explained || is_reported {
            return false;
        }
        if cx.queries.asks_about_stall(key) {
            return true;
        }
        let by_client = attempt.retransmissions.by_client || attempt.unanswered_hello().is_some();
        let translation = attempt.first_translation(by_client);
        match translation.filter(|_| cx.queries.about_attempts() < silence::MAX_OPEN) {
            Some(translation) => {
                cx.ask(Purpose::Stall(key.clone()), Query::Translation(translation));
                true
            }
            None => false,
        }
    }

    /// Reports those refusals whose drop did not come.
    fn report_refusals(&mut self, now: Nanos, cx: &mut Context<'_>) {
        for key in self.refused_here.due(now) {
            self.claim(&key, cx);
            if let Some(outcome) = self.table.get(&key).and_then(Attempt::outcome) {
                self.report(&key, outcome, SilenceFacts::default(), cx);
            }
        }
    }
}
