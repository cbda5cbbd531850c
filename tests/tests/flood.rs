//! More handshakes than can be followed: memory stays bounded, and what was not followed is said.

use std::{
    fs,
    net::{SocketAddr, SocketAddrV4},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use whydrop_tests::{
    fault::{Chain, nft},
    lab::{Family, topology::NodeLab},
    machine,
    record::{Point, Record},
    tracer::{Tracer, watching},
    traffic::{TcpAttempt, spoofed_syns, spoofed_syns_of_one_network},
};

/// The most memory that a process ever had, in KiB.
fn peak(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.context("a process has memory")?;
    Ok(peak.trim().trim_end_matches(" kB").parse()?)
}

/// A trace of a node with a pod whose port is closed by a rule, which the filter names.
struct Target {
    lab: NodeLab,
    address: SocketAddr,
    tracer: Tracer,
}

impl Target {
    const PORT: u16 = 8080;

    /// The rule is in the pod, which is not watched, or in the node.
    fn trace(options: &[&str], in_pod: bool) -> Result<Self> {
        let lab = NodeLab::build()?;
        let (host, hook) = match in_pod {
            true => (&lab.pod_a, "input"),
            false => (&lab.node, "forward"),
        };
        let rule = format!("tcp dport {} drop", Self::PORT);
        nft(host, Chain::inet(hook), &rule)?;
        let address = lab.pod_a.socket(Family::V4, Self::PORT);
        let mut arguments = watching(&[&lab.node]);
        arguments.extend(options.iter().map(|option| (*option).to_owned()));
        arguments.push(address.to_string());
        Ok(Self {
            tracer: Tracer::start(arguments)?,
            lab,
            address,
        })
    }

    fn v4(&self) -> Result<SocketAddrV4> {
        match self.address {
            SocketAddr::V4(address) => Ok(address),
            SocketAddr::V6(_) => bail!("an IPv4 address"),
        }
    }

    /// A client of another network than the flood's.
    fn client(&self) -> Result<TcpAttempt> {
        TcpAttempt::start(&self.lab.outside, None, self.address)
    }
}

#[test]
fn spoofed_syns_do_not_fill_the_memory() -> Result<()> {
    const SYNS: u32 = 500_000;
    const BOUND_KIB: u64 = 256 << 10;

    let _alone = machine::alone();
    let mut target = Target::trace(&["--timeout", "500ms", "--max-rate", "0"], true)?;
    let before = peak(target.tracer.pid())?;

    let start = Instant::now();
    spoofed_syns(&target.lab.outside, target.v4()?, SYNS)?;
    println!("figure: {SYNS} spoofed SYNs in {:.1?}", start.elapsed());
    // Its turn comes after all of them: its SYN is sent again until there is room.
    let last = target.client()?;
    target.tracer.outcome_of(last.flow())?;

    let after = peak(target.tracer.pid())?;
    let trace = target.tracer.stop()?;
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

/// Clients that send a single SYN each, while spoofed SYNs come from another network: each has the
/// verdict of the rule that it met.
fn clients_in_a_flood(flooded: bool) -> Result<()> {
    const CLIENTS: usize = 5;
    /// SYNs in a twentieth of a second.
    const BURST: u32 = 1_000;
    /// Bursts before the first client: by then, there is hardly any room.
    const BEFORE: u32 = 20;
    /// Bursts from one client to the next. Clients of one network share two events a second then: one
    /// for its SYN, one for its drop.
    const BETWEEN: u32 = 25;

    let _alone = machine::alone();
    let mut target = Target::trace(&[], false)?;
    let mut clients = Vec::new();
    for burst in 0.. {
        let start = Instant::now();
        if flooded {
            let numbers = burst * BURST..(burst + 1) * BURST;
            spoofed_syns_of_one_network(&target.lab.outside, target.v4()?, numbers)?;
        }
        if burst >= BEFORE && (burst - BEFORE).is_multiple_of(BETWEEN) {
            if clients.len() == CLIENTS {
                break;
            }
            // Without its socket, the kernel sends no other SYN, which might come after the flood.
            clients.push(target.client()?.flow());
        }
        // A burst that is late must not bring the next client forward.
        thread::sleep(Duration::from_millis(50).saturating_sub(start.elapsed()));
    }
    for flow in clients {
        let attempt = target.tracer.outcome_of(flow)?;
        let verdict = attempt.verdict.context("a failure has a verdict")?;
        let rule = verdict.rule.as_ref().map(|rule| rule.as_str());
        match (verdict.point, rule) {
            (Point::Firewall, Some("netfilter")) => {}
            _ => bail!("{flow}: {verdict:?}"),
        }
    }
    let trace = target.tracer.stop()?;
    println!("figure: {} events lost", trace.summary.lost);
    ensure!(flooded == (trace.summary.lost > 0), "{:?}", trace.summary);
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
