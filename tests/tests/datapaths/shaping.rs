//! Queues and rate limits.

use anyhow::Result;
use whydrop_tests::{expected::ExpectedVerdict, incident::Stage};

use super::stage::{ALL, SERVER, dial, is_healthy, routed, skipped};

/// The router with a setting of tc(8); `None` on a kernel without.
fn shaped(commands: &[&str], what: &str) -> Result<Option<Stage>> {
    let stage = routed()?;
    // What is lost is to be the connection's, and no question for a neighbor.
    let mac = stage.exec("server", "cat /sys/class/net/eth0/address")?;
    let mac = mac.trim();
    stage.ip(
        "node",
        &format!("neigh replace 10.20.2.2 lladdr {mac} dev server nud permanent"),
    )?;
    for command in commands {
        if stage.exec("node", command).is_err() {
            skipped(what)?;
            return Ok(None);
        }
    }
    Ok(Some(stage))
}

const NETEM: &str = "netem";

/// A test of bad networks that was left behind: nothing is full.
#[test]
fn netem_that_loses_all() -> Result<()> {
    let Some(stage) = shaped(&["tc qdisc add dev server root netem loss 100%"], NETEM)? else {
        return Ok(());
    };
    dial(&stage, &ALL, SERVER)?.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("queue", "confirmed")
            .why("netem at server loses packets on purpose")
            .evidence("loss 100.000%")
            .fix("tc qdisc del dev server root")
            .never_says(["is full"]),
    )?;
    Ok(())
}

/// One that only delays.
#[test]
fn netem_that_delays() -> Result<()> {
    match shaped(&["tc qdisc add dev server root netem delay 20ms"], NETEM)? {
        Some(stage) => is_healthy(&stage, SERVER),
        None => Ok(()),
    }
}

fn police(rate: &str) -> Result<Option<Stage>> {
    let filter =
        format!("tc filter add dev client ingress protocol ip matchall action police {rate} drop");
    shaped(&["tc qdisc add dev client clsact", &filter], "act_police")
}

/// A rate limit that passes nothing.
#[test]
fn rate_limit_of_tc() -> Result<()> {
    let Some(stage) = police("rate 8bit burst 1")? else {
        return Ok(());
    };
    dial(&stage, &ALL, SERVER)?.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("firewall", "confirmed")
            .why("a rate limit of tc (action police) dropped it at client")
            .evidence("action police")
            .fix("tc filter del dev client ingress"),
    )?;
    Ok(())
}

#[test]
fn rate_limit_with_room() -> Result<()> {
    match police("rate 1gbit burst 1m")? {
        Some(stage) => is_healthy(&stage, SERVER),
        None => Ok(()),
    }
}

#[test]
fn fair_queues() -> Result<()> {
    for kind in ["fq", "fq_codel"] {
        let Some(stage) = shaped(&[&format!("tc qdisc add dev server root {kind}")], kind)? else {
            return Ok(());
        };
        is_healthy(&stage, SERVER)?;
    }
    Ok(())
}
