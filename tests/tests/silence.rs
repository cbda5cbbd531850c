//! What must not show: healthy traffic, other connections, other namespaces.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, bail, ensure};
use whydrop_tests::{
    deadline,
    fault::{Chain, counted_packets, nft},
    lab::{
        Family, Host, Topology,
        topology::{NodeLab, VoidLab},
    },
    poll_until,
    tracer::{Tracer, watching},
    traffic::{Outcome, TcpAttempt, TcpServer, UdpClient, UdpServer, ping, upload},
};

const PORT: u16 = 8080;

/// One healthy TCP connection, opened, used and closed.
fn talk(client: &Host, server: &Host, family: Family) -> Result<()> {
    let attempt = TcpAttempt::start(client, None, server.socket(family, PORT))?;
    let Outcome::Connected(connection) = attempt.outcome(deadline())? else {
        bail!("no connection");
    };
    ensure!(
        upload(connection, 2000, deadline())?,
        "the transfer stalled"
    );
    Ok(())
}

#[test]
fn two_hundred_healthy_connections() -> Result<()> {
    let lab = NodeLab::build()?;
    let mut arguments = watching(&lab.namespaces());
    arguments.push("--all".to_owned());
    let tracer = Tracer::start(arguments)?;
    for family in Family::BOTH {
        let address = lab.pod_a.socket(family, PORT);
        let _tcp = TcpServer::echo(&lab.pod_a, address)?;
        let _udp = UdpServer::echo(&lab.pod_a, address)?;
        for client in [&lab.outside, &lab.pod_b] {
            for _ in 0..50 {
                talk(client, &lab.pod_a, family)?;
            }
            for _ in 0..25 {
                let client = UdpClient::connect(client, None, address)?;
                client.send(500)?;
                ensure!(client.answered(deadline())?, "no answer");
            }
            for _ in 0..5 {
                ping(client, address.ip())?;
            }
        }
    }
    tracer.stop()?.expect_silence()
}

/// Makes the node drop a connection from outside to a pod, and returns when it has.
fn lose_a_connection(lab: &NodeLab) -> Result<()> {
    let chain = Chain::inet("forward");
    nft(&lab.node, chain, &format!("tcp dport {PORT} counter drop"))?;
    let _attempt = TcpAttempt::start(&lab.outside, None, lab.pod_a.socket(Family::V4, PORT))?;
    poll_until("the rule to drop a packet", || {
        counted_packets(&lab.node, chain)
            .ok()
            .filter(|packets| *packets > 0)
    })
    .map(drop)
}

#[test]
fn drops_of_another_connection() -> Result<()> {
    let lab = NodeLab::build()?;
    for other in [
        lab.pod_a.socket(Family::V4, PORT + 1),
        lab.pod_b.socket(Family::V4, PORT),
        lab.pod_a.socket(Family::V6, PORT),
    ] {
        let mut arguments = watching(&lab.namespaces());
        arguments.push(other.to_string());
        let tracer = Tracer::start(arguments)?;
        lose_a_connection(&lab)?;
        tracer.stop()?.expect_silence()?;
        lab.node.run("nft flush ruleset")?;
    }
    Ok(())
}

#[test]
fn drops_of_another_protocol() -> Result<()> {
    let lab = NodeLab::build()?;
    let mut arguments = watching(&lab.namespaces());
    arguments.extend(["--proto", "udp"].map(str::to_owned));
    arguments.push(lab.pod_a.socket(Family::V4, PORT).to_string());
    let tracer = Tracer::start(arguments)?;
    lose_a_connection(&lab)?;
    tracer.stop()?.expect_silence()
}

#[test]
fn drops_in_other_namespaces() -> Result<()> {
    let watched = NodeLab::build()?;
    let other = NodeLab::build()?;
    let mut arguments = watching(&[&watched.node]);
    arguments.push("--all".to_owned());
    let mut tracer = Tracer::start(arguments)?;
    lose_a_connection(&other)?;
    lose_a_connection(&watched)?;
    tracer.wait_for("the drop in the watched namespace", |record| {
        record.as_drop().is_some()
    })?;
    let trace = tracer.stop()?;
    for drop in trace.drops() {
        ensure!(
            drop.netns == Some(watched.node.inode()),
            "from another namespace: {drop:?}"
        );
    }
    Ok(())
}

/// A loss on another machine is no drop on this one.
#[test]
fn packets_that_leave_for_good() -> Result<()> {
    let lab = VoidLab::build()?;
    let mut arguments = watching(&lab.namespaces());
    arguments.push("--all".to_owned());
    let tracer = Tracer::start(arguments)?;
    for family in Family::BOTH {
        let address = lab.far_address(family);
        let _attempt = TcpAttempt::start(&lab.pod, None, SocketAddr::new(address, PORT))?;
        poll_until("the packet to leave", || {
            (lab.sink.swallowed(address) > 0).then_some(())
        })?;
    }
    tracer.stop()?.expect_silence()
}

/// The filter's address is in a namespace of this machine that the trace does not watch, and nothing
/// of it passes the one that it does. An address that is watched, or is not here, is not worth a word.
#[test]
fn an_address_in_a_namespace_that_is_not_watched() -> Result<()> {
    let lab = NodeLab::build()?;
    let said = |address: IpAddr| {
        let mut arguments = watching(&[&lab.node]);
        arguments.push(SocketAddr::new(address, PORT).to_string());
        let trace = Tracer::start(arguments)?.stop()?;
        Ok::<_, anyhow::Error>(trace.stderr)
    };
    let outside = said(lab.outside.address(Family::V4))?;
    ensure!(
        outside.contains(&lab.outside.address(Family::V4).to_string())
            && outside.contains("--netns"),
        "{outside}"
    );
    for address in [lab.node.address(Family::V4), [192, 0, 2, 77].into()] {
        let nothing = said(address)?;
        ensure!(!nothing.contains("--netns"), "{nothing}");
    }
    Ok(())
}
