//! Packets that say they belong to a connection of others: its outcome stays its own.

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use whydrop_tests::{
    DEADLINE,
    attempt::AttemptTrace,
    expected::{ExpectedAttempt, ExpectedVerdict},
    fault::{Chain, nft},
    lab::{Family, Host, Lab, topology::NodeLab},
    record::Record,
    traffic::{Flow, ForgedSegment, Outcome, Protocol, TcpServer},
};

const PORT: u16 = 8080;
const SEQ: u32 = 777_777;
/// As often as a segment is sent again until its connection has stalled, and more.
const TIMES: u64 = 6;
/// As long as its pauses are.
const PAUSE: Duration = Duration::from_millis(200);

/// A healthy connection, what an outsider sends about it, then a fault of its own: only that one
/// stalls it. Each forged packet must be dropped, and reported as a drop.
fn beside_a_connection(
    forbid: impl Fn(&NodeLab) -> Result<()>,
    forge: impl Fn(&Host, &NodeLab, Flow) -> Result<()>,
) -> Result<()> {
    let lab = Lab::new()?;
    let node = NodeLab::build_in(&lab)?;
    let outsider = node.routed_pod(&lab, "veth-m")?;
    let server = node.pod_a.socket(Family::V4, PORT);
    let _server = TcpServer::echo(&node.pod_a, server)?;
    forbid(&node)?;
    let seen = |expected: ExpectedAttempt| {
        expected
            .hops(&[(&node.node, "eth0 in, cni0 out, veth-a out")])
            .reply_hops(&[(&node.node, "veth-a in, cni0 in, eth0 out")])
    };
    let answered = seen(ExpectedAttempt::answered());
    let mut watch = AttemptTrace::start(&[&node.node], [server])?;
    let attempt = watch.broken(&node.outside, server, &answered)?;
    let flow = attempt.flow();
    let Outcome::Connected(mut connection) = attempt.outcome(DEADLINE)? else {
        bail!("no connection");
    };
    for _ in 0..TIMES {
        forge(&outsider, &node, flow)?;
        thread::sleep(PAUSE);
    }
    wait_for_drops(&mut watch)?;
    nft(&node.node, Chain::inet("forward"), "iifname eth0 drop")?;
    connection.write_all(b"lost on its own way")?;
    let stalled = seen(ExpectedAttempt::dropped("stalled", "firewall"))
        .corrects("answered")
        .why("`iifname \"eth0\" drop`");
    watch.expect(flow, &stalled)?;
    drop(connection);
    watch.finish().map(drop)
}

fn wait_for_drops(watch: &mut AttemptTrace) -> Result<()> {
    let mut count = 0;
    let tracer = watch.tracer();
    let mut all = |record: &Record| {
        count += record.as_drop().map_or(0, |drop| drop.count);
        count >= TIMES
    };
    tracer.wait_for("the drops of what was forged", &mut all)?;
    Ok(())
}

/// A pod sends data in the client's name, and an anti-spoofing rule drops it.
#[test]
fn segments_in_the_clients_name() -> Result<()> {
    beside_a_connection(
        |lab| {
            let rule = "iifname veth-m tcp dport 8080 drop comment antispoof";
            nft(&lab.node, Chain::inet("forward"), rule)
        },
        |outsider, _, flow| ForgedSegment::of(flow, SEQ)?.send(outsider),
    )
}

/// The same in the server's name, towards the client.
#[test]
fn segments_in_the_servers_name() -> Result<()> {
    beside_a_connection(
        |lab| {
            let rule = "iifname veth-m tcp sport 8080 drop comment antispoof";
            nft(&lab.node, Chain::inet("forward"), rule)
        },
        |outsider, _, flow| {
            let back = Flow {
                src: flow.dst,
                dst: flow.src,
                ..flow
            };
            ForgedSegment::of(back, SEQ)?.send(outsider)
        },
    )
}

/// A pod without privileges sends VXLAN to the node, with a segment of the connection in it.
#[test]
fn segments_inside_of_vxlan() -> Result<()> {
    beside_a_connection(
        |_| Ok(()),
        |outsider, lab, flow| {
            let node = SocketAddr::new(lab.node.address(Family::V4), 4789);
            ForgedSegment::of(flow, SEQ)?.send_in_vxlan(outsider, node)
        },
    )
}

