//! Drops inside and under VXLAN: the filter is the pods' conversation, and the record shows both
//! packets.

use anyhow::Result;
use whydrop_tests::{
    fault::{Chain, Iptables, nft},
    lab::{
        Family, Namespace,
        topology::{OverlayLab, Underlay},
    },
    scenario::{Expected, Scenario},
};

/// A conversation between the pods; `place` says where it will be lost.
fn scenario(
    underlay: Underlay,
    fault: impl Fn(&OverlayLab) -> Result<()>,
    expected: &Expected,
    place: impl Fn(&OverlayLab) -> (&Namespace, &'static str),
) -> Result<()> {
    Family::each(|family| {
        let lab = OverlayLab::build(underlay)?;
        let [first, second] = &lab.nodes;
        let (namespace, ifname) = place(&lab);
        Scenario::new(&lab, &first.pod, &second.pod, family)
            .fault(|| fault(&lab))
            .drops(
                &expected
                    .clone()
                    .inside(
                        first.node.address(Family::V4),
                        second.node.address(Family::V4),
                        OverlayLab::PORT,
                    )
                    .at(namespace, ifname),
            )
    })
}

#[test]
fn wrong_vni() -> Result<()> {
    scenario(
        Underlay::Direct,
        |lab| lab.overlay(1, OverlayLab::VNI + 1),
        &Expected::new("VXLAN_VNI_NOT_FOUND", "vxlan_rcv"),
        |lab| (&lab.nodes[1].node, "eth0"),
    )
}

/// The packet still belongs to the VXLAN device when the node's own firewall drops it.
#[test]
fn vxlan_blocked_on_the_way_out() -> Result<()> {
    let output = Iptables {
        table: "filter",
        chain: "OUTPUT",
    };
    scenario(
        Underlay::Direct,
        |lab| {
            let node = &lab.nodes[0].node;
            output.append(node, Family::V4, "-p udp --dport 4789 -j DROP")
        },
        &Expected::new("NETFILTER_DROP", "nf_hook_slow").hook("OUTPUT"),
        |lab| (&lab.nodes[0].node, OverlayLab::VXLAN),
    )
}

#[test]
fn vxlan_blocked_on_the_way_in() -> Result<()> {
    scenario(
        Underlay::Direct,
        |lab| {
            nft(
                &lab.nodes[1].node,
                Chain::inet("input"),
                "udp dport 4789 drop",
            )
        },
        &Expected::new("NETFILTER_DROP", "nft_do_chain").hook("INPUT"),
        |lab| (&lab.nodes[1].node, "eth0"),
    )
}

#[test]
fn vxlan_blocked_between_the_nodes() -> Result<()> {
    scenario(
        Underlay::Routed,
        |lab| nft(router(lab), Chain::inet("forward"), "udp dport 4789 drop"),
        &Expected::new("NETFILTER_DROP", "nft_do_chain").hook("FORWARD"),
        |lab| (router(lab), "left"),
    )
}

fn router(lab: &OverlayLab) -> &Namespace {
    lab.underlay.as_ref().expect("the underlay is routed")
}
