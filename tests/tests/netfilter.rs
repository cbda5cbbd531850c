//! Netfilter drops, on every hook and in both dialects: the record names the hook, and the verdict
//! the rule.

use anyhow::Result;
use whydrop_tests::{
    expected::{ExpectedDrop, ExpectedVerdict},
    fault::{Chain, Iptables, nft},
    lab::{Family, Host, topology::NodeLab},
    scenario::{End, Scenario, Traffic},
};

/// Who talks to whom, so that the packet passes a hook of the node, and on which interface it is
/// there.
fn passing<'a>(lab: &'a NodeLab, hook: &str) -> (&'a Host, &'a Host, &'static str) {
    match hook {
        "PREROUTING" | "FORWARD" => (&lab.outside, &lab.pod_a, "eth0"),
        "INPUT" => (&lab.outside, &lab.node, "eth0"),
        "OUTPUT" => (&lab.node, &lab.outside, "eth0"),
        "POSTROUTING" => (&lab.outside, &lab.pod_a, "cni0"),
        other => panic!("no such hook: {other}"),
    }
}

/// The rule is known, and what would let the packet pass.
fn by(did: &'static str, rule: impl Into<String>) -> ExpectedVerdict {
    ExpectedVerdict::new("firewall", "confirmed")
        .why(did)
        .why("by rule ")
        .why(rule)
        .evidence("no other rule at this hook could have dropped it")
}

/// By the second rule of a chain of iptables': the first is for another port.
fn by_iptables(family: Family, chain: Iptables<'_>) -> ExpectedVerdict {
    rejected_by_iptables(family, chain).evidence("that rule has counted 1 packet")
}

/// The client may send its SYN again: it ignores an ICMP error while `connect` still holds the socket.
fn rejected_by_iptables(family: Family, chain: Iptables<'_>) -> ExpectedVerdict {
    let tool = family.pick("iptables-legacy", "ip6tables-legacy");
    let Iptables { table, chain } = chain;
    by(
        "ed ",
        format!("2 of chain {chain} in table {table} ({tool})"),
    )
    .evidence("that rule has counted ")
    .fix(format!("{tool} -t {table} -I {chain} 2 "))
}

/// By a rule of nftables'.
fn by_nft(chain: Chain<'_>, rule: &str) -> ExpectedVerdict {
    let Chain { family, hook, .. } = chain;
    let did = match rule.contains("reject") {
        true => "rejected",
        false => "dropped",
    };
    by(
        did,
        format!("of chain c in table {family} filter_{hook}: `{rule}`"),
    )
    .fix(format!(
        "nft insert rule {family} filter_{hook} c position "
    ))
}

fn iptables(table: &str, hook: &'static str) -> Result<()> {
    let lab = NodeLab::build()?;
    let (client, server, ifname) = passing(&lab, hook);
    let chain = Iptables { table, chain: hook };
    Family::each(|family| {
        Scenario::new(&lab, client, server, family)
            .fault_on_port(|port| {
                chain.append(&lab.node, family, &format!("-p tcp --dport {port} -j DROP"))
            })
            .drops(
                &ExpectedDrop::new("NETFILTER_DROP", "nf_hook_slow")
                    .hook(hook)
                    .at(&lab.node, ifname)
                    .judged(by_iptables(family, chain)),
            )
    })
}

#[test]
fn iptables_raw_prerouting() -> Result<()> {
    iptables("raw", "PREROUTING")
}

#[test]
fn iptables_input() -> Result<()> {
    iptables("filter", "INPUT")
}

#[test]
fn iptables_forward() -> Result<()> {
    iptables("filter", "FORWARD")
}

#[test]
fn iptables_output() -> Result<()> {
    iptables("filter", "OUTPUT")
}

#[test]
fn iptables_mangle_postrouting() -> Result<()> {
    iptables("mangle", "POSTROUTING")
}

fn nftables(hook: &'static str) -> Result<()> {
    let lab = NodeLab::build()?;
    let (client, server, ifname) = passing(&lab, hook);
    let chain = hook.to_lowercase();
    let chain = Chain::inet(&chain);
    Family::each(|family| {
        let rule = |port| format!("tcp dport {port} drop");
        Scenario::new(&lab, client, server, family)
            .fault_on_port(|port| nft(&lab.node, chain, &rule(port)))
            .drops(
                &ExpectedDrop::new("NETFILTER_DROP", "nft_do_chain")
                    .hook(hook)
                    .at(&lab.node, ifname)
                    .judged(by_nft(chain, &rule(Scenario::port(family)))),
            )
    })
}

#[test]
fn nft_prerouting() -> Result<()> {
    nftables("PREROUTING")
}

#[test]
fn nft_input() -> Result<()> {
    nftables("INPUT")
}

#[test]
fn nft_forward() -> Result<()> {
    nftables("FORWARD")
}

#[test]
fn nft_output() -> Result<()> {
    nftables("OUTPUT")
}

#[test]
fn nft_postrouting() -> Result<()> {
    nftables("POSTROUTING")
}

