//! Rules that see bridged frames: those of the bridge family know ports, also with br_netfilter; those
//! of IP know the bridge.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{Report, Stage},
};

const SERVER: &str = "10.20.1.3:8080";
const ROUTED: &str = "10.20.2.3:8080";

/// Two hosts at a bridge of the node, which has an address only where `c` is behind the node. Frames
/// pass iptables.
fn bridged(gateway: bool) -> Result<Stage> {
    let stage = Stage::new(["a", "b", "c", "node"])?;
    stage.bridge([("a", "va", "10.20.1.2/24"), ("b", "vb", "10.20.1.3/24")])?;
    if gateway {
        stage.veth(("c", "eth0"), ("node", "vc"))?;
        stage.ip(
            "node",
            "addr add 10.20.1.1/24 dev br0; addr add 10.20.2.1/24 dev vc",
        )?;
        stage.ip("a", "route add default via 10.20.1.1")?;
        stage.ip(
            "c",
            "addr add 10.20.2.3/24 dev eth0; route add default via 10.20.2.1",
        )?;
        stage.sysctl("node", "net.ipv4.ip_forward=1")?;
        stage.serve("c", ROUTED)?;
    }
    stage.sysctl("node", "net.bridge.bridge-nf-call-iptables=1")?;
    stage.serve("b", SERVER)?;
    Ok(stage)
}

fn trace(stage: &Stage, rules: &str, to: &str) -> Result<Report> {
    stage.exec("node", rules)?;
    stage.trace(["node"], to, |watch| watch.dial("a", to))
}

/// One rule, and nothing that is about routing.
fn rule(text: &str) -> ExpectedVerdict {
    ExpectedVerdict::new("firewall", "confirmed")
        .why(text)
        .evidence("no other rule at this hook could have dropped it")
        .never_says(["add a route", "is not routed back"])
}

/// A chain of the bridge family. The rule for the bridge itself can match no frame between ports.
fn bridge_family(input: &str) -> String {
    format!(
        "nft 'table bridge fw {{ chain forward {{ type filter hook forward priority 0;
         iifname \"br0\" drop
         iifname \"{input}\" ip daddr 10.20.1.3 tcp dport 8080 counter drop; }}; }}'"
    )
}

#[test]
fn the_port_that_a_frame_came_in_by_is_known_with_br_netfilter() -> Result<()> {
    let report = trace(&bridged(false)?, &bridge_family("va"), SERVER)?;
    report
        .outcome("unanswered")?
        .verdict(&rule("iifname \"va\"").fix("nft insert rule bridge fw forward position"))?;
    Ok(())
}

/// A whitelist: policy DROP, and each port's own rules accept (libvirt, OpenStack).
fn whitelist(mac: &str) -> String {
    format!(
        "nft 'table bridge fw {{
         chain va {{ ether saddr != {mac} ether type ip counter drop; }}
         chain forward {{ type filter hook forward priority 0; policy drop;
         ether type arp accept
         iifname \"va\" jump va
         iifname {{ \"va\", \"vb\" }} accept; }}; }}'"
    )
}

#[test]
fn a_policy_is_not_blamed_for_what_a_rule_of_a_port_dropped() -> Result<()> {
    let report = trace(&bridged(false)?, &whitelist("02:00:00:00:00:99"), SERVER)?;
    report
        .outcome("unanswered")?
        .verdict(&rule("ether saddr != 02:00:00:00:00:99").never_says(["drop policy"]))?;
    Ok(())
}

/// What the bridge hands to the node is routed, and came in through the bridge.
fn routed(input: &str) -> String {
    format!("iptables -A FORWARD -i {input} -o vc -d 10.20.2.3 -j DROP")
}

#[test]
fn a_routed_packet_comes_in_by_the_bridge() -> Result<()> {
    let report = trace(&bridged(true)?, &routed("br0"), ROUTED)?;
    report
        .outcome("unanswered")?
        .verdict(&rule("FORWARD").fix("-I FORWARD 1 "))?;
    Ok(())
}

/// At the port that a frame leaves through.
fn egress(device: &str) -> String {
    format!(
        "nft 'table netdev fw {{ chain egress {{ type filter hook egress device vb priority 0;
         oifname \"{device}\" ip daddr 10.20.1.3 counter drop; }}; }}'"
    )
}

#[test]
fn a_frame_at_the_egress_of_a_port_is_known_to_leave_by_it() -> Result<()> {
    let report = trace(&bridged(false)?, &egress("vb"), SERVER)?;
    report
        .outcome("unanswered")?
        .verdict(&rule("oifname \"vb\"").fix("nft insert rule netdev fw egress position"))?;
    Ok(())
}

/// Docker's policy on a host with virtual machines at a bridge.
fn policy(nf_call: u8) -> String {
    format!(
        "iptables -P FORWARD DROP; iptables -N DOCKER-USER; iptables -A FORWARD -j DOCKER-USER
         iptables -A DOCKER-USER -j RETURN
         sysctl -qw net.bridge.bridge-nf-call-iptables={nf_call}"
    )
}

#[test]
fn a_policy_for_routed_packets_drops_bridged_ones() -> Result<()> {
    let report = trace(&bridged(false)?, &policy(1), SERVER)?;
    report.outcome("unanswered")?.verdict(
        &rule("FORWARD")
            .evidence("a bridge only forwards it")
            .fix("net.bridge.bridge-nf-call-iptables=0"),
    )?;
    Ok(())
}

/// Answers across the bridge need conntrack where addresses are translated.
#[test]
fn the_setting_is_kept_where_addresses_are_translated() -> Result<()> {
    let nat = "iptables -t nat -A POSTROUTING -s 10.20.3.0/24 -j MASQUERADE; ";
    let report = trace(&bridged(false)?, &(nat.to_owned() + &policy(1)), SERVER)?;
    report.outcome("unanswered")?.verdict(
        &rule("FORWARD")
            .fix("-j ACCEPT")
            .never_says(["bridge-nf-call-iptables=0"]),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    trace(&bridged(false)?, &bridge_family("vx"), SERVER)?.silent()?;
    let stage = bridged(false)?;
    let mac = stage.exec("a", "cat /sys/class/net/eth0/address")?;
    trace(&stage, &whitelist(mac.trim()), SERVER)?.silent()?;
    trace(&bridged(true)?, &routed("va"), ROUTED)?.silent()?;
    trace(&bridged(false)?, &egress("vx"), SERVER)?.silent()?;
    trace(&bridged(false)?, &policy(0), SERVER)?
        .silent()
        .map(drop)
}
