//! SYNs that leave the node and never come back.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use whydrop_tests::{
    attempt::AttemptTrace,
    expected::ExpectedAttempt,
    fault::{Chain, nft},
    lab::{
        Family, Lab, VethPair,
        topology::{NodeLab, OverlayLab, Underlay, VoidLab},
    },
    sink::Sink,
    traffic::{TcpAttempt, TcpServer},
};

const PORT: u16 = 8080;

#[test]
fn swallowed_by_another_machine() -> Result<()> {
    let lab = VoidLab::build()?;
    Family::each(|family| {
        let server = lab.node.socket(family, PORT);
        let _server = TcpServer::echo(&lab.node, server)?;
        let from = lab.pod.address(family).to_string();
        let mut watch = AttemptTrace::start(&[&lab.node], ["--from", &from])?;
        watch.healthy(
            &lab.pod,
            &lab.node,
            server,
            &ExpectedAttempt::answered()
                .hops(&[(&lab.node, "veth-a in, cni0 in")])
                .reply_hops(&[(&lab.node, "cni0 out, veth-a out")])
                .syns(1),
        )?;
        watch.silent(
            &lab.pod,
            SocketAddr::new(lab.far_address(family), PORT),
            &ExpectedAttempt::failed("unanswered", "off-node", "likely")
                .hops(&[(&lab.node, "veth-a in, cni0 in, eth0 out")])
                .why("eth0")
                .evidence("eth0 is a tun interface"),
        )?;
        watch.finish().map(drop)
    })
}

/// A rule drops what the same client sends to the same server's other port, at the same time and in
/// the same trace: that says nothing about this connection.
#[test]
fn a_foreign_drop_is_no_evidence() -> Result<()> {
    const OTHER: u16 = PORT + 1;
    let lab = VoidLab::build()?;
    Family::each(|family| {
        let far = lab.far_address(family);
        let server = lab.node.socket(family, PORT);
        let _server = TcpServer::echo(&lab.node, server)?;
        let from = lab.pod.address(family).to_string();
        let mut watch = AttemptTrace::start(&[&lab.node], ["--from", &from])?;
        let answered = ExpectedAttempt::answered()
            .hops(&[(&lab.node, "veth-a in, cni0 in")])
            .reply_hops(&[(&lab.node, "cni0 out, veth-a out")]);
        watch.healthy(&lab.pod, &lab.node, server, &answered)?;
        let rule = format!("tcp dport {OTHER} drop");
        nft(&lab.node, Chain::inet("forward"), &rule)?;
        let foreign = TcpAttempt::start(&lab.pod, None, SocketAddr::new(far, OTHER))?;
        let expected = ExpectedAttempt::failed("unanswered", "off-node", "likely")
            .hops(&[(&lab.node, "veth-a in, cni0 in, eth0 out")])
            .evidence("no drop of it was seen on this node");
        watch.silent(&lab.pod, SocketAddr::new(far, PORT), &expected)?;
        let dropped = ExpectedAttempt::dropped("unanswered", "firewall")
            .hops(&[(&lab.node, "veth-a in, cni0 in")])
            .why("table inet filter_forward");
        watch.expect(foreign.flow(), &dropped)?;

        let trace = watch.finish()?;
        let mut silent = trace
            .attempts()
            .filter(|attempt| (attempt.flow.dst, attempt.flow.dport) == (far, Some(PORT)));
        let verdict = silent.next().and_then(|attempt| attempt.verdict.clone());
        let verdict = verdict.context("a verdict")?;
        let said = format!("{} {:?} {:?}", verdict.why, verdict.evidence, verdict.fix);
        ensure!(!said.contains("filter_forward"), "{said}");
        ensure!(
            trace.drops().all(|drop| drop.flow.dport == Some(OTHER)),
            "a drop of something else"
        );
        Ok(())
    })
}

/// With the pod watched too, the ladder begins at its own interface.
#[test]
fn swallowed_with_the_pod_in_sight() -> Result<()> {
    let lab = VoidLab::build()?;
    let from = lab.pod.address(Family::V4).to_string();
    let mut watch = AttemptTrace::start(&[&lab.node, &lab.pod], ["--from", &from])?;
    watch.silent(
        &lab.pod,
        SocketAddr::new(lab.far_address(Family::V4), PORT),
        &ExpectedAttempt::failed("unanswered", "off-node", "likely").hops(&[
            (&lab.pod, "eth0 out"),
            (&lab.node, "veth-a in, cni0 in, eth0 out"),
        ]),
    )?;
    watch.finish().map(drop)
}

/// The other node is unreachable; what leaves this one is VXLAN.
#[test]
fn swallowed_inside_vxlan() -> Result<()> {
    let lab = OverlayLab::build(Underlay::Direct)?;
    let [first, second] = &lab.nodes;
    let _sink = Sink::create(&first.node, "wan")?;
    let remote = second.node.address(Family::V4);
    let local = first.node.address(Family::V4);
    Family::each(|family| {
        let server = second.pod.socket(family, PORT);
        let _server = TcpServer::echo(&second.pod, server)?;
        let mut watch = AttemptTrace::start(&[&first.node], [server])?;
        watch.healthy(
            &first.pod,
            &second.pod,
            server,
            &ExpectedAttempt::answered()
                .hops(&[(&first.node, "veth-a in, cni0 in, vxlan10 out, eth0 out")])
                .inside("eth0", local, remote, OverlayLab::PORT)
                .reply_hops(&[(&first.node, "eth0 in, vxlan10 in, cni0 out, veth-a out")]),
        )?;
        let route = format!("{remote} dev wan");
        first.node.run(&format!("ip route add {route}"))?;
        watch.silent(
            &first.pod,
            server,
            &ExpectedAttempt::failed("unanswered", "off-node", "likely")
                .hops(&[(&first.node, "veth-a in, cni0 in, vxlan10 out, wan out")])
                .inside("wan", local, remote, OverlayLab::PORT)
                .why(remote.to_string()),
        )?;
        first.node.run(&format!("ip route delete {route}"))?;
        watch.finish().map(drop)
    })
}

