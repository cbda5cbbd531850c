//! A control group with little memory, which counts what the kernel takes for the programs, too.

use std::{net::SocketAddr, process::Command, time::Instant};

use anyhow::{Context as _, Result, bail, ensure};
use whydrop_tests::{
    binary,
    fault::{Chain, nft},
    lab::{Family, MemoryLimit, topology::RouterLab},
    machine,
    record::{Point, Record},
    tracer::{Tracer, run_to_end, watching},
    traffic::{TcpAttempt, spoofed_syns},
};

const PORT: u16 = 8080;
const MIB: u64 = 1 << 20;

/// A router that drops, and a trace of that within a limit.
struct Stage {
    tracer: Tracer,
    server: SocketAddr,
    lab: RouterLab,
    // Its processes have to be gone first.
    limit: MemoryLimit,
}

impl Stage {
    fn start(mebibytes: u64) -> Result<Self> {
        let lab = RouterLab::build()?;
        let rule = format!("tcp dport {PORT} counter drop");
        nft(&lab.router, Chain::inet("forward"), &rule)?;
        let server = lab.server.socket(Family::V4, PORT);
        let limit = MemoryLimit::of_bytes(mebibytes * MIB)?;
        let runner = limit.runner();
        let runner: Vec<_> = runner.iter().map(String::as_str).collect();
        let mut arguments = watching(&[&lab.router]);
        arguments.push(server.to_string());
        Ok(Self {
            tracer: Tracer::start_by(&runner, arguments)?,
            server,
            lab,
            limit,
        })
    }

    /// A client whose SYN the rule drops has its verdict.
    fn expect_verdict(&mut self) -> Result<()> {
        let client = TcpAttempt::start(&self.lab.client, None, self.server)?;
        let attempt = self.tracer.outcome_of(client.flow())?;
        let verdict = attempt.verdict.context("a failure has a verdict")?;
        ensure!(verdict.point == Point::Firewall, "{verdict:?}");
        Ok(())
    }
}

/// Three quarters of it are what the kernel takes to verify the programs.
#[test]
fn a_limit_of_64_mib_is_enough() -> Result<()> {
    if !MemoryLimit::is_available() {
        return Ok(());
    }
    let mut stage = Stage::start(64)?;
    stage.expect_verdict()?;
    stage.tracer.stop().map(drop)
}

/// 200,000 spoofed SYNs, each of its own flow, which the rule drops: the trace lives, says what it did
/// not follow or show, and still has the verdict on a client.
#[test]
fn a_flood_does_not_exceed_96_mib() -> Result<()> {
    const SYNS: u32 = 200_000;
    if !MemoryLimit::is_available() {
        return Ok(());
    }
    let _alone = machine::alone();
    let mut stage = Stage::start(96)?;
    let SocketAddr::V4(target) = stage.server else {
        bail!("an IPv4 address");
    };
    spoofed_syns(&stage.lab.client, target, SYNS)?;
    stage.expect_verdict()?;
    let trace = stage.tracer.stop()?;
    let summary = &trace.summary;
    println!(
        "figure: at most {} MiB of 96 MiB; {} records of {} drops, {} folded, {} events lost",
        stage.limit.peak()? / MIB,
        trace.records.len(),
        summary.drops,
        summary.folded,
        summary.lost
    );
    ensure!(summary.drops > u64::from(SYNS), "{summary:?}");
    ensure!(summary.folded > 0, "{summary:?}");
    Ok(())
}

/// With less than a trace takes, it is said before the kernel ends it, with the least that is enough;
/// and so is a `--memory` that does not fit.
#[test]
fn a_limit_that_is_too_small_is_refused_with_one_that_is_not() -> Result<()> {
    if !MemoryLimit::is_available() {
        return Ok(());
    }
    let run = |mebibytes: u64, options: &[&str]| -> Result<String> {
        let limit = MemoryLimit::of_bytes(mebibytes * MIB)?;
        let [program, arguments @ ..] = limit.runner();
        let mut command = Command::new(program);
        command.args(arguments).arg(binary()).args(options);
        let output = run_to_end(&mut command)?;
        ensure!(output.status.code() == Some(1), "{output:?}");
        Ok(String::from_utf8(output.stderr)? + &String::from_utf8(output.stdout)?)
    };
    for options in [&["--all"][..], &["check"][..]] {
        let said = run(40, options)?;
        let what = "limited to 40 MiB, and a trace takes at least 64 MiB";
        ensure!(
            said.replace("\n    ", " ").contains(what),
            "{options:?}: {said}"
        );
    }
    let said = run(100, &["--all", "--memory", "128M"])?;
    ensure!(said.contains("at most --memory 52M fits"), "{said}");
    Ok(())
}

/// Records of a flood are bounded by the second; what is beyond is counted to the last.
#[test]
fn records_of_a_flood_are_folded() -> Result<()> {
    const SYNS: u32 = 20_000;
    const RATE: u64 = 20;
    let _alone = machine::alone();
    let lab = RouterLab::build()?;
    let rule = format!("tcp dport {PORT} counter drop");
    nft(&lab.router, Chain::inet("forward"), &rule)?;
    let server = lab.server.socket(Family::V4, PORT);
    let SocketAddr::V4(target) = server else {
        bail!("an IPv4 address");
    };
    let mut arguments = watching(&[&lab.router]);
    arguments.extend(["--max-rate", &RATE.to_string(), &server.to_string()].map(str::to_owned));
    let begun = Instant::now();
    let mut tracer = Tracer::start(arguments)?;
    spoofed_syns(&lab.client, target, SYNS)?;
    let is_more = |record: &Record| matches!(record, Record::More(_));
    tracer.wait_for("drops that are not shown each", is_more)?;
    let client = TcpAttempt::start(&lab.client, None, server)?;
    tracer.outcome_of(client.flow())?;
    let trace = tracer.stop()?;
    // One more for the second that had begun.
    let most = RATE * (begun.elapsed().as_secs() + 2);
    let shown = trace.drops().count() + trace.attempts().count();
    println!("figure: {shown} records, {} folded", trace.summary.folded);
    ensure!(
        shown as u64 <= most,
        "{shown} records, and {most} are right"
    );
    let of_drops = trace.records.iter().filter_map(|record| match record {
        Record::More(more) if more.outcome.is_none() => Some(more.count),
        _ => None,
    });
    let folded: u64 = of_drops.sum();
    let shown: u64 = trace.drops().map(|drop| drop.count).sum();
    ensure!(
        folded > 0 && shown + folded <= trace.summary.drops,
        "{:?}",
        trace.summary
    );
    ensure!(trace.summary.drops > u64::from(SYNS), "{:?}", trace.summary);
    Ok(())
}
