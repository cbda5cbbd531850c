//! Nodes that answer for their pods' gateway by entries of `ip neigh add proxy`, and answers that a
//! configured neighbor entry sends elsewhere.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const SERVER: &str = "[fd20:2::3]:8080";
const POD: &str = "fd20:1::2";

/// A pod with a gateway that no link has; the node forwards between it and `b`.
fn stage() -> Result<Stage> {
    let stage = Stage::with_ipv6(["a", "node", "b"])?;
    stage.veth(("a", "eth0"), ("node", "va"))?;
    stage.veth(("b", "eth0"), ("node", "vb"))?;
    let up = "link set eth0 up; addr add";
    stage.ip(
        "a",
        &format!(
            "{up} {POD}/128 dev eth0 nodad; route add fd69::1 dev eth0; \
             route add default via fd69::1 dev eth0"
        ),
    )?;
    stage.ip(
        "b",
        &format!("{up} fd20:2::3/64 dev eth0 nodad; route add default via fd20:2::1"),
    )?;
    stage.ip(
        "node",
        &format!(
            "link set va up; link set vb up; route add {POD} dev va; \
             addr add fd20:2::1/64 dev vb nodad"
        ),
    )?;
    stage.sysctl(
        "node",
        "net.ipv6.conf.all.forwarding=1 net.ipv6.conf.va.proxy_ndp=1",
    )?;
    stage.serve("b", "[::]:8080")?;
    Ok(stage)
}

fn dial(stage: &Stage, end: End) -> Result<Report> {
    stage.trace(["node", "b"], SERVER, |watch| {
        watch.dial("a", SERVER)?.ends(end).map(drop)
    })
}

/// Traced at the pod, whose SYN waits for the gateway.
fn dial_at_pod(stage: &Stage, end: End) -> Result<Report> {
    stage.trace(["a"], SERVER, |watch| {
        watch.dial("a", SERVER)?.ends(end).map(drop)
    })
}

#[test]
fn the_gateway_is_answered_for() -> Result<()> {
    let stage = stage()?;
    stage.ip("node", "neigh add proxy fd69::1 dev va")?;
    dial(&stage, End::Answered)?.silent()?;
    dial_at_pod(&stage, End::Answered)?.silent()?;
    Ok(())
}

/// The setting alone answers for no address: each one needs an entry.
#[test]
fn no_entry_for_the_gateway() -> Result<()> {
    let stage = stage()?;
    let report = dial_at_pod(&stage, End::Failed(libc::EHOSTUNREACH))?;
    report.unanswered()?.verdict(
        &ExpectedVerdict::any_of(["endpoint", "route"])
            .why("fd69::1")
            .never_says(["answers for others"]),
    )?;
    Ok(())
}

/// An Advertisement is an IPv6 packet: it goes where the node's own entry for the pod says.
#[test]
fn answers_go_to_another_mac_address() -> Result<()> {
    let stage = stage()?;
    stage.ip("node", "neigh add proxy fd69::1 dev va")?;
    let mac = stage.mac("a")?;
    let entry = |mac: &str| format!("neigh replace {POD} lladdr {mac} dev va nud permanent");
    stage.ip("node", &entry(&mac))?;
    dial_at_pod(&stage, End::Answered)?.silent()?;
    stage.ip("a", "neigh flush dev eth0")?;
    stage.ip("node", &entry("02:de:ad:be:ef:01"))?;
    let report = dial_at_pod(&stage, End::Failed(libc::EHOSTUNREACH))?;
    report.unanswered()?.verdict(
        &ExpectedVerdict::new("endpoint", "likely")
            .why("02:de:ad:be:ef:01")
            .why(POD)
            .fix("ip neighbor del fd20:1::2 dev va"),
    )?;
    Ok(())
}

/// The node forwards by an interface that has no address of its own to ask from.
#[test]
fn node_has_no_link_local_address() -> Result<()> {
    let stage = stage()?;
    stage.ip(
        "node",
        "neigh add proxy fd69::1 dev va; link set vb addrgenmode none; addr flush dev vb; \
         route add fd20:2::/64 dev vb; addr add fe80::1/64 dev vb nodad",
    )?;
    stage.ip("b", "route replace default via fe80::1 dev eth0")?;
    dial(&stage, End::Answered)?.silent()?;
    stage.ip("node", "addr del fe80::1/64 dev vb; neigh flush dev vb")?;
    let report = dial(&stage, End::Silent)?;
    report.unanswered()?.verdict(
        &ExpectedVerdict::new("route", "likely")
            .why("vb sends no Neighbor Solicitation for fd20:2::3")
            .fix("addr_gen_mode"),
    )?;
    Ok(())
}

/// A host without ARP takes its own MAC address for that of each neighbor, and answers to itself.
#[test]
fn the_answerer_answers_itself() -> Result<()> {
    let stage = stage()?;
    stage.ip("node", "neigh add proxy fd69::1 dev va")?;
    dial(&stage, End::Answered)?.silent()?;
    stage.ip("b", "link set eth0 arp off")?;
    stage.ip("node", "neigh flush dev vb")?;
    let report = dial(&stage, End::Silent)?;
    report.unanswered()?.verdict(
        &ExpectedVerdict::any_of(["endpoint", "route"])
            .at_least("likely")
            .why("(NOARP)")
            .fix("ip link set dev eth0 arp on"),
    )?;
    Ok(())
}
