//! Runs `whydrop` beside the lab and follows what it says.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    binary, deadline,
    lab::Namespace,
    machine::{self, Shared},
    poll_until,
    record::{self, Attempt as AttemptRecord, Drop as DropRecord, Record, Summary},
    said::Said,
    traffic::Flow,
};

/// The options that limit a trace to some namespaces.
pub fn watching(namespaces: &[&Namespace]) -> Vec<String> {
    namespaces
        .iter()
        .flat_map(|namespace| ["--netns".to_owned(), namespace.name().to_owned()])
        .collect()
}

/// Runs `whydrop` (or a copy of it) to its end, which it must find by itself.
pub fn run_to_end(command: &mut Command) -> Result<Output> {
    let mut child = Reaped(
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?,
    );
    let stdout = Said::follow(child.0.stdout.take().context("stdout is piped")?);
    let stderr = Said::follow(child.0.stderr.take().context("stderr is piped")?);
    let status = child.wait("whydrop to end by itself")?;
    Ok(Output {
        status,
        stdout: stdout.all().into_bytes(),
        stderr: stderr.all().into_bytes(),
    })
}

/// A running trace.
pub struct Tracer {
    child: Reaped,
    lines: Receiver<Result<(SystemTime, Record)>>,
    records: Vec<Record>,
    /// When each of them came.
    arrivals: Vec<SystemTime>,
    /// Drops that discarded records stand for.
    discarded: u64,
    stderr: Option<Said>,
    /// Last to go: no flood may begin before the process has ended.
    _shared: Shared,
}

impl Tracer {
    /// Starts `whydrop -o json` with some arguments, and returns when everything is attached.
    /// Cluster lookups are off.
    pub fn start<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<Self> {
        Self::run(Command::new(binary()).arg("--no-kube").args(arguments))
    }

    /// Like [`start`](Self::start), run by another program, such as `nohup`.
    pub fn start_by<S: AsRef<OsStr>>(
        runner: &[&str],
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Self> {
        let (program, own) = runner.split_first().context("a program")?;
        let mut command = Command::new(program);
        command.args(own).arg(binary()).arg("--no-kube");
        Self::run(command.args(arguments))
    }

    /// Like [`start`](Self::start), with lookups at the given cluster sources, and at none that
    /// happens to be configured on this machine.
    pub fn start_with_cluster<S: AsRef<OsStr>>(
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Self> {
        let mut command = Command::new(binary());
        command.env_remove("KUBECONFIG").env("HOME", "/nonexistent");
        Self::run(command.args(arguments))
    }

    fn run(command: &mut Command) -> Result<Self> {
        let shared = machine::share();
        let mut child = Reaped(
            command
                .args(["-o", "json"])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .with_context(|| format!("cannot start {}", binary().display()))?,
        );
        let lines = follow(child.0.stdout.take().context("stdout is piped")?);
        let stderr = Said::follow(child.0.stderr.take().context("stderr is piped")?);
        let mut tracer = Self {
            child,
            lines,
            records: Vec::new(),
            arrivals: Vec::new(),
            discarded: 0,
            stderr: Some(stderr),
            _shared: shared,
        };
        tracer.wait_for("the record `started`", |record| {
            matches!(record, Record::Started(_))
        })?;
        Ok(tracer)
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// The records so far.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The records so far, each with the time of its arrival.
    pub fn arrivals(&self) -> impl Iterator<Item = (SystemTime, &Record)> {
        self.arrivals.iter().copied().zip(&self.records)
    }

    /// Waits until there is such a record, whether it came earlier or is still to come.
    pub fn wait_for(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&Record) -> bool,
    ) -> Result<&Record> {
        let deadline = Instant::now() + deadline();
        let mut seen = 0;
        loop {
            if let Some(index) = self.records[seen..].iter().position(&mut wanted) {
                return Ok(&self.records[seen + index]);
            }
            seen = self.records.len();
            match self.next(deadline.saturating_duration_since(Instant::now()))? {
                Next::Record => {}
                Next::End => {
                    let stderr = self.stderr();
                    bail!("whydrop ended before {what}: {stderr}");
                }
                Next::TooLate => bail!("{what} did not come; there was\n{}", self.shown()),
            }
        }
    }

    /// Waits for the outcome of an attempt, as it is first reported.
    pub fn outcome_of(&mut self, flow: Flow) -> Result<AttemptRecord> {
        let wanted = record::Flow::from(flow);
        let record = self.wait_for(&format!("the outcome of {flow}"), |record| {
            let attempt = record.as_attempt();
            attempt.is_some_and(|attempt| attempt.flow == wanted)
        })?;
        Ok(record.as_attempt().context("an attempt")?.clone())
    }

    /// Whether there is such a record by now.
    pub fn has_seen(&mut self, wanted: impl FnMut(&Record) -> bool) -> Result<bool> {
        while let Next::Record = self.next(Duration::ZERO)? {}
        Ok(self.records.iter().any(wanted))
    }

    /// Forgets the records that came so far, but for the first, and says how many they were: for
    /// traces that last.
    pub fn discard(&mut self) -> Result<usize> {
        while let Next::Record = self.next(Duration::ZERO)? {}
        let count = self.records.len().saturating_sub(1);
        let drops = self.records.iter().filter_map(Record::as_drop);
        self.discarded += drops.map(|drop| drop.count).sum::<u64>();
        self.records.truncate(1);
        self.arrivals.truncate(1);
        Ok(count)
    }

    /// Ends the trace as Ctrl-C does and returns everything it said.
    pub fn stop(self) -> Result<Trace> {
        kill(self.unix_pid()?, Signal::SIGINT)?;
        self.ended()
    }

    /// Takes part in a trace that ends by itself.
    pub fn ended(mut self) -> Result<Trace> {
        let deadline = Instant::now() + deadline();
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now()))? {
                Next::Record => {}
                Next::End => break,
                Next::TooLate => bail!("the trace did not end; there was\n{}", self.shown()),
            }
        }
        let status = self.child.wait("whydrop to exit")?;
        let stderr = self.stderr();
        ensure!(status.success(), "whydrop ended with {status}: {stderr}");
        Trace::new(std::mem::take(&mut self.records), self.discarded, stderr)
    }

    /// Stops the process for as long as `meanwhile` takes: what it reads of the node, it reads later.
    pub fn paused<T>(&self, meanwhile: impl FnOnce() -> Result<T>) -> Result<T> {
        let pid = self.unix_pid()?;
        kill(pid, Signal::SIGSTOP)?;
        let result = meanwhile();
        kill(pid, Signal::SIGCONT)?;
        result
    }

    /// Kills it without a chance to clean up.
    pub fn kill(mut self) -> Result<()> {
        kill(self.unix_pid()?, Signal::SIGKILL)?;
        self.child.wait("the killed whydrop to go").map(drop)
    }

    fn unix_pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(self.pid().try_into()?))
    }

    fn next(&mut self, timeout: Duration) -> Result<Next> {
        match self.lines.recv_timeout(timeout) {
            Ok(record) => {
                let (arrival, record) = record?;
                self.records.push(record);
                self.arrivals.push(arrival);
                Ok(Next::Record)
            }
            Err(RecvTimeoutError::Disconnected) => Ok(Next::End),
            Err(RecvTimeoutError::Timeout) => Ok(Next::TooLate),
        }
    }

    /// Waits until it has said this on stderr.
    pub fn wait_for_note(&self, note: &str) -> Result<()> {
        poll_until(&format!("the note `{note}`"), || {
            let said = self.stderr.as_ref()?.so_far();
            said.contains(note).then_some(())
        })
    }

    fn stderr(&mut self) -> String {
        // Ends when the process does.
        self.stderr.take().map(Said::all).unwrap_or_default()
    }

    fn shown(&self) -> String {
        let attempts = self.records.iter().filter_map(Record::as_attempt);
        let attempts: Vec<String> = attempts.map(record::shown).collect();
        let drops = shown(self.records.iter().filter_map(Record::as_drop));
        format!("{drops}\n{}", attempts.join("\n"))
    }
}

