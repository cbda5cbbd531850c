//! Rules that exempt packets from tracking are left behind, as by NodeLocal DNSCache: NAT does not
//! translate the Service's address any more, and the packet goes on to the default route.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Stage},
};

const SERVICE: &str = "10.96.0.10:53";

/// A node that translates a Service's address, and has a way out.
fn stage() -> Result<Stage> {
    let mut stage = Stage::routed_pods()?;
    stage.add("gw")?;
    stage.veth(("gw", "eth0"), ("node", "up"))?;
    stage.ip(
        "gw",
        "addr add 10.20.9.2/24 dev eth0; route add blackhole 10.96.0.0/16",
    )?;
    stage.ip(
        "node",
        "addr add 10.20.9.1/24 dev up; route add default via 10.20.9.2",
    )?;
    stage.sysctl("gw", "net.ipv4.ip_forward=1")?;
    let dnat = "-d 10.96.0.10/32 --dport 53 -j DNAT --to-destination 10.20.2.3:8080";
    stage.exec(
        "node",
        &format!(
            "iptables -t nat -A PREROUTING -p tcp {dnat}; iptables -t nat -A PREROUTING -p udp {dnat}"
        ),
    )?;
    stage.serve("b", "0.0.0.0:8080")?;
    stage.serve_dns("b", "0.0.0.0:8080")?;
    Ok(stage)
}

fn exempted() -> ExpectedVerdict {
    ExpectedVerdict::new("conntrack", "likely")
        .why("in table raw")
        .why("exempts it from connection tracking")
        .evidence("10.20.2.3:8080")
        .fix("remove that rule")
        .never_says(["security group"])
}

#[test]
fn connection() -> Result<()> {
    let stage = stage()?;
    let trace = |end: End| {
        stage.trace(["node"], SERVICE, |watch| {
            watch.dial("a", SERVICE)?.ends(end).map(drop)
        })
    };
    trace(End::Answered)?.silent()?;
    // Of another port.
    let rule = "-A PREROUTING -d 10.96.0.10/32 -p tcp -m tcp --dport";
    stage.exec("node", &format!("iptables -t raw {rule} 54 -j NOTRACK"))?;
    trace(End::Answered)?.silent()?;
    stage.exec("node", &format!("iptables -t raw {rule} 53 -j NOTRACK"))?;
    let report = trace(End::Silent)?;
    report.outcome("unanswered")?.verdict(&exempted())?;
    Ok(())
}

#[test]
fn query() -> Result<()> {
    let stage = stage()?;
    let trace = |end: End| {
        stage.trace(["node"], SERVICE, |watch| {
            watch.ask("a", SERVICE)?.ends(end).map(drop)
        })
    };
    trace(End::Answered)?.silent()?;
    stage.exec(
        "node",
        "iptables -t raw -A PREROUTING -d 10.96.0.10/32 -p udp -m udp --dport 53 -j CT --notrack",
    )?;
    let report = trace(End::Silent)?;
    report.outcome("unanswered")?.verdict(&exempted())?;
    Ok(())
}

/// The rules of this Service were removed, and others are still there.
#[test]
fn no_rule_translates_it() -> Result<()> {
    let stage = stage()?;
    let dial = |end: End| {
        stage.trace(["node", "a"], SERVICE, |watch| {
            watch.dial("a", SERVICE)?.ends(end).map(drop)
        })
    };
    dial(End::Answered)?.silent()?;
    stage.exec(
        "node",
        "iptables -t nat -F PREROUTING
         iptables -t nat -A PREROUTING -p tcp -d 10.96.0.11/32 --dport 53 -j DNAT --to-destination \
            10.20.2.3:8080",
    )?;
    dial(End::Silent)?.outcome("unanswered")?.verdict(
        &ExpectedVerdict::any_of(["off-node"]).evidence("no rule translates 10.96.0.10:53"),
    )?;
    Ok(())
}
