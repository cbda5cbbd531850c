//! Rules in OUTPUT redirect what a pod sends to a port of its own, where a sidecar listens
//! (istio/istio#11130): the answer comes from the address that the client asked for.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const SERVER: &str = "10.20.2.3:8080";

fn redirected(rule: &str) -> Result<Stage> {
    let stage = Stage::routed_pods()?;
    stage.serve("b", SERVER)?;
    stage.exec("a", rule)?;
    Ok(stage)
}

const REDIRECT: &str = "iptables -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001";

fn dial(stage: &Stage, end: End) -> Result<Report> {
    stage.trace(["node", "a", "b"], SERVER, |watch| {
        watch.dial("a", SERVER)?.ends(end)
    })
}

/// The application starts before its sidecar.
#[test]
fn sidecar_is_not_there() -> Result<()> {
    dial(&redirected(REDIRECT)?, End::Refused)?
        .outcome("refused")?
        .verdict(
            &ExpectedVerdict::new("socket", "confirmed")
                .why("15001")
                .evidence(SERVER),
        )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    let stage = redirected(REDIRECT)?;
    stage.serve("a", "127.0.0.1:15001")?;
    dial(&stage, End::Answered)?.silent().map(drop)
}

/// DNAT to an own address instead of a redirection.
#[test]
fn healthy_by_dnat() -> Result<()> {
    let stage = redirected(
        "iptables -t nat -A OUTPUT -p tcp -d 10.20.2.3 -j DNAT --to-destination 10.20.1.2:15001",
    )?;
    stage.serve("a", "10.20.1.2:15001")?;
    dial(&stage, End::Answered)?.silent().map(drop)
}