#[test]
fn nft_forward_udp() -> Result<()> {
    let lab = NodeLab::build()?;
    let chain = Chain::inet("forward");
    let rule = |port| format!("udp dport {port} drop");
    Family::each(|family| {
        Scenario::new(&lab, &lab.pod_a, &lab.outside, family)
            .traffic(Traffic::Datagram(100))
            .fault_on_port(|port| nft(&lab.node, chain, &rule(port)))
            .drops(
                &ExpectedDrop::new("NETFILTER_DROP", "nft_do_chain")
                    .hook("FORWARD")
                    .at(&lab.node, "cni0")
                    .judged(by_nft(chain, &rule(Scenario::port(family)))),
            )
    })
}

#[test]
fn nft_bridge_forward() -> Result<()> {
    let lab = NodeLab::build()?;
    let chain = Chain::bridge("forward");
    let rule = |port| format!("tcp dport {port} drop");
    Family::each(|family| {
        Scenario::new(&lab, &lab.pod_a, &lab.pod_b, family)
            .fault_on_port(|port| nft(&lab.node, chain, &rule(port)))
            .drops(
                &ExpectedDrop::new("NETFILTER_DROP", "nft_do_chain")
                    .hook("BRIDGE_FORWARD")
                    .at(&lab.node, "veth-b")
                    .judged(by_nft(chain, &rule(Scenario::port(family)))),
            )
    })
}

/// With `bridge-nf-call-iptables`, a packet between two pods of one bridge passes the FORWARD chain
/// of iptables although nothing routes it.
#[test]
fn iptables_forward_of_a_bridged_packet() -> Result<()> {
    let lab = NodeLab::build()?;
    let chain = Iptables {
        table: "filter",
        chain: "FORWARD",
    };
    Family::each(|family| {
        Scenario::new(&lab, &lab.pod_a, &lab.pod_b, family)
            .fault_on_port(|port| {
                chain.append(&lab.node, family, &format!("-p tcp --dport {port} -j DROP"))
            })
            .drops(
                &ExpectedDrop::new("NETFILTER_DROP", "nf_hook_slow")
                    .hook("FORWARD")
                    .at(&lab.node, "veth-b")
                    .judged(by_iptables(family, chain)),
            )
    })
}

fn netdev(hook: &'static str, ifname: &'static str) -> Result<()> {
    let lab = NodeLab::build()?;
    let chain = hook.to_lowercase();
    let chain = Chain::netdev(&chain, ifname);
    let rule = |port| format!("tcp dport {port} drop");
    Family::each(|family| {
        Scenario::new(&lab, &lab.outside, &lab.pod_a, family)
            .fault_on_port(|port| nft(&lab.node, chain, &rule(port)))
            .drops(
                &ExpectedDrop::new("NETFILTER_DROP", "nft_do_chain")
                    .hook(hook)
                    .at(&lab.node, ifname)
                    .judged(by_nft(chain, &rule(Scenario::port(family)))),
            )
    })
}

#[test]
fn nft_netdev_ingress() -> Result<()> {
    netdev("INGRESS", "eth0")
}

#[test]
fn nft_netdev_egress() -> Result<()> {
    netdev("EGRESS", "veth-a")
}

/// A REJECT is a drop and an answer: the client knows at once.
#[test]
fn iptables_reject() -> Result<()> {
    let lab = NodeLab::build()?;
    let chain = Iptables {
        table: "filter",
        chain: "FORWARD",
    };
    Family::each(|family| {
        Scenario::new(&lab, &lab.outside, &lab.pod_a, family)
            .fault_on_port(|port| {
                chain.append(
                    &lab.node,
                    family,
                    &format!("-p tcp --dport {port} -j REJECT"),
                )
            })
            .ends(End::Refused)
            .drops(
                &ExpectedDrop::new("NETFILTER_DROP", "nf_hook_slow")
                    .hook("FORWARD")
                    .at(&lab.node, "eth0")
                    .judged(rejected_by_iptables(family, chain)),
            )
    })
}

fn nft_reject(with: &str) -> Result<()> {
    let lab = NodeLab::build()?;
    let chain = Chain::inet("forward");
    let rule = |port| format!("tcp dport {port} reject {with}");
    Family::each(|family| {
        Scenario::new(&lab, &lab.outside, &lab.pod_a, family)
            .fault_on_port(|port| nft(&lab.node, chain, &rule(port)))
            .ends(End::Refused)
            .drops(
                &ExpectedDrop::new("NETFILTER_DROP", "nft_do_chain")
                    .hook("FORWARD")
                    .at(&lab.node, "eth0")
                    .judged(
                        by(
                            "rejected",
                            "of chain c in table inet filter_forward: `tcp dport ",
                        )
                        .why(" reject")
                        .fix("nft insert rule inet filter_forward c position "),
                    ),
            )
    })
}

#[test]
fn nft_reject_with_icmp() -> Result<()> {
    nft_reject("")
}

#[test]
fn nft_reject_with_tcp_reset() -> Result<()> {
    nft_reject("with tcp reset")
}
