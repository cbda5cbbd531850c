//! Packets that say they belong to a connection of others: its outcome stays its own.

use std::{io::Write as _, net::SocketAddr, thread, time::Duration};

use anyhow::{Context as _, Result, bail};
use whydrop_tests::{
    attempt::AttemptTrace,
    deadline,
    expected::{ExpectedAttempt, ExpectedVerdict},
    fault::{Chain, nft},
    lab::{Family, Host, Lab, topology::NodeLab},
    record::Record,
    traffic::{Flow, ForgedSegment, Outcome, Protocol, TcpServer},
};

const PORT: u16 = 8080;
const VXLAN_PORT: u16 = 4789;
const SEQ: u32 = 777_777;
/// As often as a segment is sent again until its connection has stalled, and more.
const TIMES: u64 = 6;
/// As long as its pauses are.
const PAUSE: Duration = Duration::from_millis(200);

/// A node, and a pod of it that sends in the name of others.
struct Stage {
    // Its namespaces end with it.
    _lab: Lab,
    node: NodeLab,
    outsider: Host,
    server: SocketAddr,
}

impl Stage {
    fn build() -> Result<Self> {
        let lab = Lab::new()?;
        let node = NodeLab::build_in(&lab)?;
        Ok(Self {
            outsider: node.routed_pod(&lab, "veth-m")?,
            server: node.pod_a.socket(Family::V4, PORT),
            _lab: lab,
            node,
        })
    }

    /// Forbids the outsider what matches, as an anti-spoofing rule does.
    fn forbid(&self, what: &str) -> Result<()> {
        let rule = format!("iifname veth-m {what} drop comment antispoof");
        nft(&self.node.node, Chain::inet("forward"), &rule)
    }

    /// A flow that no connection has, from the host outside to the server.
    fn unused_flow(&self) -> Flow {
        Flow {
            protocol: Protocol::Tcp,
            src: self.node.outside.socket(Family::V4, 45_999),
            dst: self.server,
        }
    }
}

fn reversed(flow: Flow) -> Flow {
    Flow {
        src: flow.dst,
        dst: flow.src,
        ..flow
    }
}

/// A healthy connection, what an outsider sends about it, then a fault of its own: only that one
/// stalls it. Each forged packet must be dropped, and reported as a drop.
fn beside_a_connection(
    forbidden: Option<&str>,
    forge: impl Fn(&Stage, Flow) -> Result<()>,
) -> Result<()> {
    let stage = Stage::build()?;
    let (node, server) = (&stage.node, stage.server);
    let _server = TcpServer::echo(&node.pod_a, server)?;
    forbidden.map_or(Ok(()), |what| stage.forbid(what))?;
    let seen = |expected: ExpectedAttempt| {
        expected
            .hops(&[(&node.node, "eth0 in, cni0 out, veth-a out")])
            .reply_hops(&[(&node.node, "veth-a in, cni0 in, eth0 out")])
    };
    let answered = seen(ExpectedAttempt::answered());
    let mut watch = AttemptTrace::start(&[&node.node], [server])?;
    let attempt = watch.broken(&node.outside, server, &answered)?;
    let flow = attempt.flow();
    let Outcome::Connected(mut connection) = attempt.outcome(deadline())? else {
        bail!("no connection");
    };
    for _ in 0..TIMES {
        forge(&stage, flow)?;
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
    beside_a_connection(Some("tcp dport 8080"), |stage, flow| {
        ForgedSegment::of(flow, SEQ)?.send(&stage.outsider)
    })
}

/// The same in the server's name, towards the client.
#[test]
fn segments_in_the_servers_name() -> Result<()> {
    beside_a_connection(Some("tcp sport 8080"), |stage, flow| {
        ForgedSegment::of(reversed(flow), SEQ)?.send(&stage.outsider)
    })
}

/// A pod without privileges sends VXLAN to the node, with a segment of the connection in it.
#[test]
fn segments_inside_of_vxlan() -> Result<()> {
    beside_a_connection(None, |stage, flow| {
        let node = stage.node.node.socket(Family::V4, VXLAN_PORT);
        ForgedSegment::of(flow, SEQ)?.send_in_vxlan(&stage.outsider, node)
    })
}

/// A pod says that the server's packets are too big.
#[test]
fn errors_about_the_connection() -> Result<()> {
    beside_a_connection(Some("ip protocol icmp"), |stage, flow| {
        ForgedSegment::of(flow, SEQ)?.send_too_big(&stage.outsider)
    })
}

/// A pod says that packets of a flow are too big which does not exist: the rule that drops this is
/// named, and no MTU is blamed. The healthy twin is `verdict_mtu::word_lost_at_the_client`.
#[test]
fn errors_about_no_connection() -> Result<()> {
    let stage = Stage::build()?;
    stage.forbid("ip protocol icmp")?;
    let pod = stage.server.ip();
    let mut watch = AttemptTrace::start(&[&stage.node.node], [pod])?;
    let flow = reversed(stage.unused_flow());
    ForgedSegment::of(flow, SEQ)?.send_too_big(&stage.outsider)?;
    let expected = ExpectedVerdict::new("firewall", "confirmed")
        .evidence("it is the ICMP message \"fragmentation needed\"");
    expect_only_drop(&mut watch, &expected)?;
    watch.finish().map(drop)
}

/// A pod without privileges sends VXLAN with a SYN in it, of a connection that is never opened.
/// Nothing leads to that pod as to a VTEP: the drop is not confirmed, and shows no attempt.
#[test]
fn syn_inside_of_vxlan() -> Result<()> {
    let stage = Stage::build()?;
    let node = &stage.node.node;
    let mut watch = AttemptTrace::start(&[node], [stage.server])?;
    let flow = stage.unused_flow();
    let to = node.socket(Family::V4, VXLAN_PORT);
    ForgedSegment::syn(flow, SEQ)?.send_in_vxlan(&stage.outsider, to)?;
    let from = stage.outsider.address(Family::V4);
    let unknown = format!("no tunnel of this namespace leads to {from}, which sent it");
    let expected = ExpectedVerdict::new("overlay", "likely").evidence(unknown);
    expect_only_drop(&mut watch, &expected)?;
    // Silence is reported in the order of the SYNs: the time of the forged one is over by then.
    nft(node, Chain::inet("forward"), "iifname eth0 drop")?;
    let lost = ExpectedAttempt::dropped("unanswered", "firewall").hops(&[(&**node, "eth0 in")]);
    watch.silent(&stage.node.outside, stage.server, &lost)?;
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
