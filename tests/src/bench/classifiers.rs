//! Nanoseconds per packet at an interface: whydrop's classifiers beside empty ones that see the
//! same packets.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    os::fd::OwnedFd,
    process,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    Benchmark, Effort,
    drops::per_run,
    figure::{Figure, Goal, Samples, Unit},
    load::Datagrams,
};
use crate::{
    bpf::{self, attach_type, program_type},
    fault::{Chain, nft},
    lab::{Family, Namespace, topology::RouterLab},
    tracer::{Tracer, watching},
    traffic::{Outcome, TcpAttempt, TcpServer, spoofed_syns, upload},
};

pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "classifiers",
    title: "A packet at an interface",
    method: "A router forwards packets; whydrop's classifiers are at both of its interfaces, between \
             empty ones in the same TCX chain. `bpf_stats` as above, both directions together.",
    run,
};

/// Links are put before others with this flag of the kernel's UAPI, else behind them.
const BPF_F_BEFORE: u32 = 1 << 3;
/// What the server's rule drops.
const PORT: u16 = 9;
/// Where the server answers.
const ECHO_PORT: u16 = 8080;
/// An unassigned address.
const ELSEWHERE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), ECHO_PORT);
/// SYNs of one round: fewer than the ring buffer holds, so that none of them is lost.
const SYNS: usize = 2_000;

/// What passes the router.
#[derive(Debug, Clone, Copy)]
enum Load {
    Datagrams,
    Stream,
    Syns,
}

struct Case {
    what: &'static str,
    load: Load,
    matches: bool,
    goal: Option<Goal>,
    cost: Samples,
    ratio: Samples,
}

impl Case {
    fn new(what: &'static str, load: Load, matches: bool, goal: Option<Goal>) -> Self {
        let (cost, ratio) = Default::default();
        Self {
            what,
            load,
            matches,
            goal,
            cost,
            ratio,
        }
    }
}

fn run(effort: Effort) -> Result<Vec<Figure>> {
    let lab = RouterLab::build()?;
    for proto in ["udp", "tcp"] {
        let rule = format!("{proto} dport {PORT} drop");
        nft(&lab.server, Chain::inet("input"), &rule)?;
    }
    let _server = TcpServer::echo(&lab.server, lab.server.socket(Family::V4, ECHO_PORT))?;
    let _stats = bpf::enable_stats().context("the kernel does not measure its programs")?;
    let none_of_ours = Some(Goal::AtMost(1.6));
    let mut cases = [
        Case::new(
            "a datagram, not matching",
            Load::Datagrams,
            false,
            none_of_ours,
        ),
        Case::new(
            "a TCP segment, not matching",
            Load::Stream,
            false,
            none_of_ours,
        ),
        Case::new(
            "a TCP segment of a connection that matches",
            Load::Stream,
            true,
            None,
        ),
        Case::new("a SYN, not matching", Load::Syns, false, None),
        Case::new(
            "a SYN, matching, held or sent to userspace",
            Load::Syns,
            true,
            None,
        ),
    ];
    for _ in 0..effort.rounds(9) {
        for case in &mut cases {
            measure(&lab, case, effort)?;
        }
    }
    let figures = cases.into_iter().flat_map(|case| {
        let cost = Figure::new(case.what, Unit::Nanoseconds, case.cost);
        let beside = format!("{}, relative to an empty program", case.what);
        let ratio = Figure::new(beside, Unit::Times, case.ratio);
        let ratio = match case.goal {
            Some(goal) => ratio.goal(goal),
            None => ratio,
        };
        [cost, ratio]
    });
    Ok(figures.collect())
}

fn measure(lab: &RouterLab, case: &mut Case, effort: Effort) -> Result<()> {
    let mut arguments = watching(&[&lab.router]);
    arguments.push(if case.matches {
        let port = if matches!(case.load, Load::Syns) {
            PORT
        } else {
            ECHO_PORT
        };
        lab.server.socket(Family::V4, port).to_string()
    } else {
        ELSEWHERE.to_string()
    });
    let mut empty = Vec::new();
    attach_empty(&lab.router, 0, &mut empty)?;
    let tracer = Tracer::start(arguments)?;
    attach_empty(&lab.router, BPF_F_BEFORE, &mut empty)?;
    let before = (classifiers(tracer.pid())?, classifiers(process::id())?);
    send(lab, case.load, effort)?;
    let after = (classifiers(tracer.pid())?, classifiers(process::id())?);
    let cost = per_run(before.0, after.0);
    case.cost.push(cost);
    case.ratio.push(cost / per_run(before.1, after.1));
    let trace = tracer.stop()?;
    ensure!(
        trace.summary.lost == 0,
        "events were lost, which is cheaper"
    );
    Ok(())
}

/// Empty classifiers at both interfaces, both ways.
fn attach_empty(router: &Namespace, flags: u32, held: &mut Vec<OwnedFd>) -> Result<()> {
    // r0 = TCX_NEXT
    let next = [(0xb7, 0x00, 0, -1), (0x95, 0x00, 0, 0)];
    let program =
        bpf::load(program_type::SCHED_CLS, &next).context("cannot load an empty program")?;
    for ifname in ["left", "right"] {
        for direction in [attach_type::TCX_INGRESS, attach_type::TCX_EGRESS] {
            let link = router.enter(|| {
                let ifindex = nix::net::if_::if_nametoindex(ifname)?;
                bpf::link(&program, ifindex, direction, flags)
            });
            held.push(link.with_context(|| format!("cannot attach to {ifname} by TCX"))?);
        }
    }
    held.push(program);
    Ok(())
}

/// Nanoseconds and runs of a process's classifiers.
fn classifiers(pid: u32) -> Result<(u64, u64)> {
    let all = bpf::stats_of(pid)?;
    let these = all
        .iter()
        .filter(|stats| stats.program_type == program_type::SCHED_CLS);
    Ok(these.fold((0, 0), |(nanoseconds, runs), stats| {
        (nanoseconds + stats.nanoseconds, runs + stats.runs)
    }))
}

fn send(lab: &RouterLab, load: Load, effort: Effort) -> Result<()> {
    let (SocketAddr::V4(source), SocketAddr::V4(target)) = (
        lab.client.socket(Family::V4, 0),
        lab.server.socket(Family::V4, PORT),
    ) else {
        bail!("IPv4 addresses");
    };
    match load {
        Load::Datagrams => {
            let datagrams = Datagrams {
                source: *source.ip(),
                target,
                flows: 1,
            };
            let count = u32::try_from(effort.amount(200_000))?;
            datagrams.send(&lab.client, count, None).map(drop)
        }
        Load::Stream => {
            const PATIENCE: Duration = Duration::from_secs(20);
            let server = lab.server.socket(Family::V4, ECHO_PORT);
            let attempt = TcpAttempt::start(&lab.client, None, server)?;
            let Outcome::Connected(connection) = attempt.outcome(PATIENCE)? else {
                bail!("the echo server does not answer");
            };
            let arrived = upload(connection, effort.amount(200 << 20), PATIENCE)?;
            ensure!(arrived, "the stream did not come back in time");
            Ok(())
        }
        Load::Syns => spoofed_syns(&lab.client, target, u32::try_from(effort.amount(SYNS))?),
    }
}
