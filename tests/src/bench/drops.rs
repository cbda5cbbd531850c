//! Nanoseconds per dropped packet: whydrop's program at `kfree_skb` beside empty ones that see the
//! same packets, and bpftrace's in the same way.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    os::fd::OwnedFd,
    process,
};

use anyhow::{Context as _, Result, bail};

use super::{
    Benchmark, Effort,
    bpftrace::Bpftrace,
    figure::{Figure, Goal, Samples, Unit},
    load::Datagrams,
};
use crate::{
    bpf::{self, program_type},
    fault::{Chain, Direction, drop_in_tc, nft},
    lab::{Family, topology::RouterLab},
    tracer::{Tracer, watching},
    traffic::Protocol,
};

pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "drops",
    title: "A dropped packet",
    method: "UDP datagrams are dropped by an nft rule, which has to be named by the kernel stack, or \
             by a tc filter, which needs none. `bpf_stats` gives the nanoseconds per run of each \
             program, its own overhead included; an empty program before and one after whydrop's \
             see the same packets. Where every drop must send an event, the datagrams come from \
             6,000 ports in turn, because similar drops send only three events per second. The bpftrace \
             one-liner filters by protocol, address and port, and prints the fields of a drop \
             record.",
    run,
};

/// What the nft rule drops.
const NFT_PORT: u16 = 9;
/// What the tc filter drops.
const TC_PORT: u16 = 10;
/// An unassigned address.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// Ports that make every drop another kind.
const MANY_FLOWS: u16 = 6_000;
/// Drops a second that send an event each, well below what readers keep up with.
const EVENT_RATE: u32 = 15_000;

/// Two empty programs at the tracepoint, one before the program between them.
struct Empty(Vec<OwnedFd>);

impl Empty {
    fn attach(&mut self) -> Result<()> {
        let nothing = [(0xb7, 0x00, 0, 0), (0x95, 0x00, 0, 0)];
        let program = bpf::load(program_type::RAW_TRACEPOINT, &nothing)
            .context("cannot load an empty program")?;
        let link = bpf::raw_tracepoint(&program, c"kfree_skb")
            .context("cannot attach an empty program")?;
        self.0.extend([program, link]);
        Ok(())
    }
}

/// Who looks at the drops.
#[derive(Debug, Clone, Copy)]
enum Contender {
    Whydrop,
    Bpftrace { stack: bool },
}

/// What is measured.
struct Case {
    what: &'static str,
    contender: Contender,
    /// Address and port that it looks for.
    filter: SocketAddrV4,
    /// The drops' port.
    port: u16,
    flows: u16,
    goal: Option<Goal>,
    /// Nanoseconds per run.
    cost: Samples,
    /// The same, by that of the empty programs.
    ratio: Samples,
}

fn cases(server: Ipv4Addr, with_bpftrace: bool) -> Vec<Case> {
    let whydrop = Contender::Whydrop;
    let case = |what, contender, filter: (Ipv4Addr, u16), port, flows, goal| Case {
        what,
        contender,
        filter: SocketAddrV4::new(filter.0, filter.1),
        port,
        flows,
        goal,
        cost: Samples::default(),
        ratio: Samples::default(),
    };
    let (nft, tc) = ((server, NFT_PORT), (server, TC_PORT));
    let mut cases = vec![
        case(
            "not matching",
            whydrop,
            (ELSEWHERE, 9),
            NFT_PORT,
            1,
            Some(Goal::AtMost(1.6)),
        ),
        case("matching, counted only", whydrop, nft, NFT_PORT, 1, None),
        case(
            "matching, event and exact count, no stack",
            whydrop,
            tc,
            TC_PORT,
            MANY_FLOWS,
            Some(Goal::AtMost(4.0)),
        ),
        case(
            "matching, event and exact count, with stack",
            whydrop,
            nft,
            NFT_PORT,
            MANY_FLOWS,
            None,
        ),
    ];
    if with_bpftrace {
        let (plain, stack) = (
            Contender::Bpftrace { stack: false },
            Contender::Bpftrace { stack: true },
        );
        cases.extend([
            case(
                "bpftrace, not matching",
                plain,
                (ELSEWHERE, 9),
                NFT_PORT,
                1,
                None,
            ),
            case(
                "bpftrace, matching, no stack",
                plain,
                tc,
                TC_PORT,
                MANY_FLOWS,
                None,
            ),
            case(
                "bpftrace, matching, with stack",
                stack,
                nft,
                NFT_PORT,
                MANY_FLOWS,
                None,
            ),
        ]);
    }
    cases
}

