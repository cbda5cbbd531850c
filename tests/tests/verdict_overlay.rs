//! What is lost inside and under VXLAN: the piece that is missing. The filter is the pods'
//! conversation, and the record shows both packets.

mod below;
mod refused;

use anyhow::Result;
use whydrop_tests::{
    expected::{ExpectedDrop, ExpectedVerdict},
    fault::{Chain, Iptables, nft},
    kernel,
    lab::{
        Family, Namespace,
        topology::{OverlayLab, Underlay},
    },
    scenario::{End, Scenario},
};

type Place<'a> = (&'a Namespace, &'static str);

fn overlay() -> ExpectedVerdict {
    ExpectedVerdict::new("overlay", "confirmed")
}

/// A conversation between the pods, lost inside a tunnel packet.
fn encapsulated(
    lab: &OverlayLab,
    family: Family,
    fault: impl FnOnce() -> Result<()>,
    expected: ExpectedDrop,
    (namespace, ifname): Place<'_>,
) -> Result<()> {
    let [first, second] = &lab.nodes;
    let (from, to) = (
        first.node.address(Family::V4),
        second.node.address(Family::V4),
    );
    Scenario::new(lab, &first.pod, &second.pod, family)
        .fault(fault)
        .drops(&expected.inside(from, to, lab.port).at(namespace, ifname))
}

/// A conversation between the pods, lost outside of tunnel packets.
fn bare(
    lab: &OverlayLab,
    family: Family,
    fault: impl FnOnce() -> Result<()>,
    end: End,
    expected: ExpectedDrop,
    (namespace, ifname): Place<'_>,
) -> Result<()> {
    let [first, second] = &lab.nodes;
    Scenario::new(lab, &first.pod, &second.pod, family)
        .fault(fault)
        .ends(end)
        .drops(&expected.at(namespace, ifname))
}

/// Both ports that VXLAN is found at, each with pods of another family.
fn on_both_ports(
    underlay: Underlay,
    run: impl Fn(&OverlayLab, Family) -> Result<()>,
) -> Result<()> {
    let ports = [
        (OverlayLab::PORT, Family::V4),
        (OverlayLab::LINUX_PORT, Family::V6),
    ];
    ports.into_iter().try_for_each(|(port, family)| {
        let lab = OverlayLab::on_port(underlay, port)?;
        run(&lab, family)
    })
}

/// A rule against the tunnel's port, in nftables.
fn blocked(
    lab: &OverlayLab,
    family: Family,
    chain: Chain<'_>,
    rule: &str,
    (namespace, ifname): Place<'_>,
) -> Result<()> {
    let hook = match chain.hook {
        "output" => "OUTPUT",
        "postrouting" => "POSTROUTING",
        "forward" => "FORWARD",
        _ => "INPUT",
    };
    let rule = format!("udp dport {} {rule}", lab.port);
    let (from, to) = (
        lab.nodes[0].node.address(Family::V4),
        lab.nodes[1].node.address(Family::V4),
    );
    // A router on the way knows no VTEP: it does not know who may send such packets.
    let is_known = hook != "FORWARD";
    let judged = match is_known {
        true => overlay().fix(format!(
            "ip saddr {from} ip daddr {to} udp dport {}",
            lab.port
        )),
        false => ExpectedVerdict::new("overlay", "likely").evidence(format!(
            "no tunnel of this namespace leads to {from}, which sent it; it is an address of "
        )),
    };
    let judged = judged.why(format!(
        "drops the overlay's own packets in {hook}: `{rule}"
    ));
    let expected = ExpectedDrop::new("NETFILTER_DROP", "nft_do_chain")
        .hook(hook)
        .judged(judged);
    let block = || nft(namespace, chain, &rule);
    encapsulated(lab, family, block, expected, (namespace, ifname))
}

#[test]
fn port_blocked_here() -> Result<()> {
    on_both_ports(Underlay::Direct, |lab, family| {
        // The packet still belongs to the tunnel's device.
        let place = (&*lab.nodes[0].node, OverlayLab::VXLAN);
        blocked(lab, family, Chain::inet("output"), "drop", place)
    })
}

#[test]
fn port_blocked_by_iptables() -> Result<()> {
    let lab = OverlayLab::build(Underlay::Direct)?;
    let node = &*lab.nodes[0].node;
    let output = Iptables {
        table: "filter",
        chain: "OUTPUT",
    };
    encapsulated(
        &lab,
        Family::V4,
        || output.append(node, Family::V4, "-p udp --dport 4789 -j DROP"),
        ExpectedDrop::new("NETFILTER_DROP", "nf_hook_slow")
            .hook("OUTPUT")
            .judged(
                overlay()
                    .why("rule 1 of chain OUTPUT in table filter (iptables-legacy)")
                    .fix("iptables-legacy -t filter -I OUTPUT 1 "),
            ),
        (node, OverlayLab::VXLAN),
    )
}

#[test]
fn port_blocked_where_it_leaves() -> Result<()> {
    let lab = OverlayLab::build(Underlay::Direct)?;
    let place = (&*lab.nodes[0].node, "eth0");
    let chain = Chain::inet("postrouting");
    blocked(&lab, Family::V4, chain, "drop", place)
}

#[test]
fn port_blocked_at_the_other_node() -> Result<()> {
    on_both_ports(Underlay::Direct, |lab, family| {
        let place = (&*lab.nodes[1].node, "eth0");
        blocked(lab, family, Chain::inet("input"), "drop", place)
    })
}

