//! What pods send leaves with an address that another host has, too: the answers go there
//! (kubernetes/kubernetes#78949, projectcalico/calico#2222).

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

/// A node with a virtual address in front of its own one; the server knows another host by it.
fn trace(action: &str, end: End) -> Result<Report> {
    trace_behind("ip link set br0 up", action, end)
}

/// The same with a switch that is set up like this.
fn trace_behind(switch: &str, action: &str, end: End) -> Result<Report> {
    let stage = Stage::new(["p", "node", "other", "srv", "switch"])?;
    stage.ip("switch", "link add br0 type bridge; link set br0 up")?;
    for role in ["node", "other", "srv"] {
        let port = format!("e-{role}");
        stage.veth((role, "eth0"), ("switch", &port))?;
        stage.ip("switch", &format!("link set {port} master br0"))?;
    }
    stage.veth(("p", "eth0"), ("node", "v"))?;
    stage.ip(
        "node",
        "addr add 10.20.9.100/24 dev eth0; addr add 10.20.9.1/24 dev eth0; addr add 10.20.1.1/24 \
         dev v",
    )?;
    stage.ip(
        "other",
        "link set eth0 address 02:00:00:00:00:99; addr add 10.20.9.2/24 dev eth0; addr add \
         10.20.9.100/24 dev eth0",
    )?;
    stage.ip(
        "srv",
        "addr add 10.20.9.9/24 dev eth0; neigh replace 10.20.9.100 lladdr 02:00:00:00:00:99 dev \
         eth0 nud permanent",
    )?;
    stage.ip(
        "p",
        "addr add 10.20.1.2/24 dev eth0; route add default via 10.20.1.1",
    )?;
    stage.sysctl("node", "net.ipv4.ip_forward=1")?;
    stage.exec(
        "node",
        &format!("iptables -t nat -A POSTROUTING -s 10.20.1.0/24 -o eth0 -j {action}"),
    )?;
    stage.serve("srv", "10.20.9.9:8080")?;
    // The switch learns where the other host is.
    stage.exec("other", "ping -qc1 -W1 10.20.9.9")?;
    stage.exec("switch", switch)?;
    stage.trace(["node", "p"], "10.20.9.9:8080", |watch| {
        watch.dial("p", "10.20.9.9:8080")?.ends(end)
    })
}

#[test]
fn masquerade_takes_the_virtual_address() -> Result<()> {
    let report = trace("MASQUERADE", End::Silent)?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("off-node", "likely")
            .why("10.20.9.100")
            .why("not 10.20.9.1")
            .fix("--to-source 10.20.9.1"),
    )?;
    Ok(())
}

/// A switch that has forgotten the other host's port sends the answer to the node, too.
#[test]
fn answer_to_the_other_host_is_flooded() -> Result<()> {
    let floods = "ip link set br0 type bridge ageing_time 0";
    let report = trace_behind(floods, "MASQUERADE", End::Silent)?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("off-node", "likely")
            .why("no host here took the answer")
            .fix("--to-source 10.20.9.1"),
    )?;
    trace_behind(floods, "SNAT --to-source 10.20.9.1", End::Answered)?
        .silent()
        .map(drop)
}

#[test]
fn healthy_by_its_own_address() -> Result<()> {
    trace("SNAT --to-source 10.20.9.1", End::Answered)?
        .silent()
        .map(drop)
}
