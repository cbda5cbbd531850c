//! More handshakes than can be followed: memory stays bounded, and what was not followed is said.

use std::{fs, net::SocketAddr, time::Instant};

use anyhow::{Context, Result, bail, ensure};
use whydrop_tests::{
    fault::{Chain, nft},
    lab::{Family, topology::NodeLab},
    machine,
    record::{Flow, Record},
    tracer::{Tracer, watching},
    traffic::{TcpAttempt, spoofed_syns},
};

/// The most memory that a process ever had, in KiB.
fn peak(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.context("a process has memory")?;
    Ok(peak.trim().trim_end_matches(" kB").parse()?)
}

#[test]
fn spoofed_syns_do_not_fill_the_memory() -> Result<()> {
    const SYNS: u32 = 500_000;
    const BOUND_KIB: u64 = 256 << 10;
    const PORT: u16 = 8080;

    let _alone = machine::alone();
    let lab = NodeLab::build()?;
    let target = lab.pod_a.socket(Family::V4, PORT);
    let SocketAddr::V4(target_v4) = target else {
        bail!("an IPv4 address");
    };
    let rule = format!("tcp dport {PORT} drop");
    nft(&lab.pod_a, Chain::inet("input"), &rule)?;
    let mut arguments = watching(&[&lab.node]);
    arguments.extend(["--timeout", "500ms", &target.to_string()].map(str::to_owned));
    let mut tracer = Tracer::start(arguments)?;
    let before = peak(tracer.pid())?;

    let start = Instant::now();
    spoofed_syns(&lab.outside, target_v4, SYNS)?;
    println!("figure: {SYNS} spoofed SYNs in {:.1?}", start.elapsed());
    // Its turn comes after all of them: its SYN is sent again until there is room.
    let last = TcpAttempt::start(&lab.outside, None, target)?;
    let flow = Flow::from(last.flow());
    tracer.wait_for("the outcome of the attempt after the flood", |record| {
        record
            .as_attempt()
            .is_some_and(|attempt| attempt.flow == flow)
    })?;

    let after = peak(tracer.pid())?;
    let trace = tracer.stop()?;
    let summary = &trace.summary;
    let attempts: u64 = summary.attempts.values().sum();
    let all = u64::from(SYNS) + 1;
    println!("figure: peak memory {before} KiB before the flood, {after} KiB after it");
    println!(
        "figure: {attempts} of {all} attempts followed, {} untracked, {} events lost",
        summary.untracked, summary.lost
    );
    ensure!(after < BOUND_KIB, "{after} KiB");
    ensure!(
        attempts + summary.untracked + summary.lost >= all,
        "of {all} attempts, some are not accounted for: {summary:?}"
    );
    ensure!(
        attempts + summary.untracked <= all,
        "there were {all} attempts: {summary:?}"
    );
    let records = trace.attempts().count() as u64;
    ensure!(records == attempts, "{records} records: {summary:?}");
    let reported: u64 = trace
        .records
        .iter()
        .filter_map(|record| match record {
            Record::Lost(lost) => Some(lost.events),
            _ => None,
        })
        .sum();
    ensure!(
        reported == summary.lost,
        "{reported} lost in records: {summary:?}"
    );
    Ok(())
}
