//! What whydrop has said of an incident, and what it should have.

use std::{collections::BTreeSet, fmt};

use anyhow::{Result, ensure};

use crate::{
    expected::ExpectedVerdict,
    record::{Attempt, Outcome, Record, Verdict, shown},
    tracer::Trace,
};

/// A finished trace, to be judged.
pub struct Report {
    trace: Trace,
}

impl Report {
    pub(super) fn new(trace: Trace) -> Self {
        Self { trace }
    }

    /// The trace.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The attempts as they were last reported: a correction takes the place of what it corrects.
    pub fn attempts(&self) -> Vec<&Attempt> {
        let mut last: Vec<&Attempt> = Vec::new();
        for attempt in self.trace.attempts() {
            let is_same = |known: &&mut &Attempt| {
                attempt.corrects.is_some() && known.flow == attempt.flow && known.isn == attempt.isn
            };
            match last.iter_mut().find(is_same) {
                Some(known) => *known = attempt,
                None => last.push(attempt),
            }
        }
        last
    }

    /// Every attempt that was not answered ended like this, and there was one.
    pub fn outcome(&self, outcome: &str) -> Result<&Self> {
        let attempts = self.attempts();
        let mut failed = attempts
            .iter()
            .filter(|attempt| attempt.outcome != Outcome::Answered)
            .peekable();
        ensure!(
            failed.peek().is_some() && failed.all(|attempt| attempt.outcome.name() == outcome),
            "the outcome should be {outcome}, but there was\n{self}"
        );
        Ok(self)
    }

    /// No attempt was answered, for all that whydrop says.
    pub fn unanswered(&self) -> Result<&Self> {
        let is_answered = |attempt: &&Attempt| attempt.outcome == Outcome::Answered;
        ensure!(
            !self.attempts().iter().any(is_answered),
            "nothing should be answered, but there was\n{self}"
        );
        Ok(self)
    }

    /// One verdict says all that is expected, and no other contradicts it, the final one included.
    pub fn verdict(&self, expected: &ExpectedVerdict) -> Result<&Self> {
        let verdicts = self.verdicts();
        let wrong: Vec<String> = verdicts
            .iter()
            .flat_map(|verdict| expected.contradictions(verdict))
            .collect();
        ensure!(wrong.is_empty(), "{}, in\n{self}", wrong.join(", "));
        // Verdicts that say the same are wrong in the same way, which is shown once.
        let missing: BTreeSet<String> = verdicts
            .iter()
            .map(|verdict| expected.mismatches(verdict).join(", "))
            .collect();
        let missing: Vec<String> = missing.into_iter().collect();
        ensure!(
            missing.first().is_some_and(String::is_empty),
            "no verdict says all that it should: {}, in\n{self}",
            missing.join("; ")
        );
        Ok(self)
    }

    /// whydrop reports nothing wrong: no drop is shown, every attempt was answered, and
    /// there is no verdict.
    pub fn silent(&self) -> Result<&Self> {
        ensure!(
            self.trace.drops().next().is_none()
                && self.trace.attempts().all(is_healthy)
                && self.trace.summary.verdict.is_none()
                && self.trace.summary.lost == 0,
            "all is well, but there was\n{self}"
        );
        Ok(self)
    }

    /// Every verdict that still stands.
    fn verdicts(&self) -> Vec<&Verdict> {
        let drops = self.trace.drops().map(|drop| &drop.verdict);
        let attempts = self.attempts();
        let attempts = attempts
            .into_iter()
            .filter_map(|attempt| attempt.verdict.as_ref());
        let last = &self.trace.summary.verdict;
        drops.chain(attempts).chain(last).collect()
    }
}

impl fmt::Display for Report {
    /// What is wrong, a record after the other; of what is well, only the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut healthy = 0;
        for record in &self.trace.records {
            match record {
                Record::Drop(drop) => writeln!(f, "  {}", shown(&**drop))?,
                Record::Attempt(attempt) if is_healthy(attempt) => healthy += 1,
                Record::Attempt(attempt) => writeln!(f, "  {}", shown(&**attempt))?,
                _ => {}
            }
        }
        writeln!(f, "  {healthy} attempts were answered")?;
        write!(f, "  final verdict {}", shown(&self.trace.summary.verdict))
    }
}

fn is_healthy(attempt: &Attempt) -> bool {
    attempt.outcome == Outcome::Answered && attempt.verdict.is_none() && attempt.corrects.is_none()
}
