//! A ring buffer made far too small: counts stay exact, what was lost is said, and nothing is
//! claimed from what may have been lost.

use std::{
    net::{IpAddr, SocketAddr, SocketAddrV4},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Result, bail, ensure};
use whydrop_tests::{
    fault::{Chain, counted_packets, nft},
    lab::{
        Family, Topology,
        topology::{NodeLab, VoidLab},
    },
    machine,
    record::{Direction, Flow, Record},
    tracer::{Trace, Tracer, watching},
    traffic::{TcpAttempt, spoofed_syns},
};

/// A page: a dozen events.
const TINY: [&str; 4] = ["--ring-size", "4K", "--max-rate", "0"];
const PORT: u16 = 8080;

fn v4(address: SocketAddr) -> Result<SocketAddrV4> {
    match address {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(_) => bail!("an IPv4 address"),
    }
}

fn is_spoofed(flow: &Flow) -> bool {
    matches!(flow.src, IpAddr::V4(src) if src.octets()[0] == 198)
}

fn lost_in_records(trace: &Trace) -> u64 {
    lost_at(trace, "")
}

/// The events that `lost` records report of such places.
fn lost_at(trace: &Trace, place: &str) -> u64 {
    let lost = trace.records.iter().filter_map(|record| match record {
        Record::Lost(lost) if lost.place.contains(place) => Some(lost.events),
        _ => None,
    });
    lost.sum()
}

#[test]
fn counts_are_exact_and_losses_are_right() -> Result<()> {
    // Fewer than kinds are counted apart, and attempts followed.
    const SYNS: u32 = 10_000;
    let _alone = machine::alone();
    let lab = NodeLab::build()?;
    let chain = Chain::inet("forward");
    nft(&lab.node, chain, &format!("tcp dport {PORT} counter drop"))?;
    let target = lab.pod_a.socket(Family::V4, PORT);
    let mut arguments = watching(&lab.namespaces());
    arguments.extend(TINY.map(str::to_owned));
    // Room for all attempts, and for all kinds of drops.
    arguments.extend(["--memory", "256M"].map(str::to_owned));
    arguments.extend(["--timeout", "500ms", &target.to_string()].map(str::to_owned));
    let mut tracer = Tracer::start(arguments)?;
    spoofed_syns(&lab.outside, v4(target)?, SYNS)?;
    // Outcomes are reported in the order of the SYNs.
    let last = TcpAttempt::start(&lab.outside, None, target)?;
    tracer.outcome_of(last.flow())?;
    drop(last);
    let trace = tracer.stop()?;

    let by_the_rule = counted_packets(&lab.node, chain)?;
    // A busy machine may overflow a CPU's backlog on the way: drops too, but not the rule's.
    let on_the_way: u64 = trace
        .drops()
        .filter(|drop| !drop.reason.is("NETFILTER_DROP"))
        .map(|drop| drop.count)
        .sum();
    let summary = &trace.summary;
    // The kernel runs a program once at a time on a CPU: one that interrupts itself is skipped. Nearly
    // always, that is for a packet of something else on this machine.
    let skipped = lost_at(&trace, "interrupted runs");
    ensure!(
        (summary.drops..=summary.drops + skipped).contains(&(by_the_rule + on_the_way))
            && summary.shown == summary.drops,
        "the rule has counted {by_the_rule}, {on_the_way} were lost before it: {summary:?}"
    );

    // Each SYN has an event for its drop, and one for each interface it passed.
    let syns = u64::from(SYNS);
    let sent = syns + syns + (syns - on_the_way);
    let drops = trace.drops().filter(|drop| is_spoofed(&drop.flow));
    let shown_by_event = drops.filter(|drop| drop.packet.is_some()).count() as u64;
    let attempts = trace
        .attempts()
        .filter(|reported| is_spoofed(&reported.flow));
    let sightings: u64 = attempts
        .flat_map(|reported| &reported.hops)
        .map(|hop| hop.times)
        .sum();
    let lost = sent - shown_by_event - sightings;
    // Those of the last attempt may be lost as well.
    let of_the_last = 3 * (by_the_rule + on_the_way - syns);
    println!(
        "figure: {sent} events, {shown_by_event} drops and {sightings} sightings came through"
    );
    ensure!(lost > 0, "nothing was lost: this shows nothing");
    ensure!(
        (lost..=lost + of_the_last + skipped).contains(&summary.lost),
        "{lost} to {} events were lost, {skipped} runs skipped: {summary:?}",
        lost + of_the_last + skipped
    );
    ensure!(
        lost_in_records(&trace) == summary.lost,
        "the `lost` records differ from the summary"
    );
    Ok(())
}

#[test]
fn silence_means_nothing_while_events_are_lost() -> Result<()> {
    const OTHER_PORT: u16 = 9999;
    const SYNS: u32 = 2000;
    let _alone = machine::alone();
    let lab = VoidLab::build()?;
    let rule = format!("tcp dport {OTHER_PORT} drop");
    nft(&lab.node, Chain::inet("forward"), &rule)?;
    let far = lab.far_address(Family::V4);
    let mut arguments = watching(&[&lab.node]);
    arguments.extend(TINY.map(str::to_owned));
    arguments.extend(["--timeout", "2s", &far.to_string()].map(str::to_owned));
    let mut tracer = Tracer::start(arguments)?;

    let quiet = TcpAttempt::start(&lab.pod, None, SocketAddr::new(far, PORT))?;
    let reported = tracer.outcome_of(quiet.flow())?;
    let verdict = reported.verdict.as_ref().expect("a failure has a verdict");
    ensure!(
        (verdict.point.name(), verdict.confidence.name()) == ("off-node", "likely"),
        "without a loss:\n  {reported:?}"
    );

    let attempt = TcpAttempt::start(&lab.pod, None, SocketAddr::new(far, PORT))?;
    let storm_target = v4(SocketAddr::new(far, OTHER_PORT))?;
    let is_over = AtomicBool::new(false);
    let reported = thread::scope(|scope| {
        let storm = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                spoofed_syns(&lab.pod, storm_target, SYNS)?;
            }
            Ok(())
        });
        let reported = tracer.outcome_of(attempt.flow());
        is_over.store(true, Ordering::Relaxed);
        storm.join().expect("no panic").and(reported)
    })?;
    let verdict = reported.verdict.as_ref().expect("a failure has a verdict");
    ensure!(
        (
            reported.outcome.name(),
            verdict.point.name(),
            verdict.confidence.name()
        ) == ("unanswered", "unknown", "possible")
            && verdict
                .evidence
                .iter()
                .any(|fact| fact.contains("lost meanwhile")),
        "with losses:\n  {reported:?}"
    );
    // The same place as without: the difference is what may have been missed.
    let last = reported.hops.last().expect("a hop");
    ensure!(
        (last.ifname.as_str(), last.dir) == ("eth0", Direction::Out),
        "{reported:?}"
    );
    drop((quiet, attempt));
    let trace = tracer.stop()?;
    ensure!(trace.summary.lost > 0 && lost_in_records(&trace) == trace.summary.lost);
    Ok(())
}
