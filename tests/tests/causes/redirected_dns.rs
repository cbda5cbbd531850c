//! A rule leads DNS to a resolver at another port: Istio's agent at 15053, or the one that Docker has in each
//! container (istio/istio#29639, moby/libnetwork#1938).

use std::net::UdpSocket;

use anyhow::{Result, ensure};
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const SERVER: &str = "10.20.2.3:53";

/// What goes to port 53 goes to the pod's own port 15053 instead.
fn captured() -> Result<Stage> {
    let stage = Stage::routed_pods()?;
    stage.exec(
        "a",
        "iptables -t nat -A OUTPUT -p udp --dport 53 -j REDIRECT --to-ports 15053",
    )?;
    Ok(stage)
}

fn ask(stage: &Stage, roles: &[&'static str], server: &str, end: End) -> Result<Report> {
    let report = stage.trace(
        roles.iter().copied(),
        &format!("{server} --proto udp"),
        |watch| watch.ask("a", server)?.ends(end),
    )?;
    ensure!(!report.attempts().is_empty(), "no attempt\n{report}");
    Ok(report)
}

#[test]
fn resolver_is_not_there() -> Result<()> {
    ask(&captured()?, &["a"], SERVER, End::Refused)?.verdict(
        &ExpectedVerdict::new("socket", "confirmed")
            .why("no socket listens on udp port 15053")
            .evidence("it was for 10.20.2.3:53: a rule of the namespace that sent it"),
    )?;
    Ok(())
}

#[test]
fn resolver_does_not_read() -> Result<()> {
    let stage = captured()?;
    let socket = stage.enter("a", || UdpSocket::bind("127.0.0.1:15053"))?;
    ask(&stage, &["a"], SERVER, End::Silent)?
        .outcome("unanswered")?
        .verdict(
            &ExpectedVerdict::new("socket", "likely")
                .why("udp port 15053")
                .evidence("has led it to 127.0.0.1:15053")
                .fix("restart it if it hangs"),
        )?;
    drop(socket);
    Ok(())
}

/// The resolver is on another host, at another port, and a rule there drops the query.
#[test]
fn query_is_dropped_at_another_port() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.exec(
        "a",
        "iptables -t nat -A OUTPUT -d 10.20.8.8 -p udp --dport 53 -j DNAT --to-destination 10.20.2.3:5300",
    )?;
    stage.exec("b", "iptables -A INPUT -p udp --dport 5300 -j DROP")?;
    ask(&stage, &["a", "node", "b"], "10.20.8.8:53", End::Silent)?
        .outcome("unanswered")?
        .verdict(
            &ExpectedVerdict::new("firewall", "confirmed")
                .why("rule 1 of chain INPUT")
                .fix("-I INPUT 1"),
        )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    let stage = captured()?;
    stage.serve_dns("a", "127.0.0.1:15053")?;
    ask(&stage, &["a"], SERVER, End::Answered)?
        .silent()
        .map(drop)
}

#[test]
fn healthy_at_another_port() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.exec(
        "a",
        "iptables -t nat -A OUTPUT -d 10.20.8.8 -p udp --dport 53 -j DNAT --to-destination 10.20.2.3:5300",
    )?;
    stage.serve_dns("b", "10.20.2.3:5300")?;
    ask(&stage, &["a", "node", "b"], "10.20.8.8:53", End::Answered)?
        .silent()
        .map(drop)
}
