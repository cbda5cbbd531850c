//! The lab itself: it works where nothing is broken, and it goes away.

use std::{
    panic,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail, ensure};
use whydrop_tests::{
    deadline,
    lab::{
        Family, Host, Lab, Namespace, output, sweep,
        topology::{NodeLab, OverlayLab, RouterLab, Underlay},
    },
    traffic::{Outcome, TcpAttempt, TcpServer, UdpClient, UdpServer, ping, upload},
};

/// All kinds of traffic from one host to another, over both families.
fn expect_traffic(client: &Host, server: &Host) -> Result<()> {
    for family in Family::BOTH {
        let address = server.socket(family, 7);
        let _tcp = TcpServer::echo(server, address)?;
        let _udp = UdpServer::echo(server, address)?;
        let attempt = TcpAttempt::start(client, None, address)?;
        let Outcome::Connected(connection) = attempt.outcome(deadline())? else {
            bail!("no connection to {address}");
        };
        ensure!(
            upload(connection, 1 << 20, deadline())?,
            "the transfer stalled"
        );
        let datagrams = UdpClient::connect(client, None, address)?;
        datagrams.send(1000)?;
        ensure!(datagrams.answered(deadline())?, "no answer from {address}");
        ping(client, address.ip())?;
    }
    Ok(())
}

#[test]
fn a_node_carries_traffic() -> Result<()> {
    let lab = NodeLab::build()?;
    expect_traffic(&lab.pod_a, &lab.pod_b)?;
    expect_traffic(&lab.pod_a, &lab.node)?;
    expect_traffic(&lab.pod_a, &lab.outside)?;
    expect_traffic(&lab.outside, &lab.pod_b)
}

#[test]
fn a_router_carries_traffic() -> Result<()> {
    let lab = RouterLab::build()?;
    expect_traffic(&lab.client, &lab.server)
}

#[test]
fn an_overlay_carries_traffic() -> Result<()> {
    for underlay in [Underlay::Direct, Underlay::Routed] {
        let lab = OverlayLab::build(underlay)?;
        let [first, second] = &lab.nodes;
        expect_traffic(&first.pod, &second.pod)?;
        expect_traffic(&second.pod, &first.pod)?;
    }
    Ok(())
}

fn path(namespace: &Namespace) -> PathBuf {
    Path::new("/run/netns").join(namespace.name())
}

#[test]
fn a_panic_leaves_nothing() -> Result<()> {
    let namespace = Lab::new()?.namespace("panic")?;
    let path = path(&namespace);
    ensure!(path.exists(), "{} is not there", path.display());
    let unwound = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        let _held = namespace;
        panic::resume_unwind(Box::new("a test that fails"));
    }));
    ensure!(
        unwound.is_err() && !path.exists(),
        "{} is still there",
        path.display()
    );
    Ok(())
}

#[test]
fn a_killed_process_leaves_nothing_for_long() -> Result<()> {
    let mut process = Command::new("true").spawn()?;
    process.wait()?;
    let dead = format!("wd-{}-0-node", process.id());
    let alive = Lab::new()?.namespace("alive")?;
    output(Command::new("ip").args(["netns", "add", &dead]))?;
    sweep();
    ensure!(
        !Path::new("/run/netns").join(&dead).exists(),
        "{dead} is still there"
    );
    ensure!(path(&alive).exists(), "{} was swept up", alive.name());
    Ok(())
}
