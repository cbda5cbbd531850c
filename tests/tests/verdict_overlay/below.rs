//! The tunnel's packets have no way to the other node.

use super::*;

fn no_route(underlay: Underlay, fault: impl Fn(&OverlayLab) -> Result<()>) -> Result<()> {
    let lab = OverlayLab::build(underlay)?;
    bare(
        &lab,
        Family::V4,
        || fault(&lab),
        End::Silent,
        ExpectedDrop::new("IP_OUTNOROUTES", "vxlan_xmit_one").judged(
            overlay()
                .why("no route to the remote VTEP")
                .evidence("cannot be reached")
                .evidence("the tunnel device is vxlan10, VNI 10"),
        ),
        (&lab.nodes[0].node, OverlayLab::VXLAN),
    )
}

#[test]
fn unreachable_route_below() -> Result<()> {
    no_route(Underlay::Direct, |lab| {
        let [first, second] = &lab.nodes;
        let vtep = second.node.address(Family::V4);
        let route = format!("ip route add unreachable {vtep}/32");
        first.node.run(&route).map(drop)
    })
}

#[test]
fn no_route_below() -> Result<()> {
    no_route(Underlay::Routed, |lab| {
        lab.nodes[0].node.run("ip route del default").map(drop)
    })
}

#[test]
fn link_below_is_down() -> Result<()> {
    no_route(Underlay::Direct, |lab| {
        lab.nodes[0].node.run("ip link set dev eth0 down").map(drop)
    })
}

/// No host has the other node's address any more, as seen from the host that resolves it.
fn dead_vtep(underlay: Underlay, asks: impl Fn(&OverlayLab) -> Place<'_>) -> Result<()> {
    // A router on the way does not know the VTEP that it comes from.
    let confidence = match underlay {
        Underlay::Routed => "likely",
        Underlay::Direct => "confirmed",
    };
    Family::each(|family| {
        let lab = OverlayLab::build(underlay)?;
        let second = &lab.nodes[1].node;
        let vtep = second.address(Family::V4);
        let (namespace, ifname) = asks(&lab);
        namespace.sysctl(&format!("ipv4/neigh/{ifname}/mcast_solicit"), "1")?;
        encapsulated(
            &lab,
            family,
            || {
                second.run(&format!("ip address delete {vtep}/24 dev eth0"))?;
                let flush = format!("ip -4 neighbor flush dev {ifname}");
                namespace.run(&flush).map(drop)
            },
            ExpectedDrop::new("NEIGH_FAILED", "neigh_invalidate").judged(
                ExpectedVerdict::new("overlay", confidence)
                    .why("does not answer")
                    .evidence(format!("the route to the VTEP {vtep}"))
                    .evidence(format!("the neighbor entry: {vtep} ")),
            ),
            (namespace, ifname),
        )
    })
}

#[test]
fn dead_vtep_on_the_link() -> Result<()> {
    dead_vtep(Underlay::Direct, |lab| (&lab.nodes[0].node, "eth0"))
}

#[test]
fn dead_vtep_behind_a_router() -> Result<()> {
    dead_vtep(Underlay::Routed, |lab| {
        let router = lab.underlay.as_ref().expect("the underlay is routed");
        (router, "right")
    })
}
