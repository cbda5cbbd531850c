//! Verdicts on what is lost inside and under VXLAN: the piece that is missing.

use anyhow::Result;
use whydrop_tests::{
    fault::{Chain, nft},
    judged::Judged,
    lab::{
        Family, Namespace,
        topology::{OverlayLab, Underlay},
    },
    scenario::{End, Expected, Scenario},
};

type Place<'a> = (&'a Namespace, &'static str);

fn overlay() -> Judged {
    Judged::new("overlay", "confirmed")
}

/// A conversation between the pods, lost inside a tunnel packet.
fn encapsulated(
    lab: &OverlayLab,
    fault: impl Fn() -> Result<()>,
    end: End,
    expected: Expected,
    (namespace, ifname): Place<'_>,
) -> Result<()> {
    let [first, second] = &lab.nodes;
    let (from, to) = (
        first.node.address(Family::V4),
        second.node.address(Family::V4),
    );
    Scenario::new(lab, &first.pod, &second.pod, Family::V4)
        .fault(fault)
        .ends(end)
        .drops(
            &expected
                .inside(from, to, OverlayLab::PORT)
                .at(namespace, ifname),
        )
}

/// A conversation between the pods, lost before it is in a tunnel packet.
fn bare(fault: impl Fn(&OverlayLab) -> Result<()>, expected: Expected) -> Result<()> {
    let lab = OverlayLab::build(Underlay::Direct)?;
    let [first, second] = &lab.nodes;
    Scenario::new(&lab, &first.pod, &second.pod, Family::V4)
        .fault(|| fault(&lab))
        .drops(&expected.at(&first.node, OverlayLab::VXLAN))
}

fn blocked(hook: &'static str) -> Expected {
    Expected::new("NETFILTER_DROP", "nft_do_chain")
        .hook(hook)
        .judged(
            overlay()
                .why(format!("drops the overlay's own packets in {hook}"))
                .evidence("`udp dport 4789 drop`"),
        )
}

fn block(namespace: &Namespace, hook: &str) -> Result<()> {
    nft(namespace, Chain::inet(hook), "udp dport 4789 drop")
}

#[test]
fn port_blocked_here() -> Result<()> {
    let lab = OverlayLab::build(Underlay::Direct)?;
    let node = &lab.nodes[0].node;
    encapsulated(
        &lab,
        || block(node, "output"),
        End::Silent,
        blocked("OUTPUT"),
        (node, OverlayLab::VXLAN),
    )
}

#[test]
fn port_blocked_at_the_other_node() -> Result<()> {
    let lab = OverlayLab::build(Underlay::Direct)?;
    let node = &lab.nodes[1].node;
    encapsulated(
        &lab,
        || block(node, "input"),
        End::Silent,
        blocked("INPUT"),
        (node, "eth0"),
    )
}

#[test]
fn port_blocked_between_the_nodes() -> Result<()> {
    let lab = OverlayLab::build(Underlay::Routed)?;
    let router = lab.underlay.as_ref().expect("the underlay is routed");
    encapsulated(
        &lab,
        || block(router, "forward"),
        End::Silent,
        blocked("FORWARD"),
        (router, "left"),
    )
}

#[test]
fn wrong_vni() -> Result<()> {
    let lab = OverlayLab::build(Underlay::Direct)?;
    encapsulated(
        &lab,
        || lab.overlay(1, OverlayLab::VNI + 1),
        End::Silent,
        Expected::new("VXLAN_VNI_NOT_FOUND", "vxlan_rcv").judged(
            overlay()
                .why("VNI")
                .evidence("the VNIs here are 11 on vxlan10"),
        ),
        (&lab.nodes[1].node, "eth0"),
    )
}

#[test]
fn no_fdb_entry() -> Result<()> {
    bare(
        |lab| {
            let node = &lab.nodes[0].node;
            let all = node.run("bridge fdb show dev vxlan10")?;
            for mac in all.lines().filter_map(|line| line.split(' ').next()) {
                node.run(&format!("bridge fdb del {mac} dev vxlan10"))?;
            }
            Ok(())
        },
        Expected::new("NO_TX_TARGET", "vxlan_xmit").judged(
            overlay()
                .why("knows no VTEP")
                .evidence("the FDB has no VTEP for 02:00:00:00:0a:02")
                .evidence("the tunnel device is vxlan10, VNI 10"),
        ),
    )
}

#[test]
fn no_route_below() -> Result<()> {
    bare(
        |lab| {
            let [first, second] = &lab.nodes;
            let vtep = second.node.address(Family::V4);
            let route = format!("ip route add unreachable {vtep}/32");
            first.node.run(&route).map(drop)
        },
        Expected::new("IP_OUTNOROUTES", "vxlan_xmit_one").judged(
            overlay()
                .why("no route to the remote VTEP")
                .evidence("cannot be reached")
                .evidence("the tunnel device is vxlan10, VNI 10"),
        ),
    )
}

#[test]
fn dead_vtep() -> Result<()> {
    let lab = OverlayLab::build(Underlay::Direct)?;
    let [first, second] = &lab.nodes;
    let vtep = second.node.address(Family::V4);
    first.node.sysctl("ipv4/neigh/eth0/mcast_solicit", "1")?;
    encapsulated(
        &lab,
        || {
            let delete = format!("ip address delete {vtep}/24 dev eth0");
            second.node.run(&delete)?;
            first.node.run("ip -4 neighbour flush dev eth0").map(drop)
        },
        End::Silent,
        Expected::new("NEIGH_FAILED", "neigh_invalidate").judged(
            overlay()
                .why("does not answer")
                .evidence(format!("the route to the VTEP {vtep}"))
                .evidence(format!("the neighbour entry: {vtep} ")),
        ),
        (&first.node, "eth0"),
    )
}