/// The other node sends an error, which still does not reach the pod.
#[test]
fn port_rejected_at_the_other_node() -> Result<()> {
    let lab = OverlayLab::build(Underlay::Direct)?;
    let place = (&*lab.nodes[1].node, "eth0");
    blocked(&lab, Family::V4, Chain::inet("input"), "reject", place)
}

#[test]
fn port_blocked_between_the_nodes() -> Result<()> {
    on_both_ports(Underlay::Routed, |lab, family| {
        let router = lab.underlay.as_ref().expect("the underlay is routed");
        let place = (router, "left");
        blocked(lab, family, Chain::inet("forward"), "drop", place)
    })
}

#[test]
fn wrong_vni() -> Result<()> {
    Family::each(|family| {
        let lab = OverlayLab::build(Underlay::Direct)?;
        encapsulated(
            &lab,
            family,
            || lab.overlay(1, OverlayLab::VNI + 1),
            ExpectedDrop::new("VXLAN_VNI_NOT_FOUND", "vxlan_rcv").judged(
                if kernel::VXLAN_WITHOUT_REASONS.applies() {
                    overlay().why("the tunnel code dropped it")
                } else {
                    overlay()
                        .why("VNI")
                        .evidence("the VNIs here are 11 on vxlan10")
                        .fix("on both nodes: compare `ip -d link show type vxlan`")
                },
            ),
            (&lab.nodes[1].node, "eth0"),
        )
    })
}

/// The other node has no tunnel any more: its packets find a closed port.
#[test]
fn no_tunnel_at_the_other_node() -> Result<()> {
    let lab = OverlayLab::build(Underlay::Direct)?;
    let node = &*lab.nodes[1].node;
    encapsulated(
        &lab,
        Family::V4,
        || node.run("ip link set dev vxlan10 down").map(drop),
        ExpectedDrop::new("NO_SOCKET", "__udp4_lib_rcv").judged(
            overlay()
                .why("no tunnel device listens for the encapsulated packet here")
                .evidence("vxlan10 is down")
                .fix("ip link set dev vxlan10 up"),
        ),
        (node, "eth0"),
    )
}

#[test]
fn no_fdb_entry() -> Result<()> {
    Family::each(|family| {
        let lab = OverlayLab::build(Underlay::Direct)?;
        let node = &*lab.nodes[0].node;
        bare(
            &lab,
            family,
            || {
                let all = node.run("bridge fdb show dev vxlan10")?;
                for mac in all.lines().filter_map(|line| line.split(' ').next()) {
                    node.run(&format!("bridge fdb del {mac} dev vxlan10"))?;
                }
                Ok(())
            },
            End::Silent,
            ExpectedDrop::new("NO_TX_TARGET", "vxlan_xmit").judged(
                overlay()
                    .why("knows no VTEP")
                    .evidence("the FDB has no VTEP for 02:00:00:00:0a:02")
                    .evidence("the tunnel device is vxlan10, VNI 10"),
            ),
            (node, OverlayLab::VXLAN),
        )
    })
}

/// Nothing says which MAC address the other node's tunnel has.
#[test]
fn no_neighbor_on_the_tunnel() -> Result<()> {
    Family::each(|family| {
        let lab = OverlayLab::build(Underlay::Direct)?;
        let node = &*lab.nodes[0].node;
        let version = family.pick("ipv4", "ipv6");
        node.sysctl(&format!("{version}/neigh/vxlan10/mcast_solicit"), "1")?;
        let hop = lab.tunnel_address(1, family);
        bare(
            &lab,
            family,
            || {
                let delete = format!("ip neighbor del {hop} dev vxlan10");
                node.run(&delete).map(drop)
            },
            End::Unreachable(libc::EHOSTUNREACH),
            ExpectedDrop::new(
                family.pick("NEIGH_FAILED", "NOT_SPECIFIED"),
                "neigh_invalidate",
            )
            .judged(
                overlay()
                    .why("does not know the MAC address of the next hop")
                    .evidence(format!("entry for {hop} on the tunnel device is "))
                    .evidence("the tunnel device is vxlan10, VNI 10"),
            ),
            (node, OverlayLab::VXLAN),
        )
    })
}

/// The other node's tunnel has another MAC address now, which this one does not know.
#[test]
fn stale_mac_of_the_vtep() -> Result<()> {
    Family::each(|family| {
        let lab = OverlayLab::build(Underlay::Direct)?;
        let node = &*lab.nodes[1].node;
        bare(
            &lab,
            family,
            || {
                let change = "ip link set dev vxlan10 address 02:00:00:00:0b:02";
                node.run(change).map(drop)
            },
            End::Silent,
            ExpectedDrop::new("OTHERHOST", family.pick("ip_rcv_core", "ip6_rcv_core")).judged(
                overlay()
                    .why("out of the tunnel at vxlan10 for 02:00:00:00:0a:02")
                    .why("vxlan10 has 02:00:00:00:0b:02")
                    .fix("restart the CNI's agent"),
            ),
            (node, OverlayLab::VXLAN),
        )
    })
}

/// With the tunnel's device its routes go.
#[test]
fn own_tunnel_is_down() -> Result<()> {
    let lab = OverlayLab::build(Underlay::Direct)?;
    let node = &*lab.nodes[0].node;
    bare(
        &lab,
        Family::V4,
        || node.run("ip link set dev vxlan10 down").map(drop),
        End::Unreachable(libc::ENETUNREACH),
        ExpectedDrop::new("IP_INNOROUTES", "ip_error").judged(
            ExpectedVerdict::new("overlay", "likely")
                .why("the tunnel device vxlan10 is down")
                .evidence("the kernel says now")
                .fix("ip link set dev vxlan10 up"),
        ),
        (node, "cni0"),
    )
}