fn run(effort: Effort) -> Result<Vec<Figure>> {
    let lab = RouterLab::build()?;
    nft(
        &lab.router,
        Chain::inet("forward"),
        &format!("udp dport {NFT_PORT} drop"),
    )?;
    drop_in_tc(
        &lab.router,
        "left",
        Direction::Ingress,
        Family::V4,
        Protocol::Udp,
        TC_PORT,
    )?;
    let SocketAddr::V4(server) = lab.server.socket(Family::V4, NFT_PORT) else {
        bail!("an IPv4 address");
    };
    let mut cases = cases(*server.ip(), effort.bpftrace);
    let _stats = bpf::enable_stats().context("the kernel does not measure its programs")?;
    for _ in 0..effort.rounds(7) {
        for case in &mut cases {
            measure(&lab, case, effort)?;
        }
    }
    Ok(figures(&cases))
}

fn measure(lab: &RouterLab, case: &mut Case, effort: Effort) -> Result<()> {
    let SocketAddr::V4(source) = lab.client.socket(Family::V4, 0) else {
        bail!("an IPv4 address");
    };
    let SocketAddr::V4(target) = lab.server.socket(Family::V4, case.port) else {
        bail!("an IPv4 address");
    };
    let load = Datagrams {
        source: *source.ip(),
        target,
        flows: case.flows,
    };
    let rate = (case.flows > 1).then_some(EVENT_RATE);
    let count = u32::try_from(effort.amount(if rate.is_some() { 15_000 } else { 200_000 }))?;
    let mut empty = Empty(Vec::new());
    empty.attach()?;
    let mut drop_all = |pid, program_type| -> Result<()> {
        empty.attach()?;
        // The first of each flow makes room for it.
        load.send(&lab.client, u32::from(case.flows).max(1000), rate)?;
        let before = (busiest(pid, program_type)?, of_empty()?);
        load.send(&lab.client, count, rate)?;
        let after = (busiest(pid, program_type)?, of_empty()?);
        let cost = per_run(before.0, after.0);
        case.cost.push(cost);
        case.ratio.push(cost / per_run(before.1, after.1));
        Ok(())
    };
    match case.contender {
        Contender::Whydrop => {
            let mut arguments = watching(&[&lab.router]);
            arguments.push(case.filter.to_string());
            let tracer = Tracer::start(arguments)?;
            drop_all(tracer.pid(), program_type::TRACING)?;
            tracer.stop().map(drop)
        }
        Contender::Bpftrace { stack } => {
            let nudge = || load.send(&lab.client, 1, None).map(drop);
            let bpftrace = Bpftrace::start(case.filter, stack, nudge)?;
            drop_all(bpftrace.pid(), program_type::TRACEPOINT)?;
            bpftrace.stop().map(drop)
        }
    }
}

/// Nanoseconds and runs of the program that has run most.
fn busiest(pid: u32, program_type: u32) -> Result<(u64, u64)> {
    let all = bpf::stats_of(pid)?;
    let these = all
        .iter()
        .filter(|stats| stats.program_type == program_type);
    let busiest = these
        .max_by_key(|stats| stats.runs)
        .context("no such program")?;
    Ok((busiest.nanoseconds, busiest.runs))
}

/// Nanoseconds and runs of the empty programs.
fn of_empty() -> Result<(u64, u64)> {
    let all = bpf::stats_of(process::id())?;
    let these = all
        .iter()
        .filter(|stats| stats.program_type == program_type::RAW_TRACEPOINT);
    Ok(these.fold((0, 0), |(nanoseconds, runs), stats| {
        (nanoseconds + stats.nanoseconds, runs + stats.runs)
    }))
}

/// Nanoseconds per run between two looks.
pub(super) fn per_run(before: (u64, u64), after: (u64, u64)) -> f64 {
    (after.0 - before.0) as f64 / (after.1 - before.1) as f64
}

fn figures(cases: &[Case]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for case in cases {
        let mut cost = Figure::new(case.what, Unit::Nanoseconds, case.cost.clone());
        if case.what == "not matching" {
            cost = cost.headline("the cost of a drop that does not match the filter");
        }
        let beside = format!("{}, relative to an empty program", case.what);
        let ratio = Figure::new(beside, Unit::Times, case.ratio.clone());
        figures.push(cost);
        figures.push(match case.goal {
            Some(goal) => ratio.goal(goal),
            None => ratio,
        });
    }
    let of = |what: &str| {
        cases
            .iter()
            .find(|case| case.what == what)
            .map(|case| &case.cost)
    };
    for (what, ours, theirs, goal) in [
        (
            "not matching, relative to bpftrace",
            "not matching",
            "bpftrace, not matching",
            Goal::Below(1.0),
        ),
        (
            "matching, no stack, relative to bpftrace",
            "matching, event and exact count, no stack",
            "bpftrace, matching, no stack",
            Goal::AtMost(0.25),
        ),
        (
            "matching, with stack, relative to bpftrace",
            "matching, event and exact count, with stack",
            "bpftrace, matching, with stack",
            Goal::AtMost(0.25),
        ),
    ] {
        if let (Some(ours), Some(theirs)) = (of(ours), of(theirs)) {
            figures.push(Figure::new(what, Unit::Times, ours.by(theirs)).goal(goal));
        }
    }
    figures
}
