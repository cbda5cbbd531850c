//! When the fate of an attempt is told: what its packets decide at once, what silence decides after
//! the timeout.

use anyhow::Result;

use super::{
    cluster_context::{self, Asked},
    in_flight::{Answer, Facts},
    session::Session,
};
use crate::{
    decode::sighting::Key,
    engine::{
        attempt::Attempt,
        attempt_record::{self, Fate},
    },
    kernel::clock::monotonic_nanos,
    model::{AttemptReport, Outcome, Report},
    net::Inventory,
    verdict::{attempts as judge, attempts::Surroundings, cluster::refine},
};

/// How long the drop behind a refusal is waited for, in nanoseconds: a rule that rejects sends its
/// answer first and frees the packet then, and the node may be asked about that.
const DROP_FOLLOWS: u64 = 900_000_000;

impl Session<'_> {
    /// Looks at what the clock decides.
    pub(crate) fn tick_fates(&mut self, inventory: &Inventory) -> Result<()> {
        let now = monotonic_nanos();
        self.tell_refusals(now, inventory)?;
        self.fates.forget_readings();
        for key in self.fates.table.early(now) {
            self.ask_before(key, inventory);
        }
        for key in self.fates.table.expired(now) {
            if self.fates.is_open(&key) && !self.ask_facts(&key, inventory) {
                self.tell(&key, Outcome::Unanswered, Facts::default(), inventory)?;
            }
        }
        Ok(())
    }

    /// Takes an answer of the node.
    pub(crate) fn answered(&mut self, answer: Answer, inventory: &Inventory) -> Result<()> {
        match answer {
            Answer::Before(key, Some(found)) => {
                self.fates.before.insert(key, found);
            }
            Answer::Before(_, None) => {}
            Answer::Facts(key, facts) => {
                if self.fates.is_open(&key) {
                    self.tell(&key, Outcome::Unanswered, *facts, inventory)?;
                }
            }
        }
        Ok(())
    }

    /// Tells the fate of an attempt that the last event may have decided.
    pub(crate) fn tell_if_decided(&mut self, key: &Key, inventory: &Inventory) -> Result<()> {
        let Some(attempt) = self.fates.table.get(key) else {
            return Ok(());
        };
        let Some(outcome) = attempt.outcome() else {
            return Ok(());
        };
        let refused_here = matches!(outcome, Outcome::Refused | Outcome::Rejected)
            && attempt.reply_is_local()
            && attempt.told != Some(outcome);
        if refused_here && attempt.deciding_drop(outcome).is_none() {
            let until = monotonic_nanos() + DROP_FOLLOWS;
            if !self
                .fates
                .refused_here
                .iter()
                .any(|(_, waiting)| waiting == key)
            {
                self.fates.refused_here.push((until, key.clone()));
            }
            return Ok(());
        }
        self.tell(key, outcome, Facts::default(), inventory)
    }

    /// Tells of those refusals whose drop did not come.
    fn tell_refusals(&mut self, now: u64, inventory: &Inventory) -> Result<()> {
        let due = self
            .fates
            .refused_here
            .extract_if(.., |(until, _)| *until <= now);
        for (_, key) in due.collect::<Vec<_>>() {
            if let Some(outcome) = self.fates.table.get(&key).and_then(Attempt::outcome) {
                self.tell(&key, outcome, Facts::default(), inventory)?;
            }
        }
        Ok(())
    }

    /// Tells the fate of an attempt, unless the same was told before.
    fn tell(
        &mut self,
        key: &Key,
        outcome: Outcome,
        facts: Facts,
        inventory: &Inventory,
    ) -> Result<()> {
        let Some(attempt) = self.fates.table.get(key) else {
            return Ok(());
        };
        if attempt.told == Some(outcome) {
            return Ok(());
        }
        let (way, others) = self.fates.company(key, attempt, inventory);
        let around = Surroundings {
            listener: facts.listener,
            silent_hop: facts.silent_hop,
            others,
            ..self.fates.surroundings(attempt, inventory)
        };
        let arrived = around.has_arrived(attempt);
        // Its verdict is that drop's own, which was counted with the drop.
        let counted = attempt.deciding_drop(outcome).is_some();
        let at = match outcome {
            Outcome::Unanswered | Outcome::Stalled => monotonic_nanos(),
            _ => attempt_record::decided_at(attempt),
        };
        let mut verdict = judge::judge(attempt, outcome, &around);
        // What the node was asked about it is of the last namespace that it reached.
        let netns = self
            .names
            .place(attempt.last_hop().map(|hop| hop.place.netns));
        for fix in verdict.iter_mut().flat_map(|verdict| &mut verdict.fix) {
            fix.resolve(&netns);
        }
        let fate = Fate {
            outcome,
            by: judge::sender(attempt),
            verdict,
            at,
        };
        let mut record =
            attempt_record::record(key, attempt, fate, &self.fates.clock, &mut self.names);
        self.name_ends(&mut record);
        // A drop's verdict was sharpened when the drop was judged.
        if !counted && let Some(verdict) = record.verdict.take() {
            let scene = cluster_context::of_attempt(&self.cluster, &record, outcome, arrived);
            record.verdict = Some(refine(verdict, &scene));
        }
        if let Some(way) = way {
            self.fates.ways.told(key, way, outcome, monotonic_nanos());
        }
        let told = self
            .fates
            .table
            .get_mut(key)
            .and_then(|attempt| attempt.told.replace(outcome));
        if let Some(before) = told
            && let Some(count) = self.summary.attempts.get_mut(&before)
        {
            *count -= 1;
        }
        *self.summary.attempts.entry(outcome).or_default() += 1;
        self.summary.attempts.retain(|_, count| *count > 0);
        if let Some(verdict) = &record.verdict
            && !counted
        {
            self.tally(verdict, 1);
        }
        self.print(&Report::Attempt(Box::new(record)))
    }

    /// Who opened it, and who was to answer: behind DNAT, if there was any.
    fn name_ends(&self, record: &mut AttemptReport) {
        let (src, asked_for) = self.ends(&record.flow, Asked::Destination, record.ts);
        let behind = record.translated.as_ref().unwrap_or(&record.flow);
        let (_, dst) = self.ends(behind, Asked::Destination, record.ts);
        record.src_pod = src.pod();
        record.src_owner = src.words();
        record.dst_pod = dst.pod();
        record.dst_owner = asked_for.words().or_else(|| dst.words());
    }

    /// At the end: what is past its timeout, or was never answered and cannot be any more.
    pub(crate) fn tell_the_rest(&mut self, inventory: &Inventory) -> Result<()> {
        let now = monotonic_nanos();
        self.tell_refusals(u64::MAX, inventory)?;
        for key in self.fates.table.expired(now) {
            if self.fates.is_open(&key) {
                self.tell(&key, Outcome::Unanswered, Facts::default(), inventory)?;
            }
        }
        Ok(())
    }
}
