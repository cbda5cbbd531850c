//! Other programs on the same interfaces: another whydrop, another tool's programs. Neither side
//! disturbs the other, and where whydrop cannot attach, it reports that and claims nothing.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use whydrop_tests::{
    fault::{Chain, Direction, Position, TcxDrop, counted_packets, drop_in_tc, nft, tcx_programs},
    kernel,
    lab::{
        Family, Topology,
        topology::{NodeLab, VoidLab},
    },
    poll_until,
    record::{self, Drop, Flow, Outcome, Point, Record},
    tracer::{Tracer, watching},
    traffic::{Protocol, TcpAttempt, TcpServer, UdpClient},
};

const PORT: u16 = 8080;
/// The kernel takes no more programs in one chain (`BPF_MPROG_MAX`).
const MOST_PROGRAMS: usize = 64;

fn drop_of(tracer: &mut Tracer, attempt: &TcpAttempt) -> Result<Drop> {
    let flow = Flow::from(attempt.flow());
    let record = tracer.wait_for("the attempt's drop", |record| {
        record.as_drop().is_some_and(|drop| drop.flow == flow)
    })?;
    Ok(record.as_drop().context("a drop")?.clone())
}

/// Two traces of the same see the same; a third comes while one of them dies.
#[test]
fn two_traces_see_the_same_and_end_by_themselves() -> Result<()> {
    const PACKETS: usize = 5_000;
    let lab = NodeLab::build()?;
    let chain = Chain::inet("forward");
    nft(&lab.node, chain, &format!("udp dport {PORT} counter drop"))?;
    let target = lab.pod_a.socket(Family::V4, PORT);
    let server = lab.pod_a.socket(Family::V4, PORT + 1);
    let _server = TcpServer::echo(&lab.pod_a, server)?;
    let start = || {
        let mut arguments = watching(&lab.namespaces());
        arguments.push(target.ip().to_string());
        Tracer::start(arguments)
    };
    let storm = || -> Result<()> {
        let client = UdpClient::connect(&lab.outside, None, target)?;
        Ok(client.storm(PACKETS)?)
    };
    let connect = |tracers: &mut [&mut Tracer]| -> Result<()> {
        let attempt = TcpAttempt::start(&lab.outside, None, server)?;
        let mut ladders = Vec::new();
        for tracer in tracers {
            let reported = tracer.outcome_of(attempt.flow())?;
            ensure!(reported.outcome == Outcome::Answered, "{reported:?}");
            let places = reported
                .hops
                .iter()
                .map(|hop| (hop.ifname.clone(), hop.dir, hop.netns));
            ladders.push(places.collect::<Vec<_>>());
        }
        ensure!(
            ladders.iter().all(|ladder| *ladder == ladders[0]),
            "{ladders:?}"
        );
        Ok(())
    };

    let (mut first, mut second) = (start()?, start()?);
    storm()?;
    connect(&mut [&mut first, &mut second])?;
    let of_first = first.stop()?.summary;
    let so_far = counted_packets(&lab.node, chain)?;
    ensure!(
        of_first.drops == so_far,
        "{so_far} by the rule: {of_first:?}"
    );

    // One begins, one is killed: the other one does not notice.
    let mut third = start()?;
    storm()?;
    connect(&mut [&mut second, &mut third])?;
    third.kill()?;
    storm()?;
    connect(&mut [&mut second])?;
    let of_second = second.stop()?.summary;
    let all = counted_packets(&lab.node, chain)?;
    ensure!(
        of_second.drops == all && all > so_far,
        "{all} by the rule: {of_second:?}"
    );
    Ok(())
}

/// Another tool's TCX programs before and behind whydrop's: attached earlier, and meanwhile.
fn beside_tcx_programs(end: impl FnOnce(Tracer) -> Result<()>) -> Result<()> {
    if kernel::NO_TCX.applies() {
        return Ok(());
    }
    let lab = NodeLab::build()?;
    let node = &lab.node;
    let ingress = Direction::Ingress;
    let attach =
        |position, port| TcxDrop::attach(node, "eth0", ingress, position, Family::V4, port);
    let chain = || tcx_programs(node, "eth0", ingress);
    let start = || {
        let mut arguments = watching(&[node]);
        arguments.push(lab.pod_a.address(Family::V4).to_string());
        Tracer::start(arguments)
    };
    let begin = |port| {
        let target = SocketAddr::new(lab.pod_a.address(Family::V4), port);
        TcpAttempt::start(&lab.outside, None, target)
    };

    let _earlier = attach(Position::Last, PORT)?;
    let earlier = chain()?;
    let mut tracer = start()?;
    let with_ours = chain()?;
    ensure!(
        with_ours.len() == 2 && with_ours[1..] == earlier,
        "whydrop's comes first: {earlier:?}, then {with_ours:?}"
    );
    let _behind = attach(Position::Last, PORT + 1)?;
    let _before = attach(Position::First, PORT + 2)?;
    let all = chain()?;
    let ours = with_ours[0];
    ensure!(all.len() == 4 && all[1] == ours, "{all:?}");

    // What whydrop passes on, the others drop; what they drop before it, it does not see pass.
    for (port, is_seen) in [(PORT, true), (PORT + 1, true), (PORT + 2, false)] {
        let attempt = begin(port)?;
        let drop = drop_of(&mut tracer, &attempt)?;
        ensure!(
            drop.reason.is("TC_INGRESS") && drop.ifname.as_deref() == Some("eth0"),
            "{drop:?}"
        );
        if is_seen {
            let reported = tracer.outcome_of(attempt.flow())?;
            let [hop] = reported.hops.as_slice() else {
                anyhow::bail!("one hop: {reported:?}");
            };
            ensure!(
                (hop.ifname.as_str(), hop.dir) == ("eth0", record::Direction::In),
                "{reported:?}"
            );
        }
    }
    end(tracer)?;

    let others: Vec<u32> = all.iter().copied().filter(|id| *id != ours).collect();
    poll_until("whydrop's program to go", || {
        (chain().ok()? == others).then_some(())
    })
    .with_context(|| format!("{others:?} were there"))?;
    // They still work, as a later trace sees.
    let mut later = start()?;
    for port in [PORT, PORT + 1, PORT + 2] {
        let drop = drop_of(&mut later, &begin(port)?)?;
        ensure!(drop.reason.is("TC_INGRESS"), "{drop:?}");
    }
    later.stop()?;
    ensure!(chain()? == others, "the order has changed");
    Ok(())
}

