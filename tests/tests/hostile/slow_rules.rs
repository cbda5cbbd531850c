//! A ruleset that takes long to read: records do not wait for it, and are corrected once it is known.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use whydrop_tests::{
    fault::{Chain, counted_packets, nft},
    lab::{Family, output, topology::RouterLab},
    poll_until,
    record::{Drop as DropRecord, Point, Record},
    tracer::{Tracer, watching},
    traffic::TcpAttempt,
};

const PORT: u16 = 8080;
const RULE: &str = "tcp dport 8080 counter drop";

/// A trace whose `nft` prints nothing before it is let go.
struct Stage {
    tracer: Tracer,
    lab: RouterLab,
    client: TcpAttempt,
    tools: TempDir,
}

impl Stage {
    /// With a client whose SYN was dropped, and reported without the rule.
    fn start() -> Result<Self> {
        let lab = RouterLab::build()?;
        nft(&lab.router, Chain::inet("forward"), RULE)?;
        let tools = tempfile::tempdir()?;
        let gate = tools.path().join("gate");
        output(Command::new("mkfifo").arg(&gate))?;
        let at = tools.path().display();
        let script = format!(
            "#!/bin/sh\necho \"$*\" >>{at}/runs\n[ -e {at}/open ] || read -r _ < {at}/gate\nPATH=${{PATH#*:}} exec nft \"$@\"\n"
        );
        let tool = tools.path().join("nft");
        fs::write(&tool, script)?;
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755))?;
        let server = lab.server.socket(Family::V4, PORT);
        let mut arguments = watching(&[&lab.router]);
        arguments.push(server.to_string());
        let path = format!("PATH={at}:{}", std::env::var("PATH")?);
        let mut tracer = Tracer::start_by(&["env", &path], arguments)?;
        let client = TcpAttempt::start(&lab.client, None, server)?;
        let first = tracer.wait_for("the drop of the SYN", |record| record.as_drop().is_some())?;
        let first = first.as_drop().context("a drop")?;
        ensure!(
            first.verdict.point == Point::Firewall && !names_rule(first),
            "{first:?}"
        );
        Ok(Self {
            tracer,
            lab,
            client,
            tools,
        })
    }

    /// Has `nft` print what it has to.
    fn let_go(&self) -> Result<()> {
        fs::write(self.tools.path().join("open"), "")?;
        let gate = self.tools.path().join("gate");
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(libc::O_NONBLOCK);
        let mut gate = poll_until("nft to run", || options.open(&gate).ok())?;
        Ok(gate.write_all(b"go\n")?)
    }

    /// The record that corrects the first one.
    fn corrected(&mut self) -> Result<DropRecord> {
        let is_correction = |record: &Record| {
            let drop = record.as_drop();
            drop.is_some_and(|drop| drop.corrects.is_some())
        };
        let record = self.tracer.wait_for("the correction", is_correction)?;
        Ok(record.as_drop().context("a drop")?.clone())
    }
}

fn names_rule(drop: &DropRecord) -> bool {
    drop.verdict.why.contains("rule handle")
}

/// The record names no rule while the ruleset is read, and is corrected then, as is the attempt's. What
/// corrects counts no packet.
#[test]
fn record_is_corrected_when_the_rules_are_known() -> Result<()> {
    let mut stage = Stage::start()?;
    stage.tracer.outcome_of(stage.client.flow())?;
    stage.let_go()?;
    let corrected = stage.corrected()?;
    ensure!(names_rule(&corrected), "{corrected:?}");
    ensure!(corrected.verdict.confidence.name() == "confirmed");
    ensure!((corrected.count, corrected.corrects) == (0, Some(Point::Firewall)));
    stage.tracer.wait_for("the attempt's rule", |record| {
        let verdict = record
            .as_attempt()
            .and_then(|attempt| attempt.verdict.as_ref());
        verdict.is_some_and(|verdict| verdict.why.contains("rule handle"))
    })?;
    let Stage { tracer, lab, .. } = stage;
    let trace = tracer.stop()?;
    let counted = counted_packets(&lab.router, Chain::inet("forward"))?;
    let shown: u64 = trace.drops().map(|drop| drop.count).sum();
    ensure!(
        (trace.summary.drops, shown) == (counted, counted),
        "{counted}: {:?}",
        trace.summary
    );
    Ok(())
}

/// Rules that came since the drop may not be those that dropped the packet.
#[test]
fn rules_that_were_changed_meanwhile_confirm_nothing() -> Result<()> {
    let mut stage = Stage::start()?;
    let router = &stage.lab.router;
    router.run("nft flush ruleset")?;
    nft(
        router,
        Chain::inet("forward"),
        "tcp dport 8080 counter drop comment \"another\"",
    )?;
    stage.let_go()?;
    let corrected = stage.corrected()?;
    ensure!(names_rule(&corrected), "{corrected:?}");
    let evidence = corrected.verdict.evidence.join("; ");
    ensure!(
        corrected.verdict.confidence.name() == "possible" && evidence.contains("may have changed"),
        "{corrected:?}"
    );
    stage.tracer.stop().map(drop)
}

/// All of them wait for the one that reads.
#[test]
fn many_flows_have_one_reader() -> Result<()> {
    const FLOWS: usize = 30;
    let mut stage = Stage::start()?;
    let server = stage.lab.server.socket(Family::V4, PORT);
    let flows = (0..FLOWS).map(|_| TcpAttempt::start(&stage.lab.client, None, server));
    let flows = flows.collect::<Result<Vec<_>>>()?;
    // By then the time of their questions is over.
    for flow in &flows {
        stage.tracer.outcome_of(flow.flow())?;
    }
    let runs = fs::read_to_string(stage.tools.path().join("runs"))?;
    // A reader asks for the chains first, and then for all of it.
    let questions: BTreeSet<_> = runs.lines().collect();
    ensure!(questions.len() == runs.lines().count(), "{runs}");
    // What it has read is for all that it was to be read for.
    stage.let_go()?;
    let mut corrected = 0;
    stage.tracer.wait_for("the rule of all drops", |record| {
        let drop = record.as_drop().filter(|drop| drop.corrects.is_some());
        corrected += usize::from(drop.is_some_and(names_rule));
        corrected > FLOWS
    })?;
    stage.tracer.stop().map(drop)
}

/// Ctrl-C does not wait for the rules.
#[test]
fn a_signal_ends_a_trace_that_waits_for_rules() -> Result<()> {
    let stage = Stage::start()?;
    let trace = stage.tracer.stop()?;
    ensure!(trace.drops().all(|drop| !names_rule(drop)));
    Ok(())
}
