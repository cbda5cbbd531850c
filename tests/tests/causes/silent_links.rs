//! A host that has the address and answers no ARP for it: its interface is set so, its routes lead
//! elsewhere, or the bridge in between is down.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const SERVER: &str = "10.20.1.3:8080";
/// Never of an address that is held on this node.
const GONE: [&str; 2] = ["no host answers for", "is gone"];

fn pair() -> Result<Stage> {
    let stage = Stage::new(["a", "b", "c"])?;
    stage.veth(("a", "eth0"), ("b", "eth0"))?;
    stage.ip("a", "addr add 10.20.1.2/24 dev eth0")?;
    stage.ip("b", "addr add 10.20.1.3/24 dev eth0")?;
    stage.serve("b", SERVER)?;
    Ok(stage)
}

fn dial(stage: &Stage, is_answered: bool) -> Result<Report> {
    stage.trace(["a", "b"], SERVER, |watch| {
        let call = watch.dial("a", SERVER)?;
        match is_answered {
            true => call.ends(End::Answered).map(drop),
            false => watch.until_drop(),
        }
    })
}

fn silent(why: &'static str, fix: &'static str) -> ExpectedVerdict {
    ExpectedVerdict::any_of(["endpoint"])
        .why("10.20.1.3 is an address of")
        .why(why)
        .fix(fix)
        .never_says(GONE)
}

#[test]
fn the_interface_does_not_speak_arp() -> Result<()> {
    let stage = pair()?;
    stage.ip("b", "link set eth0 arp off")?;
    dial(&stage, false)?
        .verdict(&silent("(NOARP)", "ip link set dev eth0 arp on").at_least("likely"))?;
    Ok(())
}

/// The client takes its own MAC address for the server's.
#[test]
fn the_client_asks_no_one() -> Result<()> {
    let stage = pair()?;
    stage.ip("a", "link set eth0 arp off")?;
    let report = stage.trace(["a", "b"], SERVER, |watch| {
        watch.dial("a", SERVER)?.ends(End::Silent)
    })?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::any_of(["route"])
            .at_least("likely")
            .why("NOARP")
            .fix("ip link set dev eth0 arp on")
            .never_says(GONE),
    )?;
    // Where the server is not watched, only the model has it.
    let report = stage.trace(["a"], SERVER, |watch| {
        watch.dial("a", SERVER)?.ends(End::Silent)
    })?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("route", "likely")
            .why("sends to its own MAC address")
            .fix("ip link set dev eth0 arp on"),
    )?;
    Ok(())
}

/// Both ends are told where the other one is.
#[test]
fn neighbors_are_set_by_hand() -> Result<()> {
    let stage = pair()?;
    let (a, b) = (stage.mac("a")?, stage.mac("b")?);
    stage.ip("a", "link set eth0 arp off")?;
    stage.ip(
        "a",
        &format!("neigh replace 10.20.1.3 lladdr {b} dev eth0 nud noarp"),
    )?;
    stage.ip(
        "b",
        &format!("neigh replace 10.20.1.2 lladdr {a} dev eth0 nud permanent"),
    )?;
    dial(&stage, true)?.silent().map(drop)
}

/// A second interface of the server in the same subnet.
fn two_interfaces(preferred: &str) -> Result<Stage> {
    let stage = pair()?;
    stage.veth(("c", "eth0"), ("b", "eth1"))?;
    stage.ip("b", "addr add 10.20.1.4/24 dev eth1")?;
    let other = if preferred == "eth0" { "eth1" } else { "eth0" };
    stage.ip("b", &format!("route del 10.20.1.0/24 dev {other}"))?;
    stage.sysctl("b", "net.ipv4.conf.eth0.arp_filter=1")?;
    Ok(stage)
}

#[test]
fn routes_of_the_server_lead_by_another_interface() -> Result<()> {
    dial(&two_interfaces("eth1")?, false)?
        .verdict(&silent("arp_filter is on", "ip route get 10.20.1.2").at_most("possible"))?;
    Ok(())
}

fn bridged() -> Result<Stage> {
    let stage = Stage::new(["a", "b", "node"])?;
    stage.bridge([("a", "va", "10.20.1.2/24"), ("b", "vb", "10.20.1.3/24")])?;
    stage.serve("b", SERVER)?;
    Ok(stage)
}

#[test]
fn the_bridge_is_down() -> Result<()> {
    let stage = bridged()?;
    stage.ip("node", "link set br0 down")?;
    dial(&stage, false)?.verdict(&silent("br0", "ip link set dev br0 up").at_least("likely"))?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    dial(&two_interfaces("eth0")?, true)?.silent()?;
    dial(&bridged()?, true)?.silent().map(drop)
}
