//! What a tunnel refuses for a reason of its own.

use super::*;

/// Whether the verdict names the cause: older kernels give no reason in the tunnel's code.
fn judged(named: impl FnOnce(ExpectedVerdict) -> ExpectedVerdict) -> ExpectedVerdict {
    match kernel::VXLAN_WITHOUT_REASONS.applies() {
        true => overlay().why("the tunnel code dropped it"),
        false => named(overlay()),
    }
}

/// A device between the nodes writes "congestion experienced" over packets that do not support it.
#[test]
fn congestion_mark_on_the_way() -> Result<()> {
    let lab = OverlayLab::build(Underlay::Routed)?;
    let router = lab.underlay.as_ref().expect("the underlay is routed");
    let rule = format!("udp dport {} ip ecn set ce", lab.port);
    bare(
        &lab,
        Family::V4,
        || nft(router, Chain::inet("forward"), &rule),
        End::Silent,
        ExpectedDrop::new("IP_TUNNEL_ECN", "vxlan_rcv").judged(judged(|verdict| {
            verdict
                .why("is marked \"congestion experienced\" (ECN CE)")
                .fix("sets ECN bits of packets which are not ECN-capable")
        })),
        (&lab.nodes[1].node, OverlayLab::VXLAN),
    )
}

/// The device learns, and a permanent entry says that the sender is elsewhere.
#[test]
fn permanent_entry_for_another_vtep() -> Result<()> {
    let lab = OverlayLab::build(Underlay::Direct)?;
    let node = &*lab.nodes[1].node;
    let mac = lab.nodes[0].mac();
    encapsulated(
        &lab,
        Family::V4,
        || {
            node.run("ip link set dev vxlan10 type vxlan learning")?;
            let elsewhere = format!("bridge fdb replace {mac} dev vxlan10 dst 192.0.2.77");
            node.run(&elsewhere).map(drop)
        },
        ExpectedDrop::new("VXLAN_ENTRY_EXISTS", "vxlan_rcv").judged(judged(|verdict| {
            verdict
                .at_least("likely")
                // The entry leads elsewhere: the sender may be a stranger.
                .at_most("likely")
                .why("vxlan10 has a static FDB entry for the sender's MAC address")
                .fix("bridge fdb show dev vxlan10")
        })),
        (node, OverlayLab::VXLAN),
    )
}
