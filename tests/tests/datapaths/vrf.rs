//! Both sides of a router in a VRF.

use anyhow::Result;
use whydrop_tests::{expected::ExpectedVerdict, incident::Stage};

use super::stage::{ALL, SERVER, dial, has, is_healthy, routed};

/// The router, with its interfaces in a VRF; `None` on a kernel without.
fn stage() -> Result<Option<Stage>> {
    let stage = routed()?;
    let add = "link add blue type vrf table 10; link set blue up";
    if !has(&stage, "node", add, "VRF")? {
        return Ok(None);
    }
    stage.ip(
        "node",
        "link set client master blue; link set server master blue",
    )?;
    Ok(Some(stage))
}

#[test]
fn healthy() -> Result<()> {
    match stage()? {
        Some(stage) => is_healthy(&stage, SERVER),
        None => Ok(()),
    }
}

/// The answer comes in outside of the VRF, where no route leads back.
#[test]
fn answer_outside_of_the_vrf() -> Result<()> {
    let Some(stage) = stage()? else {
        return Ok(());
    };
    stage.ip(
        "node",
        "link set server nomaster; route add 10.20.2.0/24 dev server table 10",
    )?;
    dial(&stage, &ALL, SERVER)?
        .outcome("unanswered")?
        .verdict(&ExpectedVerdict::new("route", "confirmed").why("no route to 10.20.1.2"))?;
    Ok(())
}

const NODE: &str = "10.20.1.1:8080";

/// A listener of the default VRF takes no connections that come in through another one.
#[test]
fn listener_of_the_default_vrf() -> Result<()> {
    let Some(stage) = stage()? else {
        return Ok(());
    };
    stage.serve("node", "0.0.0.0:8080")?;
    dial(&stage, &ALL, NODE)?.outcome("refused")?.verdict(
        &ExpectedVerdict::new("socket", "likely")
            .why("it takes no packets of the VRF blue")
            .never_says(["nothing listens"]),
    )?;
    Ok(())
}

#[test]
fn listener_of_all_vrfs() -> Result<()> {
    let Some(stage) = stage()? else {
        return Ok(());
    };
    stage.sysctl("node", "net.ipv4.tcp_l3mdev_accept=1")?;
    stage.serve("node", "0.0.0.0:8080")?;
    is_healthy(&stage, NODE)
}
