//! Verdicts on Calico's rules: by iptables, and by nftables. A policy admits one port of a workload.

use anyhow::Result;
use whydrop_tests::{
    expected::{ExpectedDrop, ExpectedVerdict},
    lab::{Family, Lab, Namespace, topology::NodeLab},
    scenario::Scenario,
};

/// The interface of the workload that the rules speak of.
const WORKLOAD: &str = "cali1234567890a";

/// Connects to a workload whose policy admits its port, and then another one.
fn another_port_admitted(
    load: impl Fn(&Namespace, u16) -> Result<()>,
    place: &str,
    rule: &str,
) -> Result<()> {
    let lab = Lab::new()?;
    let topology = NodeLab::build_in(&lab)?;
    let pod = topology.routed_pod(&lab, WORKLOAD)?;
    let port = Scenario::port(Family::V4);
    load(&topology.node, port)?;
    Scenario::new(&topology, &topology.outside, &pod, Family::V4)
        .fault(|| load(&topology.node, port + 1))
        .drops(
            &ExpectedDrop::new("NETFILTER_DROP", "nft_do_chain")
                .hook("FORWARD")
                .at(&topology.node, "eth0")
                .judged(
                    ExpectedVerdict::new("policy", "confirmed")
                        .why("a network policy rule of Calico refuses it")
                        .evidence(place)
                        .evidence(rule)
                        .evidence("no policy of tier default admits it (ingress)")
                        .evidence("no other rule at this hook could have dropped it"),
                ),
        )
}

#[test]
fn dropped_by_calico_by_iptables() -> Result<()> {
    another_port_admitted(
        |node, port| {
            let rules = include_str!("../testdata/calico.iptables");
            let rules = rules.replace("ADMITTED", &port.to_string());
            node.run_with_input("iptables-nft-restore", &rules)
                .map(drop)
        },
        "chain cali-tw-cali1234567890a in table filter (iptables-nft)",
        "\"Drop if no policies passed packet\" -m mark --mark 0x0/0x20000 -j DROP",
    )
}

#[test]
fn dropped_by_calico_by_nftables() -> Result<()> {
    another_port_admitted(
        |node, port| {
            let rules = include_str!("../testdata/calico.nft");
            let rules = rules.replace("ADMITTED", &port.to_string());
            node.run_with_input("nft -f -", &rules).map(drop)
        },
        "chain filter-cali-tw-cali1234567890a in table ip calico",
        "Drop if no policies passed packet",
    )
}
