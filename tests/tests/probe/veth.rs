//! A veth pair whose ends have different MTUs: the fix gives both the same, and is all that it takes.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use whydrop_tests::{
    lab::{
        Family, Host, Topology,
        topology::{NodeLab, RouterLab},
    },
    probe::Probed,
    record::{Layer, LayerResult, Point},
    tracer::run_to_end,
    traffic::TcpServer,
};

use super::{PORT, probe};

const NARROW: u32 = 1300;

fn set(host: &whydrop_tests::lab::Namespace, ifname: &str, mtu: u32) -> Result<()> {
    let command = format!("ip link set dev {ifname} mtu {mtu}");
    host.run(&command).map(drop)
}

/// The probe passes, fails with the fault, and passes again after the commands of its fix.
fn mended(
    lab: &impl Topology,
    (client, server): (&Host, &Host),
    family: Family,
    fault: impl Fn() -> Result<()>,
) -> Result<Probed> {
    let to = server.socket(family, PORT);
    let _serving = TcpServer::echo(server, to)?;
    let run = || probe(lab, client, to, family).run();
    run()?.healthy()?;
    fault()?;
    let failing = run()?;
    let row = failing.fails(Layer::Mtu, Point::Mtu, "")?;
    let verdict = row.verdict.as_ref().context("a verdict")?;
    let lines: Vec<String> = verdict.fix.iter().map(|fix| fix.line()).collect();
    ensure!(!lines.is_empty(), "{verdict:?}");
    for line in &lines {
        ensure!(line.contains("ip link set dev"), "no command: {lines:?}");
        let output = run_to_end(Command::new("sh").args(["-ec", line]))?;
        ensure!(output.status.success(), "{line}: {output:?}");
    }
    run()?
        .healthy()
        .with_context(|| format!("after {lines:?}"))?;
    Ok(failing)
}

/// What passes and what the end's MTU is are two figures, and the row says how they go together.
fn says_both(probed: &Probed) -> Result<()> {
    let words = format!("{} bytes pass", NARROW + 4);
    let row = probed.expect(Layer::Mtu, LayerResult::Failed, &words)?;
    let evidence = row.evidence.as_deref().unwrap_or_default();
    let words = format!("has an MTU of {NARROW}, and a veth pair lets 4 more pass");
    ensure!(evidence.contains(&words), "{row:?}");
    let verdict = row.verdict.as_ref().context("a verdict")?;
    let words = "are the two ends of a veth pair";
    ensure!(
        verdict.evidence.iter().any(|fact| fact.contains(words)),
        "{verdict:?}"
    );
    Ok(())
}

/// The pod's end behind a bridge: a narrower port would drop instead, as bridges report nothing.
#[test]
fn narrow_pod_on_a_bridge() -> Result<()> {
    Family::at_once(|family| {
        let lab = NodeLab::build()?;
        let ends = (&lab.pod_a, &lab.pod_b);
        let failing = mended(&lab, ends, family, || set(&lab.pod_b, "eth0", NARROW))?;
        says_both(&failing)
    })
}

/// Both ends behind a bridge: with one of them as wide as the other pods, the other one would drop.
#[test]
fn both_ends_narrow_on_a_bridge() -> Result<()> {
    let lab = NodeLab::build()?;
    let ends = (&lab.pod_a, &lab.pod_b);
    mended(&lab, ends, Family::V4, || {
        set(&lab.pod_b, "eth0", NARROW)?;
        set(&lab.node, "veth-b", NARROW)
    })?;
    Ok(())
}

/// Routers report what is too large for an interface of their own: the smaller MTU works at both ends.
#[test]
fn narrow_end_of_a_router() -> Result<()> {
    Family::at_once(|family| {
        let lab = RouterLab::build()?;
        let ends = (&lab.client, &lab.server);
        let failing = mended(&lab, ends, family, || set(&lab.server, "eth0", NARROW))?;
        says_both(&failing)
    })
}

/// The source's own end is the wide one.
#[test]
fn narrow_end_beside_the_source() -> Result<()> {
    let lab = RouterLab::build()?;
    let ends = (&lab.client, &lab.server);
    let failing = mended(&lab, ends, Family::V4, || set(&lab.router, "left", NARROW))?;
    says_both(&failing)
}
