//! A filter of tc sends what comes in to an interface that shapes it, as the CNI plugin `bandwidth` does,
//! and that interface takes nothing.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const SERVER: &str = "10.20.2.3:8080";

/// A node that shapes what the pod `a` sends by the interface bwp1, which is up.
fn shaped() -> Result<Stage> {
    let stage = Stage::routed_pods()?;
    stage.ip("node", "link add bwp1 type ifb; link set bwp1 up")?;
    stage.exec(
        "node",
        "tc qdisc add dev va ingress
         tc filter add dev va parent ffff: protocol all u32 match u32 0 0 action mirred egress \
         redirect dev bwp1",
    )?;
    stage.serve("b", SERVER)?;
    Ok(stage)
}

/// Without it, the question for the gateway is lost, and no packet is sent.
fn knows_gateway(stage: &Stage) -> Result<()> {
    let mac = stage.exec("node", "cat /sys/class/net/va/address")?;
    stage.ip(
        "a",
        &format!("neigh replace 10.20.1.1 lladdr {} dev eth0", mac.trim()),
    )
}

fn dial(stage: &Stage, end: End) -> Result<Report> {
    stage.trace(["node", "a", "b"], SERVER, |watch| {
        watch.dial("a", SERVER)?.ends(end)
    })
}

#[test]
fn interface_is_down() -> Result<()> {
    let stage = shaped()?;
    knows_gateway(&stage)?;
    stage.ip("node", "link set bwp1 down")?;
    dial(&stage, End::Silent)?.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("route", "confirmed")
            .why("bwp1, which is down")
            .fix("ip link set dev bwp1 up"),
    )?;
    Ok(())
}

#[test]
fn question_for_the_gateway_is_lost() -> Result<()> {
    let stage = shaped()?;
    stage.ip("node", "link set bwp1 down")?;
    let report = stage.trace(["node", "a", "b"], SERVER, |watch| {
        watch.dial("a", SERVER)?;
        watch.until_drop()
    })?;
    report.verdict(
        &ExpectedVerdict::new("route", "likely")
            .why("ARP request for 10.20.1.1")
            .why("bwp1, which is down")
            .fix("ip link set dev bwp1 up"),
    )?;
    Ok(())
}

/// The filter is where packets leave: the node's own question for the server goes there, too.
#[test]
fn question_that_leaves_is_lost() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.ip("node", "link add bwp1 type ifb")?;
    stage.exec(
        "node",
        "tc qdisc add dev vb clsact
         tc filter add dev vb egress protocol all u32 match u32 0 0 action mirred egress redirect dev bwp1",
    )?;
    stage.serve("b", SERVER)?;
    let report = stage.trace(["node", "a", "b"], SERVER, |watch| watch.dial("a", SERVER))?;
    report.verdict(
        &ExpectedVerdict::new("route", "likely")
            .why("the ARP request for 10.20.2.3 meets a filter of tc at vb")
            .why("bwp1, which is down")
            .fix("ip link set dev bwp1 up"),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    dial(&shaped()?, End::Answered)?.silent().map(drop)
}
