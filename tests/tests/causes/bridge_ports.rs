//! Bridge ports that do not forward yet, or not back to where a frame came from, and translations
//! that a bridge passes by.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const SERVICE: &str = "10.20.96.10:80";

/// Two pods at a bridge of the node, and a Service that leads to 10.20.1.3.
fn bridged() -> Result<Stage> {
    let stage = Stage::new(["a", "b", "node"])?;
    stage.bridge([("a", "va", "10.20.1.2/24"), ("b", "vb", "10.20.1.3/24")])?;
    stage.ip("node", "addr add 10.20.1.1/24 dev br0")?;
    for role in ["a", "b"] {
        stage.ip(role, "route add default via 10.20.1.1")?;
    }
    stage.sysctl("node", "net.ipv4.ip_forward=1")?;
    stage.serve("b", "10.20.1.3:8080")?;
    Ok(stage)
}

fn translate(stage: &Stage, to: &str) -> Result<()> {
    stage.exec(
        "node",
        &format!(
            "iptables -t nat -A PREROUTING -d 10.20.96.10 -p tcp --dport 80 -j DNAT --to-destination {to}"
        ),
    )?;
    Ok(())
}

fn listening(stp: bool, end: End) -> Result<Report> {
    let stage = bridged()?;
    if stp {
        // A port is taken out and in again: it starts to listen.
        stage.ip(
            "node",
            "link set br0 type bridge stp_state 1; link set va nomaster; link set va master br0",
        )?;
    }
    stage.ip(
        "a",
        "neigh replace 10.20.1.3 lladdr 02:00:00:00:00:33 dev eth0 nud permanent",
    )?;
    stage.ip("b", "link set eth0 address 02:00:00:00:00:33")?;
    stage.trace(["node", "a", "b"], "10.20.1.3:8080", |watch| {
        watch.dial("a", "10.20.1.3:8080")?.ends(end)
    })
}

#[test]
fn port_listens_before_it_forwards() -> Result<()> {
    let report = listening(true, End::Silent)?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("route", "confirmed")
            .names("va")
            .why("listening")
            .fix("stp_state 0"),
    )?;
    Ok(())
}

/// A pod asks its own Service: the frame would have to leave where it came in.
fn to_itself(hairpin: &str, end: End) -> Result<Report> {
    let stage = bridged()?;
    translate(&stage, "10.20.1.3:8080")?;
    stage.exec(
        "node",
        "iptables -t nat -A POSTROUTING -s 10.20.1.3 -d 10.20.1.3 -j MASQUERADE",
    )?;
    stage.sysctl("node", "net.bridge.bridge-nf-call-iptables=1")?;
    stage.exec("node", &format!("bridge link set dev vb hairpin {hairpin}"))?;
    stage.trace(["node", "b"], SERVICE, |watch| {
        watch.dial("b", SERVICE)?.ends(end)
    })
}

#[test]
fn hairpin_is_off() -> Result<()> {
    let report = to_itself("off", End::Silent)?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::any_of(["route"])
            .at_least("likely")
            .names("vb")
            .why("hairpin")
            .fix("bridge link set dev vb hairpin on"),
    )?;
    Ok(())
}

/// The answer is bridged straight back, past conntrack.
fn bridged_back(nf_call: u8, end: End, filter: &str) -> Result<Report> {
    let stage = bridged()?;
    translate(&stage, "10.20.1.3:8080")?;
    let setting = format!("net.bridge.bridge-nf-call-iptables={nf_call}");
    stage.sysctl("node", &setting)?;
    stage.trace(["node", "a", "b"], filter, |watch| {
        watch.dial("a", SERVICE)?.ends(end)
    })
}

#[test]
fn answer_is_not_translated_back() -> Result<()> {
    for filter in [SERVICE, "--from 10.20.1.2"] {
        let report = bridged_back(0, End::Silent, filter)?;
        report.unanswered()?.verdict(
            &ExpectedVerdict::any_of(["conntrack"])
                .at_least("likely")
                .why("10.20.1.3:8080")
                .fix("net.bridge.bridge-nf-call-iptables=1")
                .never_says(["no socket listens"]),
        )?;
    }
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    listening(false, End::Answered)?.silent()?;
    to_itself("on", End::Answered)?.silent()?;
    bridged_back(1, End::Answered, SERVICE)?.silent().map(drop)
}
