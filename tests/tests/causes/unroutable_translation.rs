//! What the node sends is changed in OUTPUT, by NAT or by a mark, and what it has become cannot be
//! routed: netfilter drops it, and no rule did.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

/// A node that routes to a pod, and sends what goes to port 30080 of its own addresses there.
fn node(to: &str) -> Result<Stage> {
    let stage = Stage::new(["node", "pod"])?;
    stage.veth(("node", "v1"), ("pod", "eth0"))?;
    stage.ip("node", "addr add 10.20.1.1/24 dev v1")?;
    stage.ip(
        "pod",
        "addr add 10.20.1.2/24 dev eth0; route add default via 10.20.1.1",
    )?;
    stage.sysctl("node", "net.ipv4.ip_forward=1")?;
    stage.exec(
        "node",
        &format!(
            "iptables -t nat -A OUTPUT -p tcp --dport 30080 -m addrtype --dst-type LOCAL -j DNAT \
             --to-destination {to}
             iptables -t nat -A POSTROUTING -s 127.0.0.0/8 ! -o lo -j MASQUERADE"
        ),
    )?;
    stage.serve("pod", "10.20.1.2:8080")?;
    Ok(stage)
}

fn dial(stage: &Stage, peer: &'static str, end: End) -> Result<Report> {
    stage.trace(["node", "pod"], peer, |watch| {
        watch.dial("node", peer)?.ends(end)
    })
}

fn localhost(route_localnet: u8) -> Result<Report> {
    let stage = node("10.20.1.2:8080")?;
    let setting = format!("net.ipv4.conf.all.route_localnet={route_localnet}");
    stage.sysctl("node", &setting)?;
    let end = match route_localnet {
        0 => End::Silent,
        _ => End::Answered,
    };
    dial(&stage, "127.0.0.1:30080", end)
}

#[test]
fn node_port_by_localhost() -> Result<()> {
    let report = localhost(0)?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("route", "likely")
            .why("route_localnet is 0")
            .fix("net.ipv4.conf.all.route_localnet=1")
            .never_says(["a netfilter rule dropped it"]),
    )?;
    Ok(())
}

/// The endpoint's network has no route any more.
#[test]
fn translated_to_where_no_route_leads() -> Result<()> {
    let stage = node("10.20.7.7:8080")?;
    let report = dial(&stage, "10.20.1.1:30080", End::Silent)?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("route", "likely")
            .why("10.20.7.7")
            .why("no route")
            .never_says(["route_localnet", "a netfilter rule dropped it"]),
    )?;
    Ok(())
}

/// A mark sends the packet to a table that refuses it.
fn marked(kind: &str, end: End) -> Result<Report> {
    let stage = node("10.20.1.2:8080")?;
    stage.exec(
        "node",
        "iptables -t mangle -A OUTPUT -p tcp --dport 8080 -j MARK --set-mark 0x77",
    )?;
    stage.ip(
        "node",
        &format!("rule add fwmark 0x77 lookup 77; route add {kind} table 77"),
    )?;
    dial(&stage, "10.20.1.2:8080", end)
}

#[test]
fn mark_leads_to_a_table_that_refuses() -> Result<()> {
    let report = marked("prohibit 10.20.1.0/24", End::Silent)?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("route", "likely")
            .why("the mark 0x77")
            .why("prohibit")
            .never_says(["a netfilter rule dropped it"]),
    )?;
    Ok(())
}

/// The mark is for a policy rule, which refuses the packet itself.
fn marked_for_a_rule(mark: &str, end: End) -> Result<Report> {
    let stage = node("10.20.1.2:8080")?;
    stage.exec(
        "node",
        "iptables -t mangle -A OUTPUT -p tcp --dport 8080 -j MARK --set-mark 0x77",
    )?;
    stage.ip("node", &format!("rule add fwmark {mark} prohibit pref 40"))?;
    dial(&stage, "10.20.1.2:8080", end)
}

#[test]
fn mark_is_for_a_rule_that_refuses() -> Result<()> {
    let report = marked_for_a_rule("0x77", End::Silent)?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("route", "likely")
            .why("the mark 0x77")
            .evidence("the policy rule `40: from all fwmark 0x77 prohibit` refuses it")
            .fix("ip rule del pref 40 from all fwmark 0x77 prohibit")
            .never_says(["a netfilter rule dropped it"]),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    localhost(1)?.silent()?;
    marked_for_a_rule("0x78", End::Answered)?.silent()?;
    marked("10.20.1.0/24 dev v1 src 10.20.1.1", End::Answered)?
        .silent()
        .map(drop)
}
