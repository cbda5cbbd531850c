//! "No route to host" though the neighbor is there: a rule or a filter drops the question for its MAC
//! address, or the answer (moby/moby#45460, cilium/cilium#26472). It is to blame for the connection,
//! too.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
    record::Fix,
};

const SERVER: &str = "[fd20:1::3]:8080";

/// Two pods at a bridge that shows IPv6 to ip6tables.
fn bridged_pods() -> Result<Stage> {
    let stage = Stage::with_ipv6(["a", "b", "node"])?;
    stage.bridge([("a", "va", "fd20:1::2/64"), ("b", "vb", "fd20:1::3/64")])?;
    stage.exec("node", "sysctl -qw net.bridge.bridge-nf-call-ip6tables=1")?;
    stage.serve("b", SERVER)?;
    Ok(stage)
}

fn trace(stage: &Stage, end: End) -> Result<Report> {
    stage.trace(["node", "a", "b"], SERVER, |watch| {
        watch.dial("a", SERVER)?.ends(end)
    })
}

const ISOLATION: &str = "ip6tables -N DOCKER-ISOLATION-STAGE-1
    ip6tables -A FORWARD -j DOCKER-ISOLATION-STAGE-1
    ip6tables -A DOCKER-ISOLATION-STAGE-1 ! -d fd20:1::/64 -i br0 -j DROP";
const DISCOVERY: &str = "ip6tables -A FORWARD -p ipv6-icmp -j ACCEPT";

#[test]
fn a_rule_drops_the_solicitation() -> Result<()> {
    let stage = bridged_pods()?;
    stage.exec("node", ISOLATION)?;
    let report = trace(&stage, End::Failed(libc::EHOSTUNREACH))?;
    let expected = ExpectedVerdict::any_of(["firewall"])
        .at_least("likely")
        .why("Neighbor Solicitation for fd20:1::3");
    report.outcome("unanswered")?.verdict(&expected)?;
    // The solicitation itself is no packet of one container to another.
    let solicitations = report
        .trace()
        .drops()
        .filter(|drop| drop.flow.sport.is_none());
    let fixes = solicitations.flat_map(|drop| drop.verdict.fix.iter().map(Fix::text));
    let fixes: BTreeSet<_> = fixes.collect();
    let discovery = "accept ICMPv6 types 135 and 136 (neighbor discovery) in front of that rule";
    ensure!(
        fixes.iter().all(|fix| fix.contains(discovery)),
        "{fixes:#?}"
    );
    Ok(())
}

#[test]
fn neighbor_discovery_is_accepted_first() -> Result<()> {
    let stage = bridged_pods()?;
    stage.exec("node", &format!("{DISCOVERY}\n{ISOLATION}"))?;
    trace(&stage, End::Answered)?.silent().map(drop)
}

#[test]
fn a_rule_of_the_neighbor_drops_its_own_answer() -> Result<()> {
    let stage = bridged_pods()?;
    stage.exec(
        "b",
        "ip6tables -A OUTPUT -p ipv6-icmp --icmpv6-type neighbour-advertisement -j DROP",
    )?;
    let report = trace(&stage, End::Failed(libc::EHOSTUNREACH))?;
    let expected = ExpectedVerdict::any_of(["firewall"])
        .at_least("likely")
        .why("the answer to the Neighbor Solicitation for fd20:1::3");
    report.outcome("unanswered")?.verdict(&expected)?;
    Ok(())
}

/// A program at the node's end of a pod's link, which sees ARP only; `verdict` is what it returns.
fn filtered(verdict: u32, end: End) -> Result<Report> {
    let stage = Stage::routed_pods()?;
    stage.exec(
        "node",
        &format!(
            "tc qdisc add dev va clsact
             tc filter add dev va ingress protocol arp bpf direct-action \
                bytecode '1,6 0 0 {verdict}'"
        ),
    )?;
    stage.serve("b", "10.20.2.3:8080")?;
    stage.trace(["node", "a"], "10.20.2.3:8080", |watch| {
        watch.dial("a", "10.20.2.3:8080")?.ends(end)
    })
}

/// `TC_ACT_SHOT` and `TC_ACT_UNSPEC` of the kernel's UAPI.
const SHOT: u32 = 2;
const UNSPEC: u32 = u32::MAX;

#[test]
fn a_program_drops_the_arp_request() -> Result<()> {
    let report = filtered(SHOT, End::Failed(libc::EHOSTUNREACH))?;
    let expected = ExpectedVerdict::any_of(["firewall"])
        .at_least("likely")
        .names("va");
    report.outcome("unanswered")?.verdict(&expected)?;
    Ok(())
}

#[test]
fn a_program_lets_the_arp_request_pass() -> Result<()> {
    filtered(UNSPEC, End::Answered)?.silent().map(drop)
}