/// Whether it is the pods or the way between the nodes, the other attempts show: none of those by
/// the same tunnel gets through, and all of those within the node do.
#[test]
fn other_attempts_by_the_same_tunnel() -> Result<()> {
    let lab = Lab::new()?;
    let overlay = OverlayLab::build_in(&lab, Underlay::Direct)?;
    let neighbor = overlay.second_pod(&lab)?;
    let [first, second] = &overlay.nodes;
    let _sink = Sink::create(&first.node, "wan")?;
    let remote = second.node.address(Family::V4);
    let local = first.node.address(Family::V4);
    let near = neighbor.socket(Family::V4, PORT);
    let far = second.pod.socket(Family::V4, PORT);
    let _near = TcpServer::echo(&neighbor, near)?;
    let _far = TcpServer::echo(&second.pod, far)?;
    let from = first.pod.address(Family::V4).to_string();
    let mut watch = AttemptTrace::start(&[&first.node], ["--from", &from])?;
    let within = ExpectedAttempt::answered()
        .hops(&[(&first.node, "veth-a in, veth-b out")])
        .reply_hops(&[(&first.node, "veth-b in, veth-a out")]);
    for _ in 0..2 {
        watch.healthy(&first.pod, &neighbor, near, &within)?;
    }
    watch.healthy(
        &first.pod,
        &second.pod,
        far,
        &ExpectedAttempt::answered()
            .hops(&[(&first.node, "veth-a in, cni0 in, vxlan10 out, eth0 out")])
            .inside("eth0", local, remote, OverlayLab::PORT)
            .reply_hops(&[(&first.node, "eth0 in, vxlan10 in, cni0 out, veth-a out")]),
    )?;
    first.node.run(&format!("ip route add {remote} dev wan"))?;
    for lost in 0..3 {
        let all = lost + 1;
        watch.silent(
            &first.pod,
            far,
            &ExpectedAttempt::failed("unanswered", "off-node", "likely")
                .hops(&[(&first.node, "veth-a in, cni0 in, vxlan10 out, wan out")])
                .inside("wan", local, remote, OverlayLab::PORT)
                .evidence(format!(
                    "{lost} of {all} by the tunnel to {remote} were lost, 0 of 2 within this node"
                )),
        )?;
    }
    watch.finish().map(drop)
}

/// The answer goes another way than the SYN came, and arrives.
#[test]
fn asymmetric_route_that_works() -> Result<()> {
    let lab = NodeLab::build()?;
    VethPair {
        a: (&lab.node, "eth1"),
        b: (&lab.outside, "eth1"),
    }
    .create()?;
    let client = lab.outside.address(Family::V4);
    lab.node
        .run(&format!("ip route add {client}/32 dev eth1"))?;
    let server = lab.pod_a.socket(Family::V4, PORT);
    let _server = TcpServer::echo(&lab.pod_a, server)?;
    let mut watch = AttemptTrace::start(&[&lab.node], [server])?;
    watch.healthy(
        &lab.outside,
        &lab.pod_a,
        server,
        &ExpectedAttempt::answered()
            .hops(&[(&lab.node, "eth0 in, cni0 out, veth-a out")])
            .reply_hops(&[(&lab.node, "veth-a in, cni0 in, eth1 out")]),
    )?;
    watch.finish().map(drop)
}

/// The answer goes another way than the SYN came, and that way leads nowhere.
#[test]
fn asymmetric_route_into_the_void() -> Result<()> {
    let lab = NodeLab::build()?;
    let _sink = Sink::create(&lab.node, "wan")?;
    Family::each(|family| {
        let server = lab.pod_a.socket(family, PORT);
        let _server = TcpServer::echo(&lab.pod_a, server)?;
        let mut watch = AttemptTrace::start(&[&lab.node], [server])?;
        let hops = [(&*lab.node, "eth0 in, cni0 out, veth-a out")];
        watch.healthy(
            &lab.outside,
            &lab.pod_a,
            server,
            &ExpectedAttempt::answered()
                .hops(&hops)
                .reply_hops(&[(&lab.node, "veth-a in, cni0 in, eth0 out")]),
        )?;
        let len = family.pick(32, 128);
        let (flag, client) = (family.flag(), lab.outside.address(family));
        lab.node
            .run(&format!("ip {flag} route add {client}/{len} dev wan"))?;
        watch.silent(
            &lab.outside,
            server,
            &ExpectedAttempt::failed("unanswered", "off-node", "likely")
                .hops(&hops)
                .reply_hops(&[(&lab.node, "veth-a in, cni0 in, wan out")])
                .why("SYN-ACK")
                .why("wan"),
        )?;
        watch.finish().map(drop)
    })
}
