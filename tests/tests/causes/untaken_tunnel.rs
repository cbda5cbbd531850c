//! IP in IP for a host without a tunnel device.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use whydrop_tests::{
    deadline,
    expected::ExpectedVerdict,
    incident::{Report, Stage, Watch},
    traffic::{INNER, IpInIp},
};

const HEADERS: u16 = 28;

fn pair() -> Result<(Stage, IpInIp)> {
    let stage = Stage::new(["a", "b"])?;
    stage.veth(("a", "eth0"), ("b", "eth0"))?;
    stage.ip("a", "addr add 10.20.1.2/24 dev eth0")?;
    stage.ip("b", "addr add 10.20.1.3/24 dev eth0")?;
    let tunnel = IpInIp::towards(stage.namespace("a"), Ipv4Addr::new(10, 20, 1, 3), INNER)?;
    Ok((stage, tunnel))
}

fn trace(stage: &Stage, happens: impl FnOnce(&mut Watch<'_>) -> Result<()>) -> Result<Report> {
    stage.trace(["b"], &INNER[1].to_string(), happens)
}

#[test]
fn no_tunnel_device_is_there() -> Result<()> {
    let (stage, tunnel) = pair()?;
    let report = trace(&stage, |watch| {
        tunnel.send(HEADERS)?;
        watch.until_drop()
    })?;
    report.verdict(
        &ExpectedVerdict::any_of(["overlay"])
            .why("no tunnel device takes the encapsulated packet here")
            .never_says(["no socket takes"]),
    )?;
    Ok(())
}

#[test]
fn a_process_takes_it() -> Result<()> {
    let (stage, tunnel) = pair()?;
    let tunnel = tunnel.received_in(stage.namespace("b"))?;
    let report = trace(&stage, |_| {
        tunnel.send(HEADERS)?;
        ensure!(tunnel.arrived(deadline())?, "it did not arrive");
        Ok(())
    })?;
    report.silent().map(drop)
}
