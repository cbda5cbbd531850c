//! Verdicts on packets that are too large, with the figures that prove it.

use anyhow::Result;
use whydrop_tests::{
    fault::{Chain, nft},
    judged::Judged,
    lab::{
        Family, Namespace,
        topology::{NodeLab, OverlayLab, RouterLab, Underlay},
    },
    scenario::{Expected, Scenario, Traffic},
};

/// A datagram of 1400 bytes and its headers.
fn length(family: Family) -> u32 {
    1400 + 8 + family.pick(20, 40)
}

fn mtu(family: Family) -> Judged {
    Judged::new("mtu", "confirmed").why(format!("{} bytes", length(family)))
}

fn ping(family: Family, mtu: u32, lab: &RouterLab) -> String {
    let payload = mtu - family.pick(28, 48);
    format!("ping -M do -s {payload} {}", lab.server.address(family))
}

#[test]
fn router_takes_less() -> Result<()> {
    Family::each(|family| {
        let lab = RouterLab::build()?;
        let (function, ifname) = family.pick(("ip_forward", "left"), ("ip6_forward", "right"));
        Scenario::new(&lab, &lab.client, &lab.server, family)
            .traffic(Traffic::Datagram(1400))
            .fault(|| lab.router.run("ip link set dev right mtu 1300").map(drop))
            .drops(
                &Expected::new("PKT_TOO_BIG", function)
                    .at(&lab.router, ifname)
                    .judged(
                        mtu(family)
                            .evidence("the narrowest hop here is right, with an MTU of 1300")
                            .evidence(ping(family, 1300, &lab)),
                    ),
            )
    })
}

/// The two ends of a veth disagree, and the router cannot see what the other end takes.
#[test]
fn veth_peer_takes_less() -> Result<()> {
    Family::each(|family| {
        let lab = RouterLab::build()?;
        let judged = Judged::new("mtu", "likely").why(format!("{} bytes", length(family)));
        Scenario::new(&lab, &lab.client, &lab.server, family)
            .traffic(Traffic::Datagram(1400))
            .fault(|| lab.server.run("ip link set dev eth0 mtu 1300").map(drop))
            .drops(
                &Expected::new("NOT_SPECIFIED", "__dev_forward_skb2")
                    .at(&lab.router, "right")
                    .judged(judged.evidence("MTU of right is 1500")),
            )
    })
}

#[test]
fn bridge_port_takes_less() -> Result<()> {
    let lab = NodeLab::build()?;
    Scenario::new(&lab, &lab.pod_a, &lab.pod_b, Family::V4)
        .traffic(Traffic::Datagram(1400))
        .fault(|| lab.node.run("ip link set dev veth-b mtu 1300").map(drop))
        .drops(
            &Expected::new("NOT_SPECIFIED", "br_nf_dev_queue_xmit")
                .at(&lab.node, "veth-b")
                .judged(mtu(Family::V4).evidence("MTU of veth-b is 1300")),
        )
}

/// The router's word does not get to the sender: a black hole.
fn lost_word(
    family: Family,
    hook: &'static str,
    place: impl Fn(&RouterLab) -> (&Namespace, &'static str),
) -> Result<()> {
    let lab = RouterLab::build()?;
    let (function, ifname) = family.pick(("ip_forward", "left"), ("ip6_forward", "right"));
    let (router, client) = (lab.router.address(family), lab.client.address(family));
    let rule = family.pick(
        "icmp type destination-unreachable drop",
        "icmpv6 type packet-too-big drop",
    );
    let (namespace, at) = place(&lab);
    let word = family.pick("fragmentation needed", "packet too big");
    let chain = hook.to_lowercase();
    Scenario::new(&lab, &lab.client, &lab.server, family)
        .traffic(Traffic::Datagram(1400))
        .fault(|| {
            lab.router.run("ip link set dev right mtu 1300")?;
            nft(namespace, Chain::inet(&chain), rule)
        })
        .drops_all(&[
            Expected::new("PKT_TOO_BIG", function).at(&lab.router, ifname),
            Expected::new("NETFILTER_DROP", "nft_do_chain")
                .hook(hook)
                .error(router, client)
                .at(namespace, at)
                .judged(
                    Judged::new("mtu", "confirmed")
                        .why(word)
                        .why(client.to_string()),
                ),
        ])
}

#[test]
fn word_lost_at_the_router() -> Result<()> {
    Family::each(|family| lost_word(family, "OUTPUT", |lab| (&lab.router, "left")))
}

#[test]
fn word_lost_at_the_client() -> Result<()> {
    Family::each(|family| lost_word(family, "INPUT", |lab| (&lab.client, "eth0")))
}

/// A tunnel that is as wide as the network below it, and does not cut packets up.
#[test]
fn vxlan_as_wide_as_its_underlay() -> Result<()> {
    let lab = OverlayLab::build(Underlay::Direct)?;
    let [first, second] = &lab.nodes;
    for node in [first, second] {
        node.node.run("ip link set dev vxlan10 type vxlan df set")?;
        node.node.run("ip link set dev vxlan10 mtu 1500")?;
        node.pod.run("ip link set dev eth0 mtu 1500")?;
    }
    Scenario::new(&lab, &first.pod, &second.pod, Family::V4)
        .traffic(Traffic::Datagram(1400))
        .fault(|| {
            let narrow = "ip link set dev eth0 mtu 1440";
            first.node.run(narrow).map(drop)
        })
        .drops(
            &Expected::new("NOT_SPECIFIED", "ip_fragment")
                .inside(
                    first.node.address(Family::V4),
                    second.node.address(Family::V4),
                    OverlayLab::PORT,
                )
                .at(&first.node, "eth0")
                .judged(
                    Judged::new("mtu", "confirmed")
                        .evidence(
                            "the narrowest hop here is eth0, with an MTU of 1440, of which the \
                             tunnel takes 50",
                        )
                        .evidence("ping -M do -s 1362")
                        .fix("ip link set dev vxlan10 mtu 1390"),
                ),
        )
}
