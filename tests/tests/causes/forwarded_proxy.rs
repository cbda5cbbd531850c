//! A TPROXY rule without the routing that takes its packets in on this host: systemd-networkd removes
//! policy rules and routes that it does not know (cilium/cilium#24288).

use std::io;

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const POLICY_RULE: &str = "rule add fwmark 0x200/0xf00 lookup 2004 pref 9";
const LOCAL_ROUTE: &str = "route add local 0.0.0.0/0 dev lo table 2004";
const IPTABLES: &str = "iptables -t mangle -A PREROUTING -i va -p tcp --dport 8080 -j TPROXY --on-ip \
                        127.0.0.1 --on-port 15001";
const MARKED: &str = "--tproxy-mark 0x200/0xffffffff";

/// A node with a transparent proxy, and this routing.
fn proxied(routing: &str, rule: &str) -> Result<Stage> {
    let stage = Stage::routed_pods()?;
    stage.ip("node", routing)?;
    stage.exec("node", rule)?;
    stage.serve("b", "10.20.2.3:8080")?;
    let transparent = |socket: &socket2::Socket| socket.set_ip_transparent_v4(true);
    stage.serve_with("node", "127.0.0.1:15001", transparent, |mut connection| {
        // The client may be gone by now.
        let _ = io::copy(
            &mut connection.try_clone().expect("a socket"),
            &mut connection,
        );
    })?;
    Ok(stage)
}

fn dial(stage: &Stage, end: End) -> Result<Report> {
    stage.trace(["node", "a", "b"], "10.20.2.3:8080", |watch| {
        watch.dial("a", "10.20.2.3:8080")?.ends(end)
    })
}

fn forwarded(stage: &Stage, why: &'static str, fix: &'static str) -> Result<()> {
    dial(stage, End::Silent)?.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("route", "likely")
            .why("127.0.0.1:15001")
            .why(why)
            .fix(fix),
    )?;
    Ok(())
}

#[test]
fn policy_rule_is_gone() -> Result<()> {
    let stage = proxied(LOCAL_ROUTE, &format!("{IPTABLES} {MARKED}"))?;
    let why = "no policy rule takes in what has the mark 0x200";
    forwarded(&stage, why, "ip rule add fwmark 0x200")
}

#[test]
fn local_route_is_gone() -> Result<()> {
    let stage = proxied(POLICY_RULE, &format!("{IPTABLES} {MARKED}"))?;
    let why = "leads to a table without a local route";
    forwarded(&stage, why, "ip route add local default dev lo table 2004")
}

#[test]
fn rule_sets_no_mark() -> Result<()> {
    let stage = proxied(&format!("{POLICY_RULE}; {LOCAL_ROUTE}"), IPTABLES)?;
    forwarded(&stage, "it has no mark", "--tproxy-mark")
}

#[test]
fn healthy() -> Result<()> {
    let stage = proxied(
        &format!("{POLICY_RULE}; {LOCAL_ROUTE}"),
        &format!("{IPTABLES} {MARKED}"),
    )?;
    dial(&stage, End::Answered)?.silent().map(drop)
}
