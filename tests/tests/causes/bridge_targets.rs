//! A bridge that has no port to send a frame by, and a port that lets no stranger in.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{Report, Stage},
};

const SERVER: &str = "10.20.1.3:8080";

/// Two hosts at a bridge of the node that know each other's MAC addresses.
fn trace(change: impl Fn(&Stage, [String; 2]) -> Result<()>) -> Result<Report> {
    let stage = Stage::new(["a", "b", "node"])?;
    stage.bridge([("a", "va", "10.20.1.2/24"), ("b", "vb", "10.20.1.3/24")])?;
    let macs = [stage.mac("a")?, stage.mac("b")?];
    let knows = |role, of: &str, mac: &str| {
        let entry = format!("neigh replace {of} lladdr {mac} dev eth0 nud permanent");
        stage.ip(role, &entry)
    };
    knows("a", "10.20.1.3", &macs[1])?;
    knows("b", "10.20.1.2", &macs[0])?;
    stage.serve("b", SERVER)?;
    change(&stage, macs)?;
    stage.trace(["node"], SERVER, |watch| watch.dial("a", SERVER))
}

/// By the bridge, and not by a tunnel.
fn bridge() -> ExpectedVerdict {
    ExpectedVerdict::new("route", "likely").never_says(["VTEP", "tunnel"])
}

/// `vb` learns nothing and has no entry; only flooding leads to it.
fn unlearned(flood: &'static str) -> Result<Report> {
    trace(|stage, [_, mac]| {
        let script = format!(
            "bridge link set dev vb flood {flood} learning off
             bridge fdb del {mac} dev vb master 2>/dev/null || true"
        );
        stage.exec("node", &script).map(drop)
    })
}

#[test]
fn unknown_address_is_not_flooded() -> Result<()> {
    unlearned("off")?.outcome("unanswered")?.verdict(
        &bridge()
            .names("br0")
            .why("flooding is off at vb")
            .fix("bridge link set dev vb flood on"),
    )?;
    Ok(())
}

#[test]
fn the_only_other_port_has_left_the_bridge() -> Result<()> {
    let report = trace(|stage, _| stage.ip("node", "link set vb nomaster"))?;
    report.outcome("unanswered")?.verdict(
        &bridge()
            .why("has no other port")
            .evidence("10.20.1.3 is behind vb, which is no port of br0"),
    )?;
    Ok(())
}

/// Both ports are isolated from each other.
#[test]
fn isolated_ports_exchange_nothing() -> Result<()> {
    let report = trace(|stage, [_, mac]| {
        let script = format!(
            "bridge link set dev va isolated on; bridge link set dev vb isolated on learning off
             bridge fdb del {mac} dev vb master 2>/dev/null || true"
        );
        stage.exec("node", &script).map(drop)
    })?;
    report
        .outcome("unanswered")?
        .verdict(&bridge().evidence("va and vb are both isolated"))?;
    Ok(())
}

/// 802.1X: who is not authorized has no entry.
fn locked(authorized: bool) -> Result<Report> {
    trace(|stage, [mac, _]| {
        let entry = match authorized {
            true => format!("bridge fdb replace {mac} dev va master static"),
            false => format!("bridge fdb del {mac} dev va master 2>/dev/null || true"),
        };
        let lock = "bridge link set dev va learning off locked on";
        stage.exec("node", &format!("{lock}; {entry}")).map(drop)
    })
}

#[test]
fn locked_port_lets_no_stranger_in() -> Result<()> {
    locked(false)?.outcome("unanswered")?.verdict(
        &bridge()
            .names("va")
            .why("is locked")
            .fix("bridge fdb replace"),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    unlearned("on")?.silent()?;
    locked(true)?.silent().map(drop)
}
