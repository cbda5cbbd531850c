//! How long a verdict takes on a node with many network namespaces.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, ensure};

use super::{
    Benchmark, Effort,
    figure::{Figure, Goal, Samples, Unit},
};
use crate::{
    fault::{Chain, nft},
    lab::{Family, Lab, Namespace, VethPair, topology::RouterLab},
    record::{Point, Record},
    tracer::{Tracer, watching},
    traffic::TcpAttempt,
};

pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "namespaces",
    title: "A node with many network namespaces",
    method: "A router drops a SYN, with this many more network namespaces beside it, each tied to it by a \
             pair of interfaces. The time is the one from the drop to the arrival of its record; \
             whydrop starts anew each time, so that it has read nothing of the node before.",
    run,
};

/// Namespaces beside those of the lab.
const COUNT: usize = 50;
/// Milliseconds.
const GOAL: f64 = 20.0;

/// Why the router drops it.
#[derive(Debug, Clone, Copy)]
enum Cause {
    Rule,
    NoRoute,
    NoNeighbor,
}

impl Cause {
    const ALL: [Self; 3] = [Self::Rule, Self::NoRoute, Self::NoNeighbor];

    fn name(self) -> &'static str {
        match self {
            Self::Rule => "a rule",
            Self::NoRoute => "no route",
            Self::NoNeighbor => "no answer to ARP requests",
        }
    }

    /// Where a connection meets it.
    fn destination(self, lab: &RouterLab) -> SocketAddr {
        let [rule, route, neighbor] = [4242, 4243, 4244];
        match self {
            Self::Rule => lab.server.socket(Family::V4, rule),
            Self::NoRoute => (IpAddr::from([198, 51, 100, 1]), route).into(),
            // Hosts of the lab have low numbers.
            Self::NoNeighbor => (lab.address(Family::V4, 2, 99), neighbor).into(),
        }
    }
}

fn run(effort: Effort) -> Result<Vec<Figure>> {
    let lab = Lab::new()?;
    let node = RouterLab::build_in(&lab)?;
    let pods = (0..COUNT).map(|number| pod(&lab, &node.router, number));
    let _pods: Vec<_> = pods.collect::<Result<_>>()?;
    nft(
        &node.router,
        Chain::inet("forward"),
        "tcp dport 4242 counter drop",
    )?;
    // Gives up after a tenth of a second, so that the drop comes soon.
    for (setting, value) in [("mcast_solicit", "1"), ("retrans_time_ms", "100")] {
        let setting = format!("ipv4/neigh/right/{setting}");
        node.router.sysctl(&setting, value)?;
    }
    Cause::ALL
        .into_iter()
        .map(|cause| {
            let times = (0..effort.rounds(9)).map(|_| measure(&node, cause));
            let times: Samples = times.collect::<Result<_>>()?;
            let what = format!("{COUNT} namespaces, dropped by {}", cause.name());
            Ok(Figure::new(what, Unit::Milliseconds, times).goal(Goal::AtMost(GOAL)))
        })
        .collect()
}

/// A namespace with an interface at the router, as a pod has.
fn pod(lab: &Lab, router: &Namespace, number: usize) -> Result<Namespace> {
    let pod = lab.namespace(&format!("pod{number}"))?;
    let veth = format!("veth{number}");
    VethPair {
        a: (router, &veth),
        b: (&pod, "eth0"),
    }
    .create()?;
    let address = format!("10.245.{number}.2");
    pod.run_with_input(
        "ip -batch -",
        &format!(
            "addr add {address}/32 dev eth0\nroute add 169.254.1.1 dev eth0\n\
             route add default via 169.254.1.1 dev eth0\n"
        ),
    )?;
    router.run(&format!("ip route add {address}/32 dev {veth}"))?;
    Ok(pod)
}

/// Milliseconds from the drop to the arrival of its record.
fn measure(lab: &RouterLab, cause: Cause) -> Result<f64> {
    let to = cause.destination(lab);
    let mut arguments = watching(&[&lab.router]);
    arguments.push(to.to_string());
    let mut tracer = Tracer::start(arguments)?;
    let _attempt = TcpAttempt::start(&lab.client, None, to)?;
    tracer.wait_for("the drop", |record| record.as_drop().is_some())?;
    let (arrived, drop) = tracer
        .arrivals()
        .find_map(|(at, record)| Some((at, Record::as_drop(record)?)))
        .context("the drop's record")?;
    let verdict = &drop.verdict;
    ensure!(
        verdict.point != Point::Unknown,
        "the drop by {} has no cause: {verdict:#?}",
        cause.name()
    );
    let milliseconds = arrived.duration_since(drop.ts)?.as_secs_f64() * 1e3;
    tracer.stop()?;
    Ok(milliseconds)
}
