//! Pods lose forwarding though `net.ipv4.ip_forward` is 1: it is off on one interface
//! (systemd/systemd#468, containers/netavark#1497).

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{Report, Stage},
};

fn trace(forwarding: u8) -> Result<Report> {
    let stage = Stage::routed_pods()?;
    stage.sysctl("node", &format!("net.ipv4.conf.va.forwarding={forwarding}"))?;
    stage.serve("b", "10.20.2.3:8080")?;
    stage.trace(["node", "a", "b"], "10.20.2.3:8080", |watch| {
        watch.dial("a", "10.20.2.3:8080")
    })
}

#[test]
fn forwarding_is_off_where_the_packet_comes_in() -> Result<()> {
    let report = trace(0)?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::any_of(["route"])
            .at_least("likely")
            .names("va")
            .fix("net.ipv4.conf.va.forwarding=1"),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    trace(1)?.silent().map(drop)
}
