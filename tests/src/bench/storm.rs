//! A drop storm from one core into a drop rule.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, bail};

use super::{
    Benchmark, Effort,
    bpftrace::Bpftrace,
    figure::{Figure, Goal, Samples, Unit},
    load::Datagrams,
    process::{peak_memory, processor_time},
};
use crate::{
    fault::{Chain, counted_packets, nft},
    lab::{Family, topology::RouterLab},
    tracer::{Tracer, watching},
};

pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "storm",
    title: "A drop storm",
    method: "One thread sends UDP datagrams into a drop rule as fast as it can, from one port or \
             from 2,000 in turn; the rule's own counter says how many there were.",
    run,
};

/// What the rule drops.
const PORT: u16 = 9;
/// Source ports of a storm of many flows.
const MANY_FLOWS: u16 = 2_000;

struct Case {
    what: &'static str,
    matches: bool,
    flows: u16,
    rate: Samples,
    counted: Samples,
    shown: Samples,
    lost: Samples,
    processor: Samples,
    memory: Samples,
}

impl Case {
    fn new(what: &'static str, matches: bool, flows: u16) -> Self {
        let (rate, counted, shown, lost, processor, memory) = Default::default();
        Self {
            what,
            matches,
            flows,
            rate,
            counted,
            shown,
            lost,
            processor,
            memory,
        }
    }
}

fn run(effort: Effort) -> Result<Vec<Figure>> {
    let lab = RouterLab::build()?;
    let rule = format!("udp dport {PORT} counter drop");
    nft(&lab.router, Chain::inet("forward"), &rule)?;
    let mut without = Samples::default();
    let mut cases = [
        Case::new("not matching", false, 1),
        Case::new("matching, one flow", true, 1),
        Case::new("matching, 2,000 flows", true, MANY_FLOWS),
    ];
    let mut theirs = (Samples::default(), Samples::default());
    for _ in 0..effort.rounds(5) {
        without.push(storm(&lab, 1, effort)?.per_second());
        for case in &mut cases {
            beside_whydrop(&lab, case, effort)?;
        }
        if effort.bpftrace {
            let (rate, lost) = beside_bpftrace(&lab, effort)?;
            theirs.0.push(rate);
            theirs.1.push(lost);
        }
    }
    Ok(figures(without, cases, effort.bpftrace.then_some(theirs)))
}

/// What a storm came to.
struct Storm {
    dropped: u64,
    took: Duration,
}

impl Storm {
    fn per_second(&self) -> f64 {
        self.dropped as f64 / self.took.as_secs_f64()
    }
}

fn storm(lab: &RouterLab, flows: u16, effort: Effort) -> Result<Storm> {
    let (SocketAddr::V4(source), SocketAddr::V4(target)) = (
        lab.client.socket(Family::V4, 0),
        lab.server.socket(Family::V4, PORT),
    ) else {
        bail!("IPv4 addresses");
    };
    let datagrams = Datagrams {
        source: *source.ip(),
        target,
        flows,
    };
    let forward = Chain::inet("forward");
    let before = counted_packets(&lab.router, forward)?;
    let took = datagrams.send(&lab.client, u32::try_from(effort.amount(600_000))?, None)?;
    Ok(Storm {
        dropped: counted_packets(&lab.router, forward)? - before,
        took,
    })
}

fn beside_whydrop(lab: &RouterLab, case: &mut Case, effort: Effort) -> Result<()> {
    let mut arguments = watching(&[&lab.router]);
    let target = if case.matches {
        lab.server.socket(Family::V4, PORT).to_string()
    } else {
        "198.51.100.1:9".to_owned()
    };
    arguments.push(target);
    let tracer = Tracer::start(arguments)?;
    let before = processor_time(tracer.pid())?;
    let storm = storm(lab, case.flows, effort)?;
    let used = processor_time(tracer.pid())? - before;
    case.memory.push(peak_memory(tracer.pid())?);
    let trace = tracer.stop()?;
    let summary = &trace.summary;
    case.rate.push(storm.per_second());
    let wanted = if case.matches { storm.dropped } else { 0 };
    // Both none: that is exact too.
    case.counted.push(if summary.drops == wanted {
        1.0
    } else {
        summary.drops as f64 / wanted as f64
    });
    case.shown.push(trace.drops().count() as f64);
    case.lost.push(summary.lost as f64);
    case.processor
        .push(used.as_secs_f64() / storm.took.as_secs_f64());
    Ok(())
}

/// Drops a second, and the share that it lost.
fn beside_bpftrace(lab: &RouterLab, effort: Effort) -> Result<(f64, f64)> {
    let SocketAddr::V4(target) = lab.server.socket(Family::V4, PORT) else {
        bail!("an IPv4 address");
    };
    let (SocketAddr::V4(source), SocketAddr::V4(elsewhere)) = (
        lab.client.socket(Family::V4, 0),
        lab.server.socket(Family::V4, PORT + 1),
    ) else {
        bail!("IPv4 addresses");
    };
    let nudge = Datagrams {
        source: *source.ip(),
        target: elsewhere,
        flows: 1,
    };
    let bpftrace = Bpftrace::start(target, false, || nudge.send(&lab.client, 1, None).map(drop))?;
    let storm = storm(lab, 1, effort)?;
    let outcome = bpftrace.stop()?;
    let lost = storm.dropped.saturating_sub(outcome.shown) as f64 / storm.dropped as f64;
    Ok((storm.per_second(), lost))
}

fn figures(without: Samples, cases: [Case; 3], theirs: Option<(Samples, Samples)>) -> Vec<Figure> {
    let mut figures = Vec::new();
    for case in cases {
        let of = |what: &str| format!("{}: {what}", case.what);
        let rate = case.rate.by(&without);
        figures.extend([
            Figure::new(
                of("drops per second, relative to the rate without whydrop"),
                Unit::Percent,
                rate,
            ),
            Figure::new(
                of("counted, relative to the rule's counter"),
                Unit::Percent,
                case.counted,
            )
            .goal(Goal::Exactly(1.0)),
            Figure::new(of("records shown"), Unit::Count, case.shown),
            Figure::new(of("events lost"), Unit::Count, case.lost).goal(Goal::Exactly(0.0)),
            Figure::new(
                of("processor time of the process"),
                Unit::Percent,
                case.processor,
            ),
            Figure::new(of("peak memory"), Unit::Mebibytes, case.memory),
        ]);
    }
    if let Some((rate, lost)) = theirs {
        figures.extend([
            Figure::new(
                "bpftrace: drops per second, relative to the rate without",
                Unit::Percent,
                rate.by(&without),
            ),
            Figure::new("bpftrace: drops that it did not show", Unit::Percent, lost),
        ]);
    }
    figures.insert(
        0,
        Figure::new("drops per second without whydrop", Unit::PerSecond, without),
    );
    figures
}