/// A pod says that the server's packets are too big.
#[test]
fn errors_about_the_connection() -> Result<()> {
    beside_a_connection(
        |lab| {
            let rule = "iifname veth-m ip protocol icmp drop comment antispoof";
            nft(&lab.node, Chain::inet("forward"), rule)
        },
        |outsider, _, flow| {
            let address = outsider.address(Family::V4);
            let IpAddr::V4(address) = address else {
                bail!("not IPv4: {address}");
            };
            ForgedSegment::of(flow, SEQ)?.send_too_big(outsider, address)
        },
    )
}

/// A pod says that packets of a flow are too big which does not exist: the rule that drops this is
/// named, and no MTU is blamed. The healthy twin is `verdict_mtu::word_lost_at_the_client`.
#[test]
fn errors_about_no_connection() -> Result<()> {
    let lab = Lab::new()?;
    let node = NodeLab::build_in(&lab)?;
    let outsider = node.routed_pod(&lab, "veth-m")?;
    let (server, client) = (
        node.pod_a.socket(Family::V4, PORT),
        node.outside.socket(Family::V4, 40_000),
    );
    let IpAddr::V4(address) = outsider.address(Family::V4) else {
        bail!("not IPv4");
    };
    let rule = "iifname veth-m ip protocol icmp drop";
    nft(&node.node, Chain::inet("forward"), rule)?;
    let mut watch = AttemptTrace::start(&[&node.node], [node.pod_a.address(Family::V4)])?;
    let flow = Flow {
        protocol: Protocol::Tcp,
        src: server,
        dst: client,
    };
    ForgedSegment::of(flow, SEQ)?.send_too_big(&outsider, address)?;
    let expected = ExpectedVerdict::new("firewall", "confirmed")
        .evidence("it is the ICMP message \"fragmentation needed\"");
    expect_only_drop(&mut watch, &expected)?;
    watch.finish().map(drop)
}

/// A pod without privileges sends VXLAN with a SYN in it, of a connection that is never opened.
/// Nothing leads to that pod as to a VTEP: nothing is confirmed.
#[test]
fn syn_inside_of_vxlan() -> Result<()> {
    let lab = Lab::new()?;
    let node = NodeLab::build_in(&lab)?;
    let outsider = node.routed_pod(&lab, "veth-m")?;
    let (server, client) = (
        node.pod_a.socket(Family::V4, PORT),
        node.outside.socket(Family::V4, 45_999),
    );
    let mut watch = AttemptTrace::start(&[&node.node], [server])?;
    let flow = Flow {
        protocol: Protocol::Tcp,
        src: client,
        dst: server,
    };
    let to = SocketAddr::new(node.node.address(Family::V4), 4789);
    ForgedSegment::syn(flow, SEQ)?.send_in_vxlan(&outsider, to)?;
    let unknown = format!(
        "from {}, which is no tunnel endpoint known here",
        outsider.address(Family::V4)
    );
    let expected = ExpectedVerdict::new("overlay", "likely").evidence(unknown.clone());
    expect_only_drop(&mut watch, &expected)?;
    let attempt = ExpectedAttempt::failed("unanswered", "overlay", "likely").evidence(unknown);
    let ladder = [(&*node.node, "veth-m in")];
    let (from, port) = (outsider.address(Family::V4), to.port());
    let attempt = attempt.hops(&ladder).inside("veth-m", from, to.ip(), port);
    watch.expect(flow, &attempt)?;
    watch.finish().map(drop)
}

fn expect_only_drop(watch: &mut AttemptTrace, expected: &ExpectedVerdict) -> Result<()> {
    let tracer = watch.tracer();
    let what = "the drop of what was forged";
    let record = tracer.wait_for(what, |record| record.as_drop().is_some())?;
    let drop = record.as_drop().context("a drop")?;
    match expected.mismatch(&drop.verdict) {
        Some(mismatch) => bail!(mismatch),
        None => Ok(()),
    }
}
