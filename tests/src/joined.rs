//! Traces of two nodes at the same time, and what `whydrop join` makes of them.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use tracer_model::{PathReport, record as json};

use crate::{
    binary::binary,
    deadline,
    lab::Namespace,
    record::{self, Record},
    tracer::{Tracer, watching},
    traffic::{Flow, Outcome, TcpAttempt},
};

/// A trace of each of two nodes.
pub struct TwoNodes {
    tracers: [Tracer; 2],
}

impl TwoNodes {
    /// The names of the two.
    pub const NAMES: [&'static str; 2] = ["node-1", "node-2"];

    /// Starts both, without a filter.
    pub fn start(nodes: [&Namespace; 2]) -> Result<Self> {
        let [first, second] = nodes;
        Self::start_with([&[first], &[second]], &["--all"])
    }

    /// Starts both with the same filter. Each watches these namespaces of its node.
    pub fn start_with(nodes: [&[&Namespace]; 2], filter: &[&str]) -> Result<Self> {
        let start = |index: usize| {
            let mut arguments = vec![
                "--answered".to_owned(),
                "--node-name".to_owned(),
                Self::NAMES[index].to_owned(),
            ];
            arguments.extend(filter.iter().map(|word| (*word).to_owned()));
            arguments.extend(watching(nodes[index]));
            Tracer::start(arguments)
        };
        Ok(Self {
            tracers: [start(0)?, start(1)?],
        })
    }

    /// Waits until the first node has reported what became of an attempt.
    pub fn await_outcome(&mut self, attempt: TcpAttempt) -> Result<Flow> {
        let flow = attempt.flow();
        self.tracers[0].outcome_of(flow)?;
        drop(attempt);
        Ok(flow)
    }

    /// Waits until the first node has reported that a connection stands still.
    pub fn await_stall(&mut self, flow: Flow) -> Result<()> {
        let wanted = record::Flow::from(flow);
        let is_it = |record: &Record| {
            record.as_attempt().is_some_and(|attempt| {
                attempt.flow == wanted && attempt.outcome == tracer_model::Outcome::Stalled
            })
        };
        self.tracers[0].wait_for("the stall", is_it).map(drop)
    }

    /// Connects, and waits until both nodes have reported it.
    pub fn healthy(&mut self, attempt: TcpAttempt) -> Result<()> {
        let isn_of = |record: &Record| record.as_attempt().and_then(|attempt| attempt.isn);
        let flow = attempt.flow();
        let outcome = attempt.outcome(deadline())?;
        ensure!(matches!(outcome, Outcome::Connected(_)), "{outcome:?}");
        let isn = self.tracers[0].outcome_of(flow)?.isn;
        self.tracers[1].wait_for("the answered attempt", |record| isn_of(record) == isn)?;
        Ok(())
    }

    /// Ends both: the records of each.
    pub fn finish(self) -> Result<[Vec<Record>; 2]> {
        let [first, second] = self.tracers;
        Ok([first.stop()?.records, second.stop()?.records])
    }
}

/// What `whydrop join` makes of these traces.
pub fn join(traces: &[Vec<Record>]) -> Result<Vec<PathReport>> {
    let directory = tempfile::tempdir()?;
    let mut command = Command::new(binary());
    command.args(["join", "-o", "json"]);
    for (index, records) in traces.iter().enumerate() {
        let mut lines = String::new();
        for (number, record) in records.iter().enumerate() {
            lines += &json::write(record, number as u64 + 1)?;
            lines.push('\n');
        }
        let file = directory.path().join(format!("{index}.jsonl"));
        fs::write(&file, lines)?;
        command.arg(file);
    }
    let output = command.output()?;
    ensure!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout)?;
    lines
        .lines()
        .map(|line| match record::read(line)? {
            Record::Path(path) => Ok(*path),
            other => Err(anyhow::anyhow!("no path: {other:?}")),
        })
        .collect()
}

/// The path of one flow.
pub fn path_of(paths: &[PathReport], flow: Flow) -> Result<&PathReport> {
    let flow = flow.into();
    let path = paths.iter().find(|path| path.flow == flow);
    path.with_context(|| format!("no path of {flow:?} in {paths:?}"))
}
