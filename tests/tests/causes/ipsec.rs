//! IPsec policies without the security association that they ask for, or that the other end knows nothing
//! of (cilium/cilium#17022, cilium/cilium#37552).

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const SERVER: &str = "10.20.2.3:8080";

fn trace(role: &'static str, policies: &str, end: End) -> Result<Report> {
    let stage = Stage::routed_pods()?;
    stage.exec(role, policies)?;
    stage.serve("b", SERVER)?;
    stage.trace(["node", "a", "b"], SERVER, |watch| {
        watch.dial("a", SERVER)?.ends(end)
    })
}

fn missing(confidence: &'static str) -> ExpectedVerdict {
    ExpectedVerdict::new("firewall", confidence)
        .why("wants it sent in ESP, and there is no security association (SA)")
        .evidence("XfrmOutNoStates is")
        .evidence("there is no SA in this network namespace")
        .fix("IKE daemon")
}

#[test]
fn forwarded_packet_lacks_an_association() -> Result<()> {
    let policies = "ip xfrm policy add src 10.20.1.0/24 dst 10.20.2.0/24 dir out \
                    tmpl src 10.20.2.1 dst 10.20.2.3 proto esp mode tunnel";
    trace("node", policies, End::Silent)?
        .outcome("unanswered")?
        .verdict(&missing("confirmed").why("src 10.20.1.0/24 dst 10.20.2.0/24 dir out"))?;
    Ok(())
}

/// The kernel gives what is sent here a route that discards it, and no reason: no route says so.
#[test]
fn own_packet_lacks_an_association() -> Result<()> {
    let policies = "ip xfrm policy add src 10.20.1.2/32 dst 10.20.2.3/32 dir out tmpl proto esp \
                    mode transport";
    trace("a", policies, End::Silent)?
        .outcome("unanswered")?
        .verdict(&missing("likely").never_says(["blackhole"]))?;
    Ok(())
}

#[test]
fn packet_comes_in_without_encryption() -> Result<()> {
    let policies = "ip xfrm policy add src 10.20.1.0/24 dst 10.20.2.3/32 dir in tmpl proto esp \
                    mode transport level required";
    trace("b", policies, End::Silent)?
        .outcome("unanswered")?
        .verdict(
            &ExpectedVerdict::new("firewall", "confirmed")
                .why("it came in without ESP")
                .why("dir in")
                .evidence("XfrmInTmplMismatch is")
                .fix("let the sender encrypt it"),
        )?;
    Ok(())
}

#[test]
fn policy_blocks() -> Result<()> {
    let policies = "ip xfrm policy add dst 10.20.2.0/24 dir out action block priority 100";
    trace("node", policies, End::Silent)?
        .outcome("unanswered")?
        .verdict(
            &ExpectedVerdict::new("firewall", "confirmed")
                .why("an IPsec policy blocks it")
                .evidence("XfrmOutPolBlock is")
                .fix("let the program that made the policy remove it"),
        )?;
    Ok(())
}

/// No policy fits, and what none fits is blocked.
#[test]
fn default_blocks() -> Result<()> {
    trace("node", "ip xfrm policy setdefault fwd block", End::Silent)?
        .outcome("unanswered")?
        .verdict(
            &ExpectedVerdict::new("firewall", "confirmed")
                .why("no IPsec policy fits it")
                .why("the default is to block"),
        )?;
    Ok(())
}

/// A route that discards, beside a policy for something else.
#[test]
fn blackhole_beside_a_policy() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.exec(
        "node",
        "ip xfrm policy add dst 192.0.2.0/24 dir out action block
         ip route add blackhole 10.20.2.3/32",
    )?;
    stage.serve("b", SERVER)?;
    stage
        .trace(["node", "a", "b"], SERVER, |watch| {
            watch.dial("a", SERVER)?.ends(End::Silent)
        })?
        .verdict(
            &ExpectedVerdict::new("route", "confirmed")
                .why("blackhole")
                .fix("ip route del blackhole")
                .never_says(["IPsec"]),
        )?;
    Ok(())
}

/// Policies for other traffic, of all directions, and one that allows what an earlier one would block.
#[test]
fn healthy() -> Result<()> {
    let policies =
        "ip xfrm policy add src 192.0.2.0/24 dst 10.20.2.0/24 dir out tmpl src 10.20.2.1 \
                    dst 10.20.2.3 proto esp mode tunnel
                    ip xfrm policy add dst 10.20.2.0/24 dir out action block priority 100
                    ip xfrm policy add src 10.20.1.0/24 dst 10.20.2.0/24 dir out priority 50";
    trace("node", policies, End::Answered)?.silent().map(drop)
}