enum Next {
    Record,
    End,
    TooLate,
}

/// A finished trace.
#[derive(Debug)]
pub struct Trace {
    /// Every record, from `started` to `summary`.
    pub records: Vec<Record>,
    /// The summary.
    pub summary: Summary,
    /// What it said on stderr.
    pub stderr: String,
}

impl Trace {
    /// Checks what holds for every trace.
    fn new(records: Vec<Record>, discarded: u64, stderr: String) -> Result<Self> {
        let Some(Record::Summary(summary)) = records.last() else {
            bail!("the last record is not a summary: {:?}", records.last());
        };
        let trace = Self {
            summary: Summary::clone(summary),
            records,
            stderr,
        };
        let summaries = trace
            .records
            .iter()
            .filter(|record| matches!(record, Record::Summary(_)));
        ensure!(summaries.count() == 1, "more than one summary");
        let more = trace.records.iter().filter_map(|record| match record {
            Record::More(more) => Some(more.records),
            _ => None,
        });
        let more: u64 = more.sum();
        ensure!(
            more == trace.summary.folded || discarded > 0,
            "{more} more records, the summary says {}",
            trace.summary.folded
        );
        let Summary { drops, shown, .. } = trace.summary;
        let counted = discarded + trace.drops().map(|drop| drop.count).sum::<u64>();
        ensure!(
            shown == counted && shown <= drops,
            "the records stand for {counted} drops, the summary says {shown} of {drops}"
        );
        Ok(trace)
    }

    /// The drop records.
    pub fn drops(&self) -> impl Iterator<Item = &DropRecord> {
        self.records.iter().filter_map(Record::as_drop)
    }

    /// The attempts, a record for each outcome.
    pub fn attempts(&self) -> impl Iterator<Item = &AttemptRecord> {
        self.records.iter().filter_map(Record::as_attempt)
    }

    /// Nothing was dropped, and nothing was missed either.
    pub fn expect_silence(&self) -> Result<()> {
        let drops = shown(self.drops());
        ensure!(drops.is_empty(), "healthy traffic, but there was\n{drops}");
        let summary = &self.summary;
        ensure!(
            summary.drops == 0 && summary.lost == 0,
            "no records, but {summary:?}"
        );
        Ok(())
    }
}

/// Drop records for an error message, a line each.
pub(crate) fn shown<'a>(drops: impl Iterator<Item = &'a DropRecord>) -> String {
    drops.map(record::shown).collect::<Vec<_>>().join("\n")
}

/// A child that does not outlive its owner.
pub struct Reaped(pub Child);

impl Reaped {
    /// Takes it over.
    pub fn new(child: Child) -> Self {
        Self(child)
    }

    /// Waits for its end. Polls, because a child's end cannot be awaited with a deadline without its own thread.
    pub fn wait(&mut self, what: &str) -> Result<ExitStatus> {
        poll_until(what, || self.0.try_wait().transpose())?.map_err(Into::into)
    }
}

impl Drop for Reaped {
    fn drop(&mut self) {
        // Both fail only when it has ended and been waited for already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn follow(stdout: impl Read + Send + 'static) -> Receiver<Result<(SystemTime, Record)>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            let record = line.map_err(Into::into).and_then(|line| {
                let arrival = SystemTime::now();
                Ok((arrival, record::read(&line)?))
            });
            // No receiver is left: the test is over.
            if sender.send(record).is_err() {
                return;
            }
        }
    });
    receiver
}
