//! A node forwards back into the network that a packet came from, and sends an ICMP redirect: that
//! is no error, and no rejection.

use std::time::Duration;

use anyhow::{Result, ensure};
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
    traffic::Wire,
};

const SERVER: &str = "10.20.99.7:8080";

/// A client, a node and a server on one network; the client's way to the server is by the node.
fn network() -> Result<Stage> {
    let stage = Stage::new(["client", "node", "server", "switch"])?;
    stage.ip("switch", "link add br0 type bridge; link set br0 up")?;
    for (role, port) in [("client", "e1"), ("node", "e2"), ("server", "e3")] {
        stage.veth((role, "eth0"), ("switch", port))?;
        stage.ip("switch", &format!("link set {port} master br0"))?;
    }
    stage.ip(
        "client",
        "addr add 10.20.10.9/24 dev eth0; route add 10.20.99.7/32 via 10.20.10.5",
    )?;
    stage.ip(
        "node",
        "addr add 10.20.10.5/24 dev eth0; route add 10.20.99.7/32 via 10.20.10.7",
    )?;
    stage.ip(
        "server",
        "addr add 10.20.10.7/24 dev eth0; addr add 10.20.99.7/32 dev lo",
    )?;
    stage.sysctl(
        "node",
        "net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=1 \
         net.ipv4.conf.eth0.send_redirects=1",
    )?;
    stage.sysctl("server", "net.ipv4.ip_forward=0")?;
    stage.sysctl(
        "client",
        "net.ipv4.conf.all.accept_redirects=0 net.ipv4.conf.eth0.accept_redirects=0",
    )?;
    stage.serve("server", SERVER)?;
    Ok(stage)
}

fn trace(stage: &Stage, end: End) -> Result<Report> {
    stage.trace(["node", "client"], SERVER, |watch| {
        watch.dial("client", SERVER)?.ends(end)
    })
}

/// The redirect is not the reason.
#[test]
fn a_server_that_is_gone() -> Result<()> {
    let stage = network()?;
    stage.ip("server", "addr del 10.20.99.7/32 dev lo")?;
    let report = trace(&stage, End::Silent)?;
    report
        .outcome("unanswered")?
        .verdict(&ExpectedVerdict::any_of(["off-node", "unknown"]).never_says(["rejected"]))?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    trace(&network()?, End::Answered)?.silent().map(drop)
}

/// The redirect is about a connection that the node translates: the kernel's NAT drops it, and no rule
/// has.
#[test]
fn healthy_behind_a_service() -> Result<()> {
    const SERVICE: &str = "10.20.96.1:80";
    let stage = network()?;
    stage.ip("client", "route add 10.20.96.1/32 via 10.20.10.5")?;
    stage.exec(
        "node",
        &format!(
            "iptables -t nat -A PREROUTING -d 10.20.96.1/32 -p tcp --dport 80 -j DNAT \
                --to-destination {SERVER}
             iptables -t nat -A POSTROUTING -p tcp --dport 8080 -j MASQUERADE"
        ),
    )?;
    let report = stage.trace(["node", "client"], "--all", |watch| {
        watch.dial("client", SERVICE)?.ends(End::Answered)
    })?;
    ensure!(report.trace().summary.noise > 0, "no redirect was dropped");
    report.silent().map(drop)
}

/// The redirect comes well before the answer.
#[test]
fn healthy_and_far_away() -> Result<()> {
    let mut stage = network()?;
    stage.add("delay")?;
    stage.ip("server", "link del eth0")?;
    stage.veth(("switch", "e3"), ("delay", "x"))?;
    stage.veth(("server", "eth0"), ("delay", "y"))?;
    stage.ip("switch", "link set e3 master br0")?;
    stage.ip("server", "addr add 10.20.10.7/24 dev eth0")?;
    // What is carried by hand must be whole.
    for role in ["server", "client", "node"] {
        stage.exec(role, "ethtool -K eth0 tx off tso off gso off gro off")?;
    }
    let delay = stage.namespace("delay");
    let wire = Wire::lay(
        (delay, "x"),
        (delay, "y"),
        Duration::from_millis(100),
        |_, _| {},
    )?;
    stage.keep(wire);
    trace(&stage, End::Answered)?.silent().map(drop)
}
