//! A virtual address that moved to another host, while a client still has the first one's MAC address.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const SERVER: &str = "10.20.2.100:8080";

/// Never of an address that is held on this node.
const GONE: [&str; 1] = ["is gone"];

/// A client and two balancers at a bridge; the second has the address.
fn balancers() -> Result<Stage> {
    let stage = Stage::new(["a", "first", "second", "node"])?;
    stage.bridge([
        ("a", "va", "10.20.2.9/24"),
        ("first", "v1", "10.20.2.1/24"),
        ("second", "v2", "10.20.2.2/24"),
    ])?;
    // Hosts that forward would pass on to each other what is for another address.
    for role in ["first", "second"] {
        stage.sysctl(role, "net.ipv4.ip_forward=0")?;
    }
    stage.ip("second", "addr add 10.20.2.100/32 dev eth0")?;
    stage.serve("second", SERVER)?;
    Ok(stage)
}

/// The client has the MAC address of the first balancer.
fn stale(stage: &Stage) -> Result<()> {
    let mac = stage.mac("first")?;
    let entry = format!("neigh replace 10.20.2.100 lladdr {mac} dev eth0 nud reachable");
    stage.ip("a", &entry)
}

fn dial(stage: &Stage, end: End) -> Result<Report> {
    stage.trace(["first", "a"], SERVER, |watch| {
        watch.dial("a", SERVER)?.ends(end).map(drop)
    })
}

#[test]
fn entry_of_the_client_is_stale() -> Result<()> {
    let stage = balancers()?;
    stale(&stage)?;
    dial(&stage, End::Silent)?.verdict(
        &ExpectedVerdict::new("endpoint", "likely")
            .why("10.20.2.100 is not an address of the namespace")
            .why("is stale")
            .names("eth0")
            .fix("ip neighbor flush to 10.20.2.100")
            .never_says(GONE),
    )?;
    Ok(())
}

/// The address is held by no host in sight.
#[test]
fn address_is_nowhere() -> Result<()> {
    let stage = balancers()?;
    stale(&stage)?;
    stage.ip("second", "addr del 10.20.2.100/32 dev eth0")?;
    dial(&stage, End::Silent)?.verdict(
        &ExpectedVerdict::new("endpoint", "likely")
            .why("10.20.2.100 is not an address of the namespace")
            .why("is gone or has moved"),
    )?;
    Ok(())
}

/// The client takes the first balancer for a router, which it is not.
#[test]
fn the_host_is_taken_for_a_router() -> Result<()> {
    let stage = balancers()?;
    stage.ip(
        "a",
        "addr flush dev eth0; addr add 10.20.2.9/32 dev eth0; route add 10.20.2.1 dev eth0 scope \
         link; route add 10.20.2.0/24 via 10.20.2.1 dev eth0",
    )?;
    dial(&stage, End::Silent)?.verdict(
        &ExpectedVerdict::any_of(["route"])
            .at_least("likely")
            .why("does not forward")
            .never_says(GONE),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    dial(&balancers()?, End::Answered)?.silent().map(drop)
}