#[test]
fn tcx_programs_of_others_stay_after_a_regular_end() -> Result<()> {
    beside_tcx_programs(|tracer| tracer.stop().map(drop))
}

#[test]
fn tcx_programs_of_others_stay_after_a_kill() -> Result<()> {
    beside_tcx_programs(Tracer::kill)
}

/// Another tool's filters in a clsact qdisc, which whydrop uses too where there is no TCX.
#[test]
fn filters_of_others_stay() -> Result<()> {
    let lab = NodeLab::build()?;
    let node = &lab.node;
    let tcp = Protocol::Tcp;
    drop_in_tc(node, "eth0", Direction::Ingress, Family::V4, tcp, PORT)?;
    drop_in_tc(node, "eth0", Direction::Egress, Family::V6, tcp, PORT)?;
    let shown = || -> Result<String> {
        let qdiscs = node.run("tc qdisc show dev eth0")?;
        Ok(qdiscs + &node.tc_filters("eth0")?.concat())
    };
    let before = shown()?;
    let target = lab.pod_a.socket(Family::V4, PORT);
    let mut arguments = watching(&[node]);
    arguments.push(target.to_string());
    let mut tracer = Tracer::start(arguments)?;
    let attempt = TcpAttempt::start(&lab.outside, None, target)?;
    let drop = drop_of(&mut tracer, &attempt)?;
    ensure!(drop.reason.is("TC_INGRESS"), "{drop:?}");
    let reported = tracer.outcome_of(attempt.flow())?;
    ensure!(
        reported.hops.len() == 1,
        "whydrop comes before it: {reported:?}"
    );
    tracer.stop()?;
    ensure!(
        shown()? == before,
        "before:\n{before}\nafter:\n{}",
        shown()?
    );
    Ok(())
}

/// A chain without room: said, and nothing is claimed of what may have passed there.
#[test]
fn an_interface_without_room_is_said_and_judged_by() -> Result<()> {
    if kernel::NO_TCX.applies() {
        return Ok(());
    }
    let lab = VoidLab::build()?;
    let far = SocketAddr::new(lab.far_address(Family::V4), PORT);
    let start = || {
        let mut arguments = watching(&[&lab.node]);
        arguments.push(far.to_string());
        Tracer::start(arguments)
    };
    let degraded = |tracer: &Tracer| {
        let started = tracer.records().iter().find_map(|record| match record {
            Record::Started(started) => Some(started.degraded.clone()),
            _ => None,
        });
        started.context("a trace has started")
    };
    let point = |tracer: &mut Tracer| -> Result<(Point, Vec<String>)> {
        let reported = tracer.outcome_of(TcpAttempt::start(&lab.pod, None, far)?.flow())?;
        let verdict = reported.verdict.context("a failure has a verdict")?;
        Ok((verdict.point, verdict.evidence))
    };

    let mut tracer = start()?;
    let (with_room, evidence) = point(&mut tracer)?;
    ensure!(
        with_room == Point::OffNode,
        "with room it was {with_room:?}: {evidence:?}"
    );
    tracer.stop()?;

    let fill = || {
        TcxDrop::attach(
            &lab.node,
            "cni0",
            Direction::Ingress,
            Position::Last,
            Family::V4,
            1,
        )
    };
    let full: Vec<TcxDrop> = (0..MOST_PROGRAMS).map_while(|_| fill().ok()).collect();
    ensure!(fill().is_err(), "there is room behind {}", full.len());
    let mut tracer = start()?;
    let said = degraded(&tracer)?;
    ensure!(
        said.iter().any(|sentence| sentence.contains("cni0")),
        "{said:?}"
    );
    let (point, evidence) = point(&mut tracer)?;
    ensure!(
        point == Point::Unknown && evidence.iter().any(|fact| fact.contains("cni0")),
        "{point:?}: {evidence:?}"
    );
    tracer.stop()?;
    drop(full);
    Ok(())
}
