//! Docker's subnet is also a network elsewhere, and its route is the more specific one
//! (moby/libnetwork#2001).

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

/// A pod's node, with a server in 10.20.77.0/24 behind its router.
fn trace(docker: &str, is_answered: bool) -> Result<Report> {
    let stage = Stage::new(["p", "node", "rt", "srv"])?;
    stage.veth(("node", "eth0"), ("rt", "n0"))?;
    stage.veth(("rt", "s0"), ("srv", "eth0"))?;
    stage.veth(("p", "eth0"), ("node", "vp"))?;
    stage.ip(
        "node",
        &format!(
            "addr add 10.20.10.5/24 dev eth0; route add default via 10.20.10.1; link add docker0 \
             type bridge; link set docker0 up; addr add {docker} dev docker0; link add vc type \
             veth peer name vd; link set vc master docker0; link set vc up; link set vd up; addr \
             add 10.20.1.1/24 dev vp"
        ),
    )?;
    stage.ip(
        "rt",
        "addr add 10.20.10.1/24 dev n0; addr add 10.20.77.1/24 dev s0; route add 10.20.1.0/24 via \
         10.20.10.5",
    )?;
    stage.ip(
        "srv",
        "addr add 10.20.77.5/24 dev eth0; route add default via 10.20.77.1",
    )?;
    stage.ip(
        "p",
        "addr add 10.20.1.2/24 dev eth0; route add default via 10.20.1.1",
    )?;
    for role in ["rt", "node"] {
        stage.sysctl(role, "net.ipv4.ip_forward=1")?;
    }
    stage.serve("srv", "10.20.77.5:8080")?;
    stage.trace(["node", "p"], "10.20.77.5:8080", |watch| {
        let call = watch.dial("p", "10.20.77.5:8080")?;
        match is_answered {
            true => call.ends(End::Answered).map(drop),
            false => watch.until_drop(),
        }
    })
}

#[test]
fn docker_takes_it() -> Result<()> {
    trace("10.20.77.1/24", false)?.verdict(
        &ExpectedVerdict::any_of(["endpoint", "route"])
            .at_least("likely")
            .evidence("10.20.77.0/24 is the subnet of docker0")
            .evidence("default via 10.20.10.1 dev eth0")
            .fix("bip"),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    trace("10.20.78.1/24", true)?.silent().map(drop)
}
