//! A trace that is followed from elsewhere: it says that it goes on, and ends when it is not wanted.

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use whydrop_tests::{
    binary,
    lab::Lab,
    record::{self, Record},
    tracer::Reaped,
};

fn start(netns: &str, heartbeat: &str) -> Result<(Reaped, Lines<BufReader<ChildStdout>>)> {
    let mut child: Child = Command::new(binary())
        .args(["--all", "--no-kube", "-o", "json", "--netns", netns])
        .args(["--ticks=100ms", "--heartbeat", heartbeat])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().context("piped")?;
    Ok((Reaped::new(child), BufReader::new(stdout).lines()))
}

/// Reads up to such a record; `None` where the trace ends before.
fn next(
    lines: &mut Lines<BufReader<ChildStdout>>,
    wanted: impl Fn(&Record) -> bool,
) -> Result<Option<Record>> {
    for line in lines {
        let record = record::read(&line?)?;
        if wanted(&record) {
            return Ok(Some(record));
        }
    }
    Ok(None)
}

fn is_summary(record: &Record) -> bool {
    matches!(record, Record::Summary(_))
}

/// An idle trace ticks, and ends with its summary when it is ordered to.
#[test]
fn an_idle_trace_ticks_and_ends_on_order() -> Result<()> {
    let lab = Lab::new()?;
    let namespace = lab.namespace("quiet")?;
    let (mut trace, mut lines) = start(namespace.name(), "1h")?;
    let tick = next(&mut lines, |record| matches!(record, Record::Tick(_)))?;
    ensure!(tick.is_some(), "no tick");
    let stdin = trace.0.stdin.as_mut().context("piped")?;
    stdin.write_all(b"\nend\n")?;
    ensure!(next(&mut lines, is_summary)?.is_some(), "no summary");
    ensure!(trace.wait("the trace to end")?.success());
    Ok(())
}

/// It ends by itself when no sign of life comes, and when stdin is closed.
#[test]
fn a_trace_ends_without_a_sign_of_life() -> Result<()> {
    let lab = Lab::new()?;
    let namespace = lab.namespace("quiet")?;
    for (heartbeat, closes) in [("300ms", false), ("1h", true)] {
        let (mut trace, mut lines) = start(namespace.name(), heartbeat)?;
        let stdin = trace.0.stdin.take().filter(|_| !closes);
        ensure!(next(&mut lines, is_summary)?.is_some(), "no summary");
        ensure!(trace.wait("the trace to end")?.success());
        drop(stdin);
    }
    Ok(())
}
