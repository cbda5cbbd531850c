//! Interfaces that come and go in numbers: the trace is not held up, and does not hold up those who
//! make them.

use std::process::Command;

use anyhow::{Result, bail, ensure};
use whydrop_tests::{
    attempt::AttemptTrace,
    expected::ExpectedAttempt,
    fault::{Chain, nft},
    lab::{Family, Lab, VethPairs, topology::NodeLab},
    record::Record,
    resource_usage::ResourceUsage,
    tracer::{Reaped, Tracer, watching},
    traffic::{TcpServer, UdpClient},
};

const PAIRS: usize = 100;
/// Whole groups of interfaces are deleted at once.
const GROUP: u32 = 78;
/// How many are attached to before they are too many.
const BURST: usize = 20;
/// Without probes at each of them.
const NOTE: &str = "interfaces come and go in numbers";

fn add_pairs(lab: &NodeLab, name: &str) -> Result<()> {
    let pairs = VethPairs {
        name,
        count: PAIRS,
        group: GROUP,
    };
    pairs.create(&lab.node, &lab.outside)
}

/// A hundred pairs that come at once are not attached to: from then on two tracepoints see the
/// packets of all interfaces, those that were there before included, at the same hops as before.
#[test]
fn a_hundred_pairs_come_at_once() -> Result<()> {
    let lab = NodeLab::build()?;
    let from = format!("{}/32", lab.pod_a.address(Family::V4));
    let mut watch = AttemptTrace::start(&[&lab.node], ["--from", &from])?;
    let server = lab.outside.socket(Family::V4, 8080);
    let _server = TcpServer::echo(&lab.outside, server)?;
    let expected = ExpectedAttempt::answered()
        .hops(&[(&lab.node, "veth-a in, cni0 in, eth0 out")])
        .reply_hops(&[(&lab.node, "eth0 in, cni0 out, veth-a out")]);
    watch.healthy(&lab.pod_a, &lab.outside, server, &expected)?;
    let pid = watch.tracer().pid();
    let before = ResourceUsage::of(pid)?;
    add_pairs(&lab, "flash")?;
    watch.tracer().wait_for_note(NOTE)?;
    let after = ResourceUsage::of(pid)?;
    // It takes a few of them to see that they are many. Each has two.
    let more = after.links.len() - before.links.len();
    ensure!(more <= 2 + 2 * BURST, "{more} links for {PAIRS} interfaces");
    watch.healthy(&lab.pod_a, &lab.outside, server, &expected)?;
    lab.node.run(&format!("ip link delete group {GROUP}"))?;
    watch.healthy(&lab.pod_a, &lab.outside, server, &expected)?;
    watch.finish().map(drop)
}

/// A pod whose interface comes with a hundred others is seen like any other.
#[test]
fn a_pod_among_a_hundred_pairs() -> Result<()> {
    let in_lab = Lab::new()?;
    let lab = NodeLab::build_in(&in_lab)?;
    let from = in_lab.plan().subnet(Family::V4, 1);
    let mut watch = AttemptTrace::start(&[&lab.node], ["--from", &from])?;
    add_pairs(&lab, "crowd")?;
    let pod = lab.further_pod(&in_lab, "pod-late", "veth-late")?;
    watch.tracer().wait_for_note(NOTE)?;
    let server = lab.outside.socket(Family::V4, 8080);
    let _server = TcpServer::echo(&lab.outside, server)?;
    watch.healthy(
        &pod,
        &lab.outside,
        server,
        &ExpectedAttempt::answered()
            .hops(&[(&lab.node, "veth-late in, cni0 in, eth0 out")])
            .reply_hops(&[(&lab.node, "eth0 in, cni0 out, veth-late out")]),
    )?;
    watch.finish().map(drop)
}

/// While interfaces are deleted one after the other, which holds the RTNL all the time, drops are
/// shown and Ctrl-C is obeyed: both before the last one is gone.
#[test]
fn a_trace_beside_interfaces_that_go() -> Result<()> {
    let lab = NodeLab::build()?;
    let to = lab.pod_b.socket(Family::V4, 9999);
    nft(
        &lab.node,
        Chain::inet("forward"),
        "udp dport 9999 counter drop",
    )?;
    nft(
        &lab.pod_b,
        Chain::inet("input"),
        "udp dport 9999 counter drop",
    )?;
    let mut arguments = watching(&[&lab.node, &lab.pod_b]);
    arguments.push(to.to_string());
    let mut tracer = Tracer::start(arguments)?;
    for round in ["wave", "surge", "swell"] {
        add_pairs(&lab, round)?;
    }
    tracer.wait_for_note(NOTE)?;
    let script = (0..PAIRS).flat_map(|number| {
        ["wave", "surge", "swell"].map(|round| format!("ip link delete {round}{number}; "))
    });
    let mut deleting = Reaped::new(
        Command::new("ip")
            .args(["netns", "exec", lab.node.name(), "sh", "-c"])
            .arg(script.collect::<String>())
            .spawn()?,
    );
    let client = UdpClient::connect(&lab.pod_a, None, to)?;
    client.send(10)?;
    tracer.wait_for("the drop of a datagram", |record| {
        record.as_drop().is_some()
    })?;
    let trace = tracer.stop()?;
    ensure!(
        deleting.0.try_wait()?.is_none(),
        "the trace was to end before the last interface"
    );
    let [drop] = trace.drops().collect::<Vec<_>>()[..] else {
        bail!("one drop, but {:?}", trace.records);
    };
    ensure!(drop.count == 1, "{drop:?}");
    let started = trace.records.first();
    ensure!(matches!(started, Some(Record::Started(_))));
    Ok(())
}
