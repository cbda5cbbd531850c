//! The answer takes another way than the question (kubernetes/kubernetes#94861,
//! tailscale/tailscale#1164): what this node drops later, or sends elsewhere, decides the attempt.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{Report, Stage},
};

const SERVER: &str = "10.20.2.3:8080";

/// [`Stage::routed_pods`] with a second link between the server and the client, past the node.
fn bypassed_pods() -> Result<Stage> {
    let stage = Stage::routed_pods()?;
    stage.veth(("a", "eth1"), ("b", "eth1"))?;
    stage.ip("a", "addr add 10.20.3.2/24 dev eth1")?;
    stage.ip("b", "addr add 10.20.3.3/24 dev eth1")?;
    for role in ["a", "b"] {
        stage.sysctl(
            role,
            "net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth1.rp_filter=0",
        )?;
    }
    Ok(stage)
}

fn dial(stage: &Stage) -> Result<Report> {
    stage.serve("b", SERVER)?;
    stage.trace(["node"], SERVER, |watch| watch.dial("a", SERVER))
}

/// The node sees no SYN-ACK, so that conntrack calls what follows invalid.
fn invalid(way_back: &str) -> Result<Report> {
    let stage = bypassed_pods()?;
    stage.ip("b", way_back)?;
    stage.exec(
        "node",
        "iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP",
    )?;
    dial(&stage)
}

#[test]
fn segments_behind_an_unseen_answer_are_invalid() -> Result<()> {
    let report = invalid("route add 10.20.1.2 via 10.20.3.2 dev eth1")?;
    let expected = ExpectedVerdict::any_of(["conntrack"]).names("INVALID");
    report.outcome("unanswered")?.verdict(&expected)?;
    Ok(())
}

#[test]
fn segments_behind_an_unseen_answer_are_let_through() -> Result<()> {
    invalid("route replace 10.20.1.2 via 10.20.2.1 dev eth0")?
        .silent()
        .map(drop)
}

/// SYN-ACKs that come back to the node are dropped there. The client sends its SYN again, and the
/// server frees the copy.
#[test]
fn the_answer_is_dropped_and_the_syn_comes_again() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.exec(
        "node",
        "iptables -A FORWARD -i vb -p tcp --tcp-flags SYN,ACK SYN,ACK -j DROP",
    )?;
    stage.serve("b", SERVER)?;
    let report = stage.trace(["node", "b"], SERVER, |watch| watch.dial("a", SERVER))?;
    let expected = ExpectedVerdict::any_of(["firewall"]).names("FORWARD");
    report.outcome("unanswered")?.verdict(&expected)?;
    Ok(())
}

/// A policy rule sends the server's answers out through another interface than the SYN comes in through.
fn hijacked(leads_to: &'static str) -> Result<Report> {
    let mut stage = Stage::routed_pods()?;
    stage.add("elsewhere")?;
    stage.veth((leads_to, "eth1"), ("b", "eth1"))?;
    stage.ip(leads_to, "addr add 10.20.3.2/24 dev eth1")?;
    stage.ip("b", "addr add 10.20.3.3/24 dev eth1")?;
    stage.ip(
        "b",
        "route add 10.20.1.0/24 via 10.20.3.2 dev eth1 table 52
         rule add pref 5270 to 10.20.1.0/24 lookup 52",
    )?;
    stage.serve("b", SERVER)?;
    stage.trace(["b"], SERVER, |watch| watch.dial("a", SERVER))
}

#[test]
fn the_answer_leaves_to_elsewhere() -> Result<()> {
    let report = hijacked("elsewhere")?;
    let expected = ExpectedVerdict::any_of(["route", "off-node"])
        .names("eth1")
        .evidence("`5270: from all to 10.20.1.0/24 lookup 52`")
        .evidence("dev eth1 table 52")
        .fix("ip rule add pref 5269 to 10.20.1.2 lookup main");
    report.outcome("unanswered")?.verdict(&expected)?;
    Ok(())
}

#[test]
fn the_answer_leaves_to_the_client_by_another_interface() -> Result<()> {
    hijacked("a")?.silent().map(drop)
}
