//! A pod on an ipvlan interface of its node, in each of the modes.

use anyhow::Result;
use whydrop_tests::{expected::ExpectedVerdict, incident::Stage};

use super::stage::{ALL, dial, has, is_healthy};

/// On the node's own link.
const SERVER: &str = "10.20.2.2:8080";

/// The client's interface is on top of the node's; the server is on the node's link.
fn stage(mode: &str) -> Result<Option<Stage>> {
    let stage = Stage::new(ALL)?;
    stage.veth(("node", "eth0"), ("server", "eth0"))?;
    stage.ip("node", "addr add 10.20.2.1/24 dev eth0")?;
    stage.ip("server", "addr add 10.20.2.2/24 dev eth0")?;
    let add = format!("link add ipv0 link eth0 type ipvlan mode {mode}");
    if !has(&stage, "node", &add, "ipvlan")? {
        return Ok(None);
    }
    let client = stage.name("client").to_owned();
    stage.ip("node", &format!("link set ipv0 netns {client}"))?;
    stage.ip(
        "client",
        "link set ipv0 up; addr add 10.20.2.7/24 dev ipv0; route add default dev ipv0",
    )?;
    stage.serve("server", SERVER)?;
    Ok(Some(stage))
}

/// In the modes L3 and L3S, the link's hosts need a route to the pod by way of its node.
fn routed(mode: &str) -> Result<Option<Stage>> {
    let stage = stage(mode)?;
    if let Some(stage) = &stage {
        stage.ip("server", "route add 10.20.2.7/32 via 10.20.2.1")?;
    }
    Ok(stage)
}

fn healthy(stage: Option<Stage>) -> Result<()> {
    match stage {
        Some(stage) => is_healthy(&stage, SERVER),
        None => Ok(()),
    }
}

#[test]
fn l2_healthy() -> Result<()> {
    healthy(stage("l2")?)
}

#[test]
fn l3_healthy() -> Result<()> {
    healthy(routed("l3")?)
}

#[test]
fn l3s_healthy() -> Result<()> {
    healthy(routed("l3s")?)
}

/// The node's own address is on the interface below the pod's: the two never exchange frames.
#[test]
fn l2_to_its_own_node() -> Result<()> {
    let Some(stage) = stage("l2")? else {
        return Ok(());
    };
    dial(&stage, &["client", "node"], "10.20.2.1:8080")?
        .outcome("unanswered")?
        .verdict(
            &ExpectedVerdict::new("endpoint", "likely")
                .why("ipv0 is on top of eth0")
                .why("the two never exchange frames"),
        )?;
    Ok(())
}

/// The server takes the pod for a host of its own link, and asks it: no ARP request reaches a pod in mode L3.
#[test]
fn l3_without_a_route_to_the_pod() -> Result<()> {
    let Some(stage) = stage("l3")? else {
        return Ok(());
    };
    let report = stage.trace(ALL, SERVER, |watch| {
        watch.dial("client", SERVER)?;
        // The question for the pod fails after three seconds: then the cause is known.
        watch.until("another verdict", |record| {
            record
                .as_attempt()
                .is_some_and(|attempt| attempt.corrects.is_some())
        })
    })?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("endpoint", "likely")
            .why("an ipvlan interface in mode L3, which answers no ARP")
            .fix("ip route add 10.20.2.7 via 10.20.2.1")
            .never_says(["arp on"]),
    )?;
    Ok(())
}

/// What the pod sends in mode L3S passes the hooks of its node.
#[test]
fn l3s_dropped_by_the_node() -> Result<()> {
    let Some(stage) = routed("l3s")? else {
        return Ok(());
    };
    stage.exec(
        "node",
        "nft 'table ip own { chain c { type filter hook output priority 0; tcp dport 8080 drop; }; }'",
    )?;
    dial(&stage, &ALL, SERVER)?.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("firewall", "confirmed")
            .why("of chain c in table ip own: `tcp dport 8080 drop`")
            .fix("nft insert rule ip own c"),
    )?;
    Ok(())
}
