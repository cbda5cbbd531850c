//! The traces of all nodes, as they come in.

use std::time::SystemTime;

use super::{follow::Event, names};
use crate::{
    cluster::live::Cluster,
    join::Trace,
    model::{Outcome, Report, Summary},
    report::record,
    sink, words,
};

/// One node's trace.
pub(super) struct NodeTrace {
    pub(super) node: String,
    /// From its first record on.
    pub(super) trace: Option<Trace>,
    pub(super) summary: Option<Summary>,
    /// Nothing more will come of it.
    pub(super) is_over: bool,
    /// Lines beside the records.
    said: usize,
    /// Failed attempts that were said.
    failed: usize,
    /// Bytes of the records.
    held: usize,
}

/// Bytes of records that are kept of each node. What is beyond is counted as lost: silence of that node
/// then proves nothing.
const HELD: usize = 256 << 20;
/// Failed attempts that are said as they come, of each node; the report has all.
const MOST_FAILED: usize = 1000;
/// Lines beside the records that are passed on, from each node.
const MOST_LINES: usize = 50;

impl NodeTrace {
    pub(super) fn new(node: String) -> Self {
        Self {
            node,
            trace: None,
            summary: None,
            is_over: false,
            said: 0,
            failed: 0,
            held: 0,
        }
    }

    /// Says what keeps it from taking part.
    pub(super) fn fail(&mut self, why: &str) {
        self.fail_with(&[why]);
    }

    /// The same in several lines.
    pub(super) fn fail_with(&mut self, why: &[impl AsRef<str>]) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        let lines = why.iter().enumerate().map(|(index, line)| match index {
            0 => format!("{}: {}", self.node, line.as_ref()),
            _ => line.as_ref().to_owned(),
        });
        sink::note_lines(&lines.collect::<Vec<_>>());
    }

    pub(super) fn note(&self, what: &str) {
        sink::note(&format!("{}: {what}", self.node));
    }

    /// Takes what its log has given.
    pub(super) fn take(&mut self, event: Event, cluster: &Cluster) {
        match event {
            Event::Line(line) => self.line(&line, cluster),
            Event::Broken(why) => self.note(&format!("its log broke off ({why}); trying again")),
            Event::Resumed => self.note("its log goes on where it broke off"),
            Event::Ended(end) => {
                match (end.in_words(), &self.summary) {
                    (Some(why), None) if self.trace.is_none() => {
                        self.note(&format!("there is no trace: {why}"));
                    }
                    (Some(why), None) => {
                        self.note(&format!("the trace ended without a summary: {why}"));
                    }
                    (None, None) => self.note("the trace ended without a summary"),
                    (_, Some(_)) => {}
                }
                self.is_over = true;
            }
        }
    }

    fn line(&mut self, line: &str, cluster: &Cluster) {
        let seq = record::number(line);
        let Ok(mut report) = record::read(line) else {
            if let (Some(trace), Some(_)) = (&mut self.trace, seq) {
                trace.skip(seq);
                return;
            }
            // Stderr is in the log, too: why it cannot trace, say.
            self.said += 1;
            if self.said <= MOST_LINES && !line.trim().is_empty() {
                self.note(line.trim().trim_start_matches("whydrop: "));
            }
            return;
        };
        match (&report, &mut self.trace) {
            (Report::Started(started), None) => {
                let mut started = started.clone();
                // By the name that it was asked for: it says what it likes.
                started.node = Some(self.node.clone());
                let probes = words::count(started.interfaces as u64, "interface");
                for missing in &started.degraded {
                    self.note(missing);
                }
                self.note(&format!(
                    "tracing {} on Linux {}, {probes}",
                    started.filter, started.kernel
                ));
                let mut trace = Trace::new(*started, &self.node);
                trace.number(seq);
                self.trace = Some(trace);
                return;
            }
            (_, None) => return,
            (_, Some(_)) => {}
        }
        names::complete(&mut report, cluster, &self.node, SystemTime::now());
        if let Report::Attempt(attempt) = &report
            && attempt.outcome != Outcome::Answered
            && attempt.corrects.is_none()
            && self.failed < MOST_FAILED
        {
            self.failed += 1;
            let verdict = attempt.verdict.as_ref();
            let why = verdict.map(|verdict| format!(": {}", verdict.why));
            self.note(&format!(
                "{} {}{}",
                attempt.flow,
                attempt.outcome.name(),
                why.unwrap_or_default()
            ));
        }
        if let Report::Summary(summary) = &mut report {
            summary.node = Some(self.node.clone());
            self.summary = Some(Summary::clone(summary));
        }
        let is_last = matches!(report, Report::Summary(_));
        self.held = self.held.saturating_add(line.len());
        if let Some(trace) = &mut self.trace {
            if self.held <= HELD || is_last {
                trace.take(report);
                trace.number(seq);
            } else {
                trace.skip(seq);
            }
        }
    }

    /// What it comes to, in a line.
    pub(super) fn in_words(&self) -> String {
        let node = &self.node;
        let Some(summary) = &self.summary else {
            let state = match self.trace {
                Some(_) => "its end is missing",
                None => "no trace",
            };
            return format!("{node}: {state}");
        };
        let attempts: u64 = summary.attempts.values().sum();
        let mut line = format!(
            "{node}: {} and {} seen, {} lost",
            words::count(summary.drops, "drop"),
            words::count(attempts, "attempt"),
            words::count(summary.lost, "event"),
        );
        if let Some(first) = summary.verdicts.first() {
            line += &format!("; most often {}: {}", first.point.name(), first.why);
        }
        line
    }
}
