//! The tunnel's own packets are rejected on their way (a VXLAN device that is gone, a router without a
//! route): the ICMP error is the tunnel's, and not a reply that got lost.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{Report, Stage},
};

const SERVER: &str = "10.20.42.2:8080";

/// Two nodes with a router between them, and a VXLAN tunnel from the one to the other.
fn nodes() -> Result<Stage> {
    let stage = Stage::new(["n1", "router", "n2"])?;
    for (node, port, number) in [("n1", "r1", 1), ("n2", "r2", 2)] {
        let (remote, other) = (3 - number, 3 - number);
        stage.veth((node, "eth0"), ("router", port))?;
        stage.ip(
            "router",
            &format!("addr add 10.20.{number}.254/24 dev {port}"),
        )?;
        stage.ip(
            node,
            &format!(
                "addr add 10.20.{number}.1/24 dev eth0
                 route add default via 10.20.{number}.254
                 link add vx address 02:00:00:00:42:0{number} type vxlan id 42 dstport 4789 \
                    local 10.20.{number}.1 remote 10.20.{remote}.1
                 link set vx up
                 addr add 10.20.42.{number}/24 dev vx
                 neigh add 10.20.42.{other} lladdr 02:00:00:00:42:0{other} dev vx"
            ),
        )?;
    }
    stage.sysctl("router", "net.ipv4.ip_forward=1")?;
    stage.serve("n2", SERVER)?;
    Ok(stage)
}

fn trace(fault: impl FnOnce(&Stage) -> Result<()>) -> Result<Report> {
    let stage = nodes()?;
    fault(&stage)?;
    stage.trace(["n1"], SERVER, |watch| watch.dial("n1", SERVER))
}

#[test]
fn the_far_end_has_no_tunnel_device() -> Result<()> {
    let report = trace(|stage| stage.ip("n2", "link set vx down"))?;
    let expected = ExpectedVerdict::any_of(["overlay"])
        .at_least("likely")
        .names("10.20.2.1")
        .why("4789");
    report.outcome("unanswered")?.verdict(&expected)?;
    Ok(())
}

#[test]
fn a_router_below_the_tunnel_knows_no_way() -> Result<()> {
    let report = trace(|stage| stage.ip("router", "route add unreachable 10.20.2.1"))?;
    let expected = ExpectedVerdict::any_of(["overlay"])
        .at_least("likely")
        .names("10.20.1.254")
        .why("unreachable");
    report.outcome("unanswered")?.verdict(&expected)?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    trace(|_| Ok(()))?.silent().map(drop)
}
