//! A trace of connection attempts.
//!
//! Healthy and broken attempts are made during an [`AttemptTrace`]; each must be reported once, as
//! expected, and at the end nothing else must have been reported.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    deadline,
    expected::ExpectedAttempt,
    lab::Namespace,
    record::{Attempt, Flow as RecordedFlow, Record, shown},
    tracer::{Trace, Tracer, watching},
    traffic::{Flow, Outcome, TcpAttempt, upload, wait_until_closed},
};

/// A trace whose attempts are all expected.
pub struct AttemptTrace {
    tracer: Tracer,
    /// Indexes of the records that were expected.
    matched: Vec<usize>,
}

impl AttemptTrace {
    /// Starts a trace of some namespaces.
    pub fn start<S: ToString>(
        watched: &[&Namespace],
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Self> {
        let mut all = watching(watched);
        all.extend(arguments.into_iter().map(|argument| argument.to_string()));
        Ok(Self {
            tracer: Tracer::start(all)?,
            matched: Vec::new(),
        })
    }

    /// The trace.
    pub fn tracer(&mut self) -> &mut Tracer {
        &mut self.tracer
    }

    /// Waits for the next record of an attempt, which must be as expected.
    pub fn expect(&mut self, flow: Flow, expected: &ExpectedAttempt) -> Result<()> {
        let recorded = RecordedFlow::from(flow);
        let mut index = 0;
        let matched = self.matched.clone();
        self.tracer
            .wait_for(&format!("the outcome of {flow}"), |record| {
                let fits = record
                    .as_attempt()
                    .is_some_and(|attempt| attempt.flow == recorded && !matched.contains(&index));
                index += usize::from(!fits);
                fits
            })
            .with_context(|| format!("expected {expected:?}"))?;
        self.matched.push(index);
        let (arrival, record) = self
            .tracer
            .arrivals()
            .nth(index)
            .context("the record that was waited for")?;
        let attempt = record.as_attempt().context("an attempt")?;
        expected.check(attempt)?;
        let attempt = attempt.clone();
        if expected.is_of_drop() {
            self.expect_drop_behind(&attempt)?;
        }
        if let Ok(after) = arrival.duration_since(attempt.ts) {
            let verdict = attempt.verdict.as_ref();
            let point = verdict.map_or("-", |verdict| verdict.point.name());
            let outcome = attempt.outcome.name();
            println!("figure: {outcome} ({point}) was reported {after:.0?} after the first packet");
        }
        Ok(())
    }

    /// Waits for the drop that the verdict on an attempt comes from.
    fn expect_drop_behind(&mut self, attempt: &Attempt) -> Result<()> {
        let verdict = attempt.verdict.as_ref().context("a verdict")?;
        let same = |record: &Record| {
            record.as_drop().is_some_and(|drop| {
                let known = &drop.verdict;
                (&known.point, &known.confidence, &known.why)
                    == (&verdict.point, &verdict.confidence, &verdict.why)
            })
        };
        let what = format!("the drop behind\n  {}", shown(attempt));
        self.tracer.wait_for(&what, same).map(drop)
    }

    /// Connects, holds a conversation with the echo server on `server` that must succeed, and waits
    /// for its record.
    pub fn healthy(
        &mut self,
        client: &Namespace,
        server: &Namespace,
        peer: SocketAddr,
        expected: &ExpectedAttempt,
    ) -> Result<()> {
        let attempt = TcpAttempt::start(client, None, peer)?;
        let flow = attempt.flow();
        let Outcome::Connected(connection) = attempt.outcome(deadline())? else {
            bail!("no connection to {peer} while all was well");
        };
        let port = connection.local_addr()?.port();
        ensure!(upload(connection, 100, deadline())?, "the transfer stalled");
        // Its last packets must be through before the fault strikes.
        wait_until_closed(server, port)?;
        self.expect(flow, expected).context("while all was well")
    }

    /// Begins a connection that the fault strikes, and waits for its record.
    pub fn broken(
        &mut self,
        client: &Namespace,
        peer: SocketAddr,
        expected: &ExpectedAttempt,
    ) -> Result<TcpAttempt> {
        let attempt = TcpAttempt::start(client, None, peer)?;
        self.expect(attempt.flow(), expected)?;
        Ok(attempt)
    }

    /// The same, and the client must get no answer.
    pub fn silent(
        &mut self,
        client: &Namespace,
        peer: SocketAddr,
        expected: &ExpectedAttempt,
    ) -> Result<()> {
        match self
            .broken(client, peer, expected)?
            .outcome(Duration::ZERO)?
        {
            Outcome::Silent => Ok(()),
            other => bail!("the client was to wait in vain, but: {other:?}"),
        }
    }

    /// Ends the trace: all that was reported was expected, and nothing was missed.
    pub fn finish(self) -> Result<Trace> {
        let figures: Vec<Duration> = self
            .tracer
            .arrivals()
            .filter_map(|(arrival, record)| arrival.duration_since(record.as_drop()?.ts).ok())
            .collect();
        if let Some(longest) = figures.iter().max() {
            let count = figures.len();
            println!(
                "figure: {count} drop records, each reported within {longest:.0?} of the drop"
            );
        }
        let matched = self.matched;
        let trace = self.tracer.stop()?;
        for (index, record) in trace.records.iter().enumerate() {
            if let Record::Attempt(attempt) = record {
                ensure!(
                    matched.contains(&index),
                    "not expected:\n  {}",
                    shown(&**attempt)
                );
            }
        }
        let summary = &trace.summary;
        let corrections = trace
            .attempts()
            .filter(|attempt| attempt.corrects.is_some());
        let counted: u64 = summary.attempts.values().sum();
        ensure!(
            counted == (matched.len() - corrections.count()) as u64
                && summary.lost == 0
                && summary.untracked == 0,
            "{} records, but {summary:?}",
            matched.len()
        );
        Ok(trace)
    }
}
