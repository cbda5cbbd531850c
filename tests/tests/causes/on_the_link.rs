//! A route takes a destination for a neighbor that is behind a router.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const SERVER: &str = "10.20.3.3:8080";

/// A client, a router and a server in another subnet.
fn routed() -> Result<Stage> {
    let stage = Stage::new(["a", "router", "b"])?;
    stage.veth(("a", "eth0"), ("router", "ra"))?;
    stage.veth(("b", "eth0"), ("router", "rb"))?;
    stage.ip("a", "addr add 10.20.2.2/24 dev eth0")?;
    stage.ip(
        "router",
        "addr add 10.20.2.1/24 dev ra; addr add 10.20.3.1/24 dev rb",
    )?;
    stage.ip(
        "b",
        "addr add 10.20.3.3/24 dev eth0; route add default via 10.20.3.1",
    )?;
    stage.sysctl("router", "net.ipv4.ip_forward=1")?;
    stage.serve("b", SERVER)?;
    Ok(stage)
}

fn lost(stage: &Stage, to: &'static str) -> Result<Report> {
    stage.trace(["a"], to, |watch| {
        watch.dial("a", to)?;
        watch.until_drop()
    })
}

/// Nothing in sight has the destination: a host would be called gone.
#[test]
fn default_route_lacks_its_gateway() -> Result<()> {
    let stage = routed()?;
    stage.ip("a", "route add default dev eth0 scope link")?;
    lost(&stage, "198.51.100.9:443")?.verdict(
        &ExpectedVerdict::any_of(["route"])
            .at_least("likely")
            .why("the default route leads onto the link at eth0 without a gateway")
            .evidence("default dev eth0")
            .fix("a gateway"),
    )?;
    Ok(())
}

/// A router with proxy ARP makes such a route right: it answers, but not for this destination.
#[test]
fn default_route_onto_a_link_with_proxy_arp() -> Result<()> {
    let stage = routed()?;
    stage.ip("a", "route add default dev eth0 scope link")?;
    // The other end of the client's cable is a port, and not what answers.
    stage.ip(
        "router",
        "link add br0 type bridge; addr flush dev ra; link set ra master br0; link set br0 up; addr \
         add 10.20.2.1/24 dev br0",
    )?;
    stage.sysctl(
        "router",
        "net.ipv4.conf.br0.proxy_arp=1 net.ipv4.neigh.br0.proxy_delay=0",
    )?;
    stage.trace(["a"], SERVER, |watch| {
        watch.dial("a", SERVER)?.ends(End::Answered).map(drop)
    })?;
    lost(&stage, "198.51.100.9:443")?.verdict(
        &ExpectedVerdict::any_of(["endpoint"])
            .why("no host answers for 198.51.100.9")
            .never_says(["without a gateway"]),
    )?;
    Ok(())
}

#[test]
fn netmask_is_too_wide() -> Result<()> {
    let stage = routed()?;
    stage.ip(
        "a",
        "addr flush dev eth0; addr add 10.20.2.2/16 dev eth0; route add default via 10.20.2.1",
    )?;
    lost(&stage, SERVER)?.verdict(
        &ExpectedVerdict::any_of(["route"])
            .at_least("likely")
            .why("10.20.3.3")
            .evidence("for a neighbor at eth0: 10.20.0.0/16 dev eth0")
            .evidence("its own subnet there is 10.20.3.0/24"),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    let stage = routed()?;
    stage.ip("a", "route add default via 10.20.2.1")?;
    let report = stage.trace(["a"], SERVER, |watch| {
        watch.dial("a", SERVER)?.ends(End::Answered).map(drop)
    })?;
    report.silent().map(drop)
}
