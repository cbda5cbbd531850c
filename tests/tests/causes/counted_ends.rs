//! A packet ends in a namespace that is not watched, and what the kernel counts there moves as often as
//! it is sent again: the model and what was seen agree.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const SERVER: &str = "10.20.2.3:8080";

fn stage() -> Result<Stage> {
    let stage = Stage::routed_pods()?;
    stage.serve("b", SERVER)?;
    Ok(stage)
}

/// The server's namespace is not watched.
fn dial(stage: &Stage, end: End) -> Result<Report> {
    stage.trace(["node", "a"], SERVER, |watch| {
        watch.dial("a", SERVER)?.ends(end).map(drop)
    })
}

fn confirmed(point: &'static str, counter: &'static str) -> ExpectedVerdict {
    ExpectedVerdict::any_of([point])
        .at_least("confirmed")
        .evidence(format!("sent again once, and {counter} moved by 1"))
        .never_says(["security group"])
}

#[test]
fn by_a_rule() -> Result<()> {
    let stage = stage()?;
    stage.exec("b", "iptables -A INPUT -p tcp --dport 8081 -j DROP")?;
    dial(&stage, End::Answered)?.silent()?;
    stage.exec("b", "iptables -A INPUT -p tcp --dport 8080 -j DROP")?;
    dial(&stage, End::Silent)?
        .outcome("unanswered")?
        .verdict(&confirmed("firewall", "its counter").why("--dport 8080"))?;
    Ok(())
}

#[test]
fn by_the_reverse_path_filter() -> Result<()> {
    let stage = stage()?;
    stage.exec(
        "b",
        "ip link add d0 type veth peer name d1; ip link set d1 up; ip link set d0 up; ip route add \
         10.20.1.0/24 dev d0",
    )?;
    stage.sysctl(
        "b",
        "net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=1",
    )?;
    dial(&stage, End::Silent)?
        .outcome("unanswered")?
        .verdict(&confirmed("rpfilter", "TcpExtIPReversePathFilter").why("eth0"))?;
    stage.ip("b", "route del 10.20.1.0/24 dev d0")?;
    dial(&stage, End::Answered)?.silent().map(drop)
}

/// Nothing is counted: the model alone explains the silence.
#[test]
fn a_rule_without_a_counter() -> Result<()> {
    let stage = stage()?;
    stage.exec(
        "b",
        "nft add table ip own; nft add chain ip own in '{ type filter hook input priority 0; }'
         nft add rule ip own in tcp dport 8080 drop",
    )?;
    dial(&stage, End::Silent)?
        .outcome("unanswered")?
        .verdict(&ExpectedVerdict::new("firewall", "likely").why("tcp dport 8080 drop"))?;
    Ok(())
}
