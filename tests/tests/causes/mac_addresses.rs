//! Frames that go to the wrong host by their MAC address: a wrong neighbor entry, a configured FDB
//! entry, or two hosts with one MAC address.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const SERVER: &str = "10.20.2.3:8080";

/// Three hosts at a bridge of the node: a client, a server, and another one.
fn bridged() -> Result<Stage> {
    let stage = Stage::new(["a", "b", "other", "node"])?;
    stage.bridge([
        ("a", "va", "10.20.2.2/24"),
        ("b", "vb", "10.20.2.3/24"),
        ("other", "vo", "10.20.2.4/24"),
    ])?;
    stage.serve("b", SERVER)?;
    // A question would be answered, and the bridge would learn from the answer.
    let mac = stage.mac("b")?;
    stage.ip("a", &format!("neigh add 10.20.2.3 lladdr {mac} dev eth0"))?;
    Ok(stage)
}

fn dial<const N: usize>(stage: &Stage, watched: [&'static str; N], end: End) -> Result<Report> {
    stage.trace(watched, SERVER, |watch| {
        watch.dial("a", SERVER)?.ends(end).map(drop)
    })
}

#[test]
fn entry_of_the_bridge_leads_to_another_port() -> Result<()> {
    let stage = bridged()?;
    let mac = stage.mac("b")?;
    stage.exec(
        "node",
        &format!("bridge fdb replace {mac} dev vo master static"),
    )?;
    let report = dial(&stage, ["node", "a"], End::Silent)?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("endpoint", "likely")
            .why("a configured FDB entry of the bridge br0")
            .why("vo"),
    )?;
    Ok(())
}

/// Gives the other host the server's MAC address. The bridge learns where it was seen last.
fn twins(stage: &Stage, forwards: &str) -> Result<()> {
    let mac = stage.mac("b")?;
    stage.ip("other", &format!("link set eth0 address {mac}"))?;
    stage.sysctl("other", &format!("net.ipv4.ip_forward={forwards}"))?;
    stage.exec("other", "ping -c 1 -W 1 10.20.2.2").map(drop)
}

/// As the pods of a node do, the other host forwards: it sends the frame back to where it came from.
#[test]
fn the_other_host_forwards() -> Result<()> {
    let stage = bridged()?;
    twins(&stage, "1")?;
    let report = dial(&stage, ["node", "a"], End::Silent)?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("endpoint", "likely")
            .why("have one MAC address")
            .why("frames for 10.20.2.3")
            .fix("a MAC address of its own")
            .never_says(["is gone", "is stale"]),
    )?;
    Ok(())
}

#[test]
fn another_host_has_the_same_mac_address() -> Result<()> {
    let stage = bridged()?;
    twins(&stage, "0")?;
    let report = dial(&stage, ["node", "a"], End::Silent)?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("endpoint", "likely")
            .why("the same MAC address")
            .never_says(["not forwarded"]),
    )?;
    Ok(())
}

/// As before, seen where the frames come to.
#[test]
fn the_other_host_is_in_sight() -> Result<()> {
    let stage = bridged()?;
    twins(&stage, "0")?;
    let report = dial(&stage, ["node", "a", "other"], End::Silent)?;
    report.verdict(
        &ExpectedVerdict::new("endpoint", "likely")
            .why("have one MAC address")
            .why("10.20.2.3")
            .fix("a MAC address of its own")
            .never_says(["is gone", "is stale"]),
    )?;
    Ok(())
}

/// The entry of the gateway is wrong, and not one of the destination.
#[test]
fn entry_of_the_gateway_is_wrong() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.serve("b", SERVER)?;
    dial(&stage, ["node"], End::Answered)?.silent()?;
    stage.ip(
        "a",
        "neigh replace 10.20.1.1 lladdr 02:00:00:00:99:99 dev eth0 nud permanent",
    )?;
    let report = dial(&stage, ["node"], End::Silent)?;
    report.verdict(
        &ExpectedVerdict::new("endpoint", "likely")
            .why("02:00:00:00:99:99")
            .why("for 10.20.1.1 has it")
            .fix("ip neighbor del 10.20.1.1 dev eth0"),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    dial(&bridged()?, ["node", "a"], End::Answered)?
        .silent()
        .map(drop)
}
