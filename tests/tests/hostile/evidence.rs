//! Packets that say they belong to a connection of others: its outcome stays its own.

use std::{io::Write as _, net::SocketAddr, thread, time::Duration};

use anyhow::{Result, bail};
use whydrop_tests::{
    DEADLINE,
    attempt::AttemptTrace,
    expected::ExpectedAttempt,
    fault::{Chain, nft},
    lab::{Family, Host, Lab, topology::NodeLab},
    record::Record,
    traffic::{Flow, ForgedSegment, Outcome, TcpServer},
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
            let std::net::IpAddr::V4(address) = address else {
                bail!("not IPv4: {address}");
            };
            ForgedSegment::of(flow, SEQ)?.send_too_big(outsider, address)
        },
    )
}
