//! IPv6 is switched off at an interface: it has lost its addresses, and answers no one
//! (moby/moby#47521).

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const SERVER: &str = "[fd20:2::3]:8080";

fn stage() -> Result<Stage> {
    let stage = Stage::with_ipv6(["a", "b", "node"])?;
    stage.veth(("a", "eth0"), ("node", "va"))?;
    stage.veth(("b", "eth0"), ("node", "vb"))?;
    stage.ip(
        "node",
        "addr add fd20:1::1/64 dev va nodad; addr add fd20:2::1/64 dev vb nodad",
    )?;
    stage.ip(
        "a",
        "addr add fd20:1::2/64 dev eth0 nodad; -6 route add default via fd20:1::1",
    )?;
    stage.ip(
        "b",
        "addr add fd20:2::3/64 dev eth0 nodad; -6 route add default via fd20:2::1",
    )?;
    stage.sysctl("node", "net.ipv6.conf.all.forwarding=1")?;
    Ok(stage)
}

fn dial(stage: &Stage, roles: &[&'static str]) -> Result<Report> {
    stage.trace(roles.iter().copied(), SERVER, |watch| {
        watch.dial("a", SERVER)
    })
}

fn disabled() -> ExpectedVerdict {
    ExpectedVerdict::new("route", "likely")
        .why("IPv6 is disabled at")
        .fix("disable_ipv6=0")
        .never_says(["is gone"])
}

#[test]
fn at_the_server() -> Result<()> {
    let stage = stage()?;
    stage.sysctl("b", "net.ipv6.conf.eth0.disable_ipv6=1")?;
    dial(&stage, &["node"])?.verdict(&disabled().why("no host answers for fd20:2::3"))?;
    Ok(())
}

#[test]
fn at_the_gateway() -> Result<()> {
    let stage = stage()?;
    stage.sysctl("node", "net.ipv6.conf.va.disable_ipv6=1")?;
    let verdict = disabled().why("the gateway fd20:1::1 does not answer");
    dial(&stage, &["a"])?.verdict(&verdict.why("va"))?;
    Ok(())
}

/// Others of the link speak IPv6, and might have had the address.
#[test]
fn not_at_all_hosts_of_the_link() -> Result<()> {
    let mut stage = stage()?;
    stage.add("other")?;
    stage.ip("node", "addr flush dev vb; link add br0 type bridge mcast_snooping 0; link set br0 up; link set vb master br0; addr add fd20:2::1/64 dev br0 nodad")?;
    stage.veth(("other", "eth0"), ("node", "vo"))?;
    stage.ip("node", "link set vo master br0")?;
    stage.sysctl("b", "net.ipv6.conf.eth0.disable_ipv6=1")?;
    dial(&stage, &["node"])?.verdict(
        &ExpectedVerdict::new("endpoint", "likely")
            .why("no host answers for fd20:2::3")
            .never_says(["IPv6 is disabled at"]),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    let stage = stage()?;
    stage.serve("b", SERVER)?;
    let report = stage.trace(["node", "a", "b"], SERVER, |watch| {
        watch.dial("a", SERVER)?.ends(End::Answered)
    })?;
    report.silent().map(drop)
}
