//! Listeners that are silent because a queue is full.

use std::process;

use anyhow::{Result, bail};
use whydrop_tests::{
    attempt::AttemptTrace,
    deadline,
    expected::ExpectedAttempt,
    fault::{Chain, nft},
    lab::{Family, Namespace, topology::NodeLab},
    traffic::{Outcome, TcpServer},
};

const PORT: u16 = 8080;
const BACKLOG: i32 = 3;

/// The server never accepts: as many connections as the backlog and one more are healthy, the next
/// is not.
fn accept_queue(family: Family, watch_pod: bool) -> Result<()> {
    let lab = NodeLab::build()?;
    let server = lab.pod_a.socket(family, PORT);
    let _server = TcpServer::deaf(&lab.pod_a, server, BACKLOG)?;
    let node = (&*lab.node, "eth0 in, cni0 out, veth-a out");
    let node_back = (&*lab.node, "veth-a in, cni0 in, eth0 out");
    let (watched, hops, back): (Vec<&Namespace>, Vec<_>, Vec<_>) = if watch_pod {
        let (pod, pod_back) = ((&*lab.pod_a, "eth0 in"), (&*lab.pod_a, "eth0 out"));
        (
            vec![&lab.node, &lab.pod_a],
            vec![node, pod],
            vec![pod_back, node_back],
        )
    } else {
        (vec![&lab.node], vec![node], vec![node_back])
    };
    let mut watch = AttemptTrace::start(&watched, [server])?;
    let mut held = Vec::new();
    for _ in 0..=BACKLOG {
        let attempt = watch.broken(
            &lab.outside,
            server,
            &ExpectedAttempt::answered().hops(&hops).reply_hops(&back),
        )?;
        let Outcome::Connected(connection) = attempt.outcome(deadline())? else {
            bail!("the queue has room, but there is no connection");
        };
        held.push(connection);
    }
    watch.silent(
        &lab.outside,
        server,
        &ExpectedAttempt::failed("unanswered", "listener", "confirmed")
            .hops(&hops)
            .why("accept queue")
            .why(server.to_string())
            .evidence(format!("pid {}", process::id()))
            .evidence("Recv-Q 4, backlog (Send-Q) 3")
            .evidence("ListenOverflows moved by"),
    )?;
    watch.finish().map(drop)
}

#[test]
fn accept_queue_full() -> Result<()> {
    Family::each(|family| accept_queue(family, false))
}

#[test]
fn accept_queue_full_with_the_pod_in_sight() -> Result<()> {
    accept_queue(Family::V4, true)
}

/// Handshakes that never end fill the queue: the outside world does not let SYN-ACKs in. For the
/// node they are answered. Then a client comes that would end its own.
fn syn_queue(family: Family, cookies: &str, expected: &ExpectedAttempt) -> Result<()> {
    let lab = NodeLab::build()?;
    let server = lab.pod_a.socket(family, PORT);
    let _server = TcpServer::deaf(&lab.pod_a, server, BACKLOG)?;
    lab.pod_a.sysctl("ipv4/tcp_syncookies", cookies)?;
    let rule = format!("tcp sport {PORT} drop");
    nft(&lab.outside, Chain::inet("input"), &rule)?;
    let mut watch = AttemptTrace::start(&[&lab.node], [server])?;
    let mut held = Vec::new();
    for _ in 0..=BACKLOG {
        held.push(
            watch.broken(
                &lab.outside,
                server,
                &ExpectedAttempt::answered()
                    .hops(&[(&lab.node, "eth0 in, cni0 out, veth-a out")])
                    .reply_hops(&[(&lab.node, "veth-a in, cni0 in, eth0 out")]),
            )?,
        );
    }
    let hops = [(&*lab.node, "veth-b in, veth-a out")];
    let expected = expected.clone().hops(&hops);
    let expected = if cookies == "0" {
        expected.why(server.to_string())
    } else {
        expected.reply_hops(&[(&lab.node, "veth-a in, veth-b out")])
    };
    let _attempt = watch.broken(&lab.pod_b, server, &expected)?;
    watch.finish().map(drop)
}

#[test]
fn syn_queue_full_without_cookies() -> Result<()> {
    let expected = ExpectedAttempt::failed("unanswered", "listener", "confirmed")
        .why("SYN queue")
        .evidence("4 half-open")
        .evidence("ListenDrops by ")
        .evidence(format!("pid {}", process::id()));
    Family::each(|family| syn_queue(family, "0", &expected))
}

#[test]
fn syn_queue_full_with_cookies() -> Result<()> {
    Family::each(|family| syn_queue(family, "1", &ExpectedAttempt::answered()))
}
