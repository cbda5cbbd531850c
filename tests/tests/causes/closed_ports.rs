//! Ports that are closed by what NAT does, or does no longer.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{Report, Stage},
};

const SERVICE: &str = "10.20.96.7:80";
const SERVER: &str = "10.20.2.3:8080";

/// What kube-proxy's IPVS mode has left behind answers for a Service in its place.
fn leftover(translated: bool) -> Result<Report> {
    let stage = Stage::routed_pods()?;
    // A bridge without ports carries nothing either; not every kernel has dummy devices.
    stage.ip(
        "node",
        "link add kube-ipvs0 type bridge; addr add 10.20.96.7/32 dev kube-ipvs0",
    )?;
    if translated {
        stage.exec(
            "node",
            "iptables -t nat -A PREROUTING -d 10.20.96.7 -p tcp --dport 80 -j DNAT --to-destination 10.20.2.3:8080",
        )?;
    }
    stage.serve("b", SERVER)?;
    stage.trace(["node"], SERVICE, |watch| watch.dial("a", SERVICE))
}

#[test]
fn service_address_is_left_on_the_node() -> Result<()> {
    leftover(false)?.outcome("refused")?.verdict(
        &ExpectedVerdict::new("socket", "confirmed")
            .names("kube-ipvs0")
            .evidence("no rule has translated it")
            .fix("ip link delete kube-ipvs0"),
    )?;
    Ok(())
}

/// A sidecar's rule redirects to its port.
fn redirected(alive: bool) -> Result<Report> {
    let stage = Stage::routed_pods()?;
    stage.exec(
        "b",
        "iptables -t nat -A PREROUTING -p tcp -j REDIRECT --to-ports 15006",
    )?;
    stage.serve("b", SERVER)?;
    if alive {
        stage.serve("b", "10.20.2.3:15006")?;
    }
    stage.trace(["b"], SERVER, |watch| watch.dial("a", SERVER))
}

#[test]
fn sidecar_that_is_redirected_to_has_gone() -> Result<()> {
    redirected(false)?.outcome("refused")?.verdict(
        &ExpectedVerdict::new("socket", "confirmed")
            .why("15006")
            .evidence("it was for 10.20.2.3:8080"),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    leftover(true)?.silent()?;
    redirected(true)?.silent().map(drop)
}
