//! Connections are tracked in zones: the entry that a packet follows is that of its own zone.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

use super::dns_service::{self, PORT, SERVICE, make_entry, translate_to};

/// All that passes the node's pods is in zone 7.
const BY_IPTABLES: &str = "iptables -t raw -A PREROUTING -i va -j CT --zone 7
     iptables -t raw -A PREROUTING -i vb -j CT --zone 7";
const BY_NFT: &str = "nft add table ip zones
     nft add chain ip zones pre '{ type filter hook prerouting priority raw; }'
     nft add rule ip zones pre iifname '{ va, vb }' ct zone set 7";
const BY_MARK: &str = "iptables -t raw -A PREROUTING -j CT --zone mark";

/// Its rules lead to an address that no host has, off this node.
fn stage() -> Result<Stage> {
    let stage = dns_service::stage()?;
    translate_to(&stage, "-A PREROUTING", "10.20.96.77:53")?;
    Ok(stage)
}

/// The client's first datagram makes the entry; then the rules lead to a pod.
fn make_stale_entry(stage: &Stage) -> Result<()> {
    make_entry(stage)?;
    translate_to(stage, "-R PREROUTING 1", "10.20.2.3:53")
}

fn ask(stage: &Stage, end: End) -> Result<Report> {
    stage.trace(["node", "a"], SERVICE, |watch| {
        watch.ask_from("a", PORT, SERVICE)?.ends(end)
    })
}

/// An entry of the packet's own zone leads it astray, and the fix removes that one only.
fn stale_in_zone(zones: &str) -> Result<()> {
    let stage = stage()?;
    stage.exec("node", zones)?;
    make_stale_entry(&stage)?;
    ask(&stage, End::Silent)?.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("conntrack", "likely")
            .why("still translates 10.20.96.53:53 to 10.20.96.77:53")
            .evidence("zone 7")
            .fix("--orig-port-dst 53 -w 7"),
    )?;
    stage.exec("node", "conntrack -D -p udp --orig-dst 10.20.96.53 -w 7")?;
    ask(&stage, End::Answered)?.silent().map(drop)
}

#[test]
fn stale_entry_in_a_zone_of_iptables() -> Result<()> {
    stale_in_zone(BY_IPTABLES)
}

#[test]
fn stale_entry_in_a_zone_of_nft() -> Result<()> {
    stale_in_zone(BY_NFT)
}

/// A stale entry outside of the packet's zone leads nothing astray: the pod itself drops the query.
fn stale_outside(zones: &str) -> Result<Report> {
    let stage = stage()?;
    make_stale_entry(&stage)?;
    stage.exec("node", zones)?;
    ask(&stage, End::Answered)?.silent()?;
    stage.exec(
        "node",
        "conntrack -D -p udp --orig-dst 10.20.96.53 -w 7 || true",
    )?;
    stage.exec("b", "iptables -A INPUT -p udp --dport 53 -j DROP")?;
    ask(&stage, End::Silent)
}

#[test]
fn stale_entry_of_another_zone() -> Result<()> {
    stale_outside(BY_IPTABLES)?.outcome("unanswered")?.verdict(
        &ExpectedVerdict::any_of(["firewall"])
            .why("INPUT")
            .never_says(["the conntrack entry"]),
    )?;
    Ok(())
}

/// Which zone a mark chooses is not known.
#[test]
fn zone_by_mark() -> Result<()> {
    let stage = stage()?;
    make_stale_entry(&stage)?;
    stage.exec("node", "iptables -t raw -A PREROUTING -j MARK --set-mark 7")?;
    stage.exec("node", BY_MARK)?;
    ask(&stage, End::Answered)?.silent()?;
    stage.exec("b", "iptables -A INPUT -p udp --dport 53 -j DROP")?;
    ask(&stage, End::Silent)?.outcome("unanswered")?.verdict(
        &ExpectedVerdict::any_of(["unknown", "firewall", "off-node"])
            .never_says(["the conntrack entry", "no rule translates"]),
    )?;
    Ok(())
}
