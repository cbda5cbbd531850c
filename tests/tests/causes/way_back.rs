//! A connection arrives, and its answer cannot come back: the kernel makes none, or it is lost in a
//! namespace that is not watched. No packet of the connection itself is dropped in sight.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const SERVER: &str = "10.20.2.3:8080";
const NODE_PORT: &str = "10.20.1.1:30080";

fn stage() -> Result<Stage> {
    let stage = Stage::routed_pods()?;
    stage.serve("b", "0.0.0.0:8080")?;
    Ok(stage)
}

fn dial<const N: usize>(
    stage: &Stage,
    watched: [&'static str; N],
    server: &str,
    end: End,
) -> Result<Report> {
    stage.trace(watched, server, |watch| {
        watch.dial("a", server)?.ends(end).map(drop)
    })
}

fn lost(point: &'static str) -> ExpectedVerdict {
    ExpectedVerdict::new(point, "likely")
        .why("no answer comes back")
        .never_says(["security group"])
}

/// The kernel answers no SYN that it has no way back for, and frees no packet for it.
#[test]
fn destination_has_no_route_back() -> Result<()> {
    let stage = stage()?;
    stage.ip("b", "route del default")?;
    for watched in [["b", "a"], ["node", "a"], ["node", "b"]] {
        let report = dial(&stage, watched, SERVER, End::Silent)?;
        report.outcome("unanswered")?.verdict(
            &lost("route")
                .why("10.20.1.2: no route")
                .names(stage.name("b")),
        )?;
    }
    Ok(())
}

/// A policy rule refuses what would go back.
#[test]
fn policy_rule_refuses_the_answer() -> Result<()> {
    let stage = stage()?;
    stage.sysctl(
        "b",
        "net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0",
    )?;
    stage.ip("b", "rule add to 10.20.1.0/24 dport 1 prohibit pref 40")?;
    dial(&stage, ["node", "b"], SERVER, End::Answered)?.silent()?;
    stage.ip("b", "rule add to 10.20.1.0/24 prohibit pref 50")?;
    let report = dial(&stage, ["node", "b"], SERVER, End::Silent)?;
    report.outcome("unanswered")?.verdict(
        &lost("route")
            .why("`50: from all to 10.20.1.0/24 prohibit`")
            .names(stage.name("b"))
            .fix("ip rule del pref 50"),
    )?;
    Ok(())
}

/// The answer has the question's mark, by which it has a route.
#[test]
fn answer_is_routed_by_its_mark() -> Result<()> {
    let mut stage = stage()?;
    stage.add("elsewhere")?;
    stage.veth(("elsewhere", "eth1"), ("b", "eth1"))?;
    stage.ip("elsewhere", "addr add 10.20.3.2/24 dev eth1")?;
    // It takes the answer, and does not say that it has no route for it.
    stage.sysctl("elsewhere", "net.ipv4.ip_forward=0")?;
    stage.ip(
        "b",
        "addr add 10.20.3.3/24 dev eth1; route del default; route add default via 10.20.3.2 table \
         52; rule add fwmark 7 lookup 52 pref 40",
    )?;
    stage.sysctl(
        "b",
        "net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0 net.ipv4.tcp_fwmark_accept=1",
    )?;
    let trace = || dial(&stage, ["node"], SERVER, End::Silent);
    let report = trace()?;
    let unmarked = report.outcome("unanswered")?;
    unmarked.verdict(&lost("route").why("10.20.1.2: no route"))?;
    stage.exec("b", "iptables -t mangle -A PREROUTING -j MARK --set-mark 7")?;
    trace()?.outcome("unanswered")?.verdict(
        &ExpectedVerdict::any_of(["route", "off-node", "endpoint", "unknown"])
            .never_says(["10.20.1.2: no route"]),
    )?;
    Ok(())
}

/// Only the node is watched: what a pod's own rule drops is not seen.
#[test]
fn destination_drops_its_own_answer() -> Result<()> {
    let stage = stage()?;
    stage.exec(
        "b",
        "nft add table ip own; nft add chain ip own out '{ type filter hook output priority 0; }'; \
         nft add rule ip own out tcp sport 8080 drop",
    )?;
    let report = dial(&stage, ["node"], SERVER, End::Silent)?;
    report
        .outcome("unanswered")?
        .verdict(&lost("firewall").why("tcp sport 8080 drop"))?;
    Ok(())
}

/// The answer takes another way to the client than by the node that has translated the question.
#[test]
fn answer_leaves_by_another_router() -> Result<()> {
    let mut stage = stage()?;
    stage.exec(
        "node",
        "iptables -t nat -A PREROUTING -p tcp --dport 30080 -j DNAT --to-destination 10.20.2.3:8080",
    )?;
    dial(&stage, ["node"], NODE_PORT, End::Answered)?.silent()?;
    stage.add("other")?;
    stage.veth(("b", "eth1"), ("other", "ob"))?;
    stage.veth(("other", "oa"), ("a", "eth1"))?;
    stage.ip(
        "b",
        "addr add 10.20.3.3/24 dev eth1; route replace default via 10.20.3.1",
    )?;
    stage.ip(
        "other",
        "addr add 10.20.3.1/24 dev ob; addr add 10.20.4.1/24 dev oa; route add 10.20.1.0/24 via \
         10.20.4.2",
    )?;
    stage.ip("a", "addr add 10.20.4.2/24 dev eth1")?;
    stage.sysctl("other", "net.ipv4.ip_forward=1")?;
    stage.sysctl("a", "net.ipv4.conf.all.rp_filter=0")?;
    let report = dial(&stage, ["node"], NODE_PORT, End::Silent)?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("conntrack", "likely")
            .why("not translated back")
            .why("eth1")
            .fix("masquerade"),
    )?;
    Ok(())
}

/// A rule exempts the answers from tracking, so that they do not become what the client waits for.
#[test]
fn answer_is_not_tracked() -> Result<()> {
    let stage = stage()?;
    stage.exec(
        "node",
        "iptables -t nat -A PREROUTING -p tcp --dport 30080 -j DNAT --to-destination \
         10.20.2.3:8080; iptables -t nat -A POSTROUTING -d 10.20.2.3 -j MASQUERADE",
    )?;
    dial(&stage, ["node"], NODE_PORT, End::Answered)?.silent()?;
    stage.exec(
        "node",
        "iptables -t raw -A PREROUTING -p tcp --sport 8080 -j CT --notrack",
    )?;
    let report = dial(&stage, ["node"], NODE_PORT, End::Silent)?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("conntrack", "likely")
            .why("10.20.2.3:8080 answers 10.20.1.2")
            .why("notrack")
            .fix("notrack"),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    dial(&stage()?, ["node", "b"], SERVER, End::Answered)?
        .silent()
        .map(drop)
}
