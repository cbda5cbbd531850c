//! More handshakes than can be followed: memory stays bounded, and what was not followed is said.

use std::{
    fs,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use whydrop_tests::{
    fault::{Chain, nft},
    lab::{Family, topology::NodeLab},
    machine,
    record::{Flow, Point, Record},
    tracer::{Tracer, watching},
    traffic::{TcpAttempt, spoofed_syns, spoofed_syns_from},
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

/// Spoofed SYNs to the port that the filter names, and ten clients of another network that meet the same
/// rule meanwhile.
fn clients_in_a_flood(flooded: bool) -> Result<()> {
    const CLIENTS: usize = 10;
    const SECONDS: u32 = 5;
    /// SYNs in a twentieth of a second.
    const BURST: u32 = 1_000;
    const PORT: u16 = 8080;

    let _alone = machine::alone();
    let lab = NodeLab::build()?;
    let target = lab.pod_a.socket(Family::V4, PORT);
    let SocketAddr::V4(target_v4) = target else {
        bail!("an IPv4 address");
    };
    nft(
        &lab.node,
        Chain::inet("forward"),
        &format!("tcp dport {PORT} drop"),
    )?;
    let mut tracer = Tracer::start([watching(&[&lab.node]), vec![target.to_string()]].concat())?;
    let mut clients = Vec::new();
    let start = Instant::now();
    for burst in 0..SECONDS * 20 {
        if flooded {
            spoofed_syns_from(&lab.outside, target_v4, burst * BURST..(burst + 1) * BURST)?;
        }
        if burst >= 20 && burst % 8 == 0 && clients.len() < CLIENTS {
            clients.push(TcpAttempt::start(&lab.outside, None, target)?);
        }
        let due = Duration::from_millis(50) * (burst + 1);
        thread::sleep(due.saturating_sub(start.elapsed()));
    }
    ensure!(clients.len() == CLIENTS, "{} clients", clients.len());
    for client in &clients {
        let flow = Flow::from(client.flow());
        let record = tracer.wait_for("the attempt of a client", |record| {
            record
                .as_attempt()
                .is_some_and(|attempt| attempt.flow == flow)
        })?;
        let verdict = record
            .as_attempt()
            .and_then(|attempt| attempt.verdict.as_ref());
        let verdict = verdict.context("an attempt that failed has a verdict")?;
        ensure!(verdict.point == Point::Firewall, "{verdict:?}");
    }
    let trace = tracer.stop()?;
    println!("figure: {:?}", trace.summary);
    Ok(())
}

#[test]
fn clients_keep_their_verdicts_in_a_flood() -> Result<()> {
    clients_in_a_flood(true)
}

#[test]
fn clients_without_a_flood() -> Result<()> {
    clients_in_a_flood(false)
}
