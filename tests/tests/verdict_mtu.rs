//! Verdicts on packets that are too large, with the figures that prove it.

use anyhow::{Context, Result};
use whydrop_tests::{
    deadline,
    expected::{ExpectedDrop, ExpectedVerdict},
    fault::{Chain, nft},
    kernel,
    lab::{
        Family, Namespace, Topology,
        topology::{NodeLab, OverlayLab, RouterLab, Underlay},
    },
    scenario::{Scenario, Traffic},
    tracer::{Tracer, watching},
    traffic::{INNER, IpInIp, UdpClient, UdpServer},
};

const PORT: u16 = 8080;

/// A datagram of 1400 bytes and its headers.
fn length(family: Family) -> u32 {
    1400 + 8 + family.pick(20, 40)
}

fn mtu(family: Family) -> ExpectedVerdict {
    ExpectedVerdict::new("mtu", "confirmed").why(format!("{} bytes", length(family)))
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
                &ExpectedDrop::new("PKT_TOO_BIG", function)
                    .at(&lab.router, ifname)
                    .judged(
                        mtu(family)
                            .evidence("the narrowest hop here is right, with an MTU of 1300")
                            .evidence(ping(family, 1300, &lab))
                            .fix("ip link set dev right mtu 1500 (undo: ")
                            .fix("ip link set dev right mtu 1300)"),
                    ),
            )
    })
}

/// The two ends of a veth disagree: the router's end takes what the other end does not.
#[test]
fn veth_peer_takes_less() -> Result<()> {
    Family::each(|family| {
        let lab = RouterLab::build()?;
        Scenario::new(&lab, &lab.client, &lab.server, family)
            .traffic(Traffic::Datagram(1400))
            .fault(|| lab.server.run("ip link set dev eth0 mtu 1300").map(drop))
            .drops(
                &ExpectedDrop::new("NOT_SPECIFIED", "__dev_forward_skb2")
                    .at(&lab.router, "right")
                    .judged(
                        mtu(family)
                            .evidence("MTU of right is 1500")
                            .evidence("the other end of right, eth0, takes 1300 bytes only")
                            .evidence("are the two ends of a veth pair, and need the same MTU")
                            .evidence(ping(family, 1300, &lab))
                            .fix("ip link set dev right mtu 1300 (undo: ")
                            .fix("ip link set dev right mtu 1500)"),
                    ),
            )
    })
}

/// With and without the netfilter hooks that a bridge calls, another function drops.
fn bridge_port(family: Family, hooks: &str, function: &'static str) -> Result<()> {
    let lab = NodeLab::build()?;
    for families in ["iptables", "ip6tables"] {
        lab.node
            .sysctl(&format!("bridge/bridge-nf-call-{families}"), hooks)?;
    }
    Scenario::new(&lab, &lab.pod_a, &lab.pod_b, family)
        .traffic(Traffic::Datagram(1400))
        .fault(|| lab.node.run("ip link set dev veth-b mtu 1300").map(drop))
        .drops(
            &ExpectedDrop::new("NOT_SPECIFIED", function)
                .at(&lab.node, "veth-b")
                .judged(
                    mtu(family)
                        .evidence("MTU of veth-b is 1300")
                        .fix("ip link set dev veth-b mtu 1500 (undo: ")
                        .fix("ip link set dev veth-b mtu 1300)"),
                ),
        )
}

#[test]
fn bridge_port_takes_less() -> Result<()> {
    Family::each(|family| bridge_port(family, "0", "br_dev_queue_push_xmit"))
}

#[test]
fn bridge_port_behind_netfilter_takes_less() -> Result<()> {
    Family::each(|family| {
        let function = family.pick("br_nf_dev_queue_xmit", "ip6_fragment");
        bridge_port(family, "1", function)
    })
}

/// A packet in fragments, of which a firewall passes the first only: the others have no ports.
#[test]
fn fragments_lost() -> Result<()> {
    let lab = RouterLab::build()?;
    lab.server.sysctl("ipv4/ipfrag_time", "1")?;
    let server = lab.server.socket(Family::V4, PORT);
    let _server = UdpServer::echo(&lab.server, server)?;
    let client = UdpClient::connect(&lab.client, None, server)?;
    let mut arguments = watching(&lab.namespaces());
    arguments.push(server.to_string());
    let mut tracer = Tracer::start(arguments)?;
    client.send(4000)?;
    anyhow::ensure!(client.answered(deadline())?, "no answer while all was well");
    let rule = "ip frag-off & 0x1fff != 0 drop";
    let chain = Chain {
        family: "ip",
        ..Chain::inet("forward")
    };
    // Behind the defragmentation that conntrack would do there are none.
    nft(&lab.router, chain, rule)?;
    client.send(4000)?;
    let (expired, _) = kernel::shown(("FRAG_REASM_TIMEOUT", "ip_expire"));
    let record = tracer.wait_for("the end of patience with fragments", |record| {
        record.as_drop().is_some_and(|drop| drop.reason.is(expired))
    })?;
    let judged = ExpectedVerdict::new("mtu", "likely").why("in fragments, and some are missing");
    if let Some(mismatch) = judged.mismatch(&record.as_drop().context("a drop")?.verdict) {
        anyhow::bail!(mismatch);
    }
    let trace = tracer.stop()?;
    let blocked = ExpectedVerdict::new("firewall", "confirmed")
        .why("frag-off & 8191 != 0 drop")
        // A fragment has no ports: no rule lets just this flow's pass.
        .evidence("no rule is proposed");
    for drop in trace
        .drops()
        .filter(|drop| drop.reason.is("NETFILTER_DROP"))
    {
        if let Some(mismatch) = blocked.mismatch(&drop.verdict) {
            anyhow::bail!(mismatch);
        }
    }
    Ok(())
}

/// The router's word does not get to the sender: a black hole.
fn lost_word(
    family: Family,
    hook: &'static str,
    confidence: &'static str,
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
            ExpectedDrop::new("PKT_TOO_BIG", function).at(&lab.router, ifname),
            ExpectedDrop::new("NETFILTER_DROP", "nft_do_chain")
                .hook(hook)
                .error(router, client)
                .at(namespace, at)
                .judged(
                    ExpectedVerdict::new("mtu", confidence)
                        .why(word)
                        .evidence(rule)
                        .why(client.to_string()),
                ),
        ])
}

#[test]
fn word_lost_at_the_router() -> Result<()> {
    Family::each(|family| lost_word(family, "OUTPUT", "confirmed", |lab| (&lab.router, "left")))
}

#[test]
fn word_lost_at_the_client() -> Result<()> {
    Family::each(|family| lost_word(family, "INPUT", "likely", |lab| (&lab.client, "eth0")))
}

/// A tunnel that is as wide as the network below it, and does not cut packets up.
fn wide_tunnel(underlay: Underlay) -> Result<OverlayLab> {
    let lab = OverlayLab::build(underlay)?;
    for node in &lab.nodes {
        node.node.run("ip link set dev vxlan10 type vxlan df set")?;
        node.node.run("ip link set dev vxlan10 mtu 1500")?;
        node.pod.run("ip link set dev eth0 mtu 1500")?;
    }
    Ok(lab)
}

#[test]
fn vxlan_as_wide_as_its_underlay() -> Result<()> {
    Family::each(|family| {
        let lab = wide_tunnel(Underlay::Direct)?;
        let [first, second] = &lab.nodes;
        let payload = 1440 - 50 - family.pick(28, 48);
        Scenario::new(&lab, &first.pod, &second.pod, family)
            .traffic(Traffic::Datagram(1400))
            .fault(|| {
                let narrow = "ip link set dev eth0 mtu 1440";
                first.node.run(narrow).map(drop)
            })
            .drops(
                &ExpectedDrop::new("NOT_SPECIFIED", "ip_fragment")
                    .inside(
                        first.node.address(Family::V4),
                        second.node.address(Family::V4),
                        lab.port,
                    )
                    .at(&first.node, "eth0")
                    .judged(
                        ExpectedVerdict::new("mtu", "confirmed")
                            .evidence(
                                "the narrowest hop here is eth0, with an MTU of 1440, of which the \
                                 tunnel takes 50",
                            )
                            .evidence(format!("ping -M do -s {payload}"))
                            .fix("ip link set dev vxlan10 mtu 1390"),
                    ),
            )
    })
}

/// A router below the tunnel takes less than the nodes do.
#[test]
fn underlay_router_takes_less_than_the_tunnel() -> Result<()> {
    let lab = wide_tunnel(Underlay::Routed)?;
    let [first, second] = &lab.nodes;
    let router = lab.underlay.as_ref().expect("the underlay is routed");
    Scenario::new(&lab, &first.pod, &second.pod, Family::V4)
        .traffic(Traffic::Datagram(1350))
        .fault(|| router.run("ip link set dev right mtu 1400").map(drop))
        .drops(
            &ExpectedDrop::new("PKT_TOO_BIG", "ip_forward")
                .inside(
                    first.node.address(Family::V4),
                    second.node.address(Family::V4),
                    lab.port,
                )
                .at(router, "left")
                .judged(
                    ExpectedVerdict::new("mtu", "confirmed")
                        .why("1428 bytes")
                        .evidence("the narrowest hop here is right, with an MTU of 1400"),
                ),
        )
}

/// Each kind of tunnel takes bytes of its own: IP in IP takes 20, where VXLAN takes 50.
#[test]
fn router_takes_less_than_ip_in_ip_needs() -> Result<()> {
    const INNER_LENGTH: u16 = 1290;
    let lab = RouterLab::build()?;
    let tunnel = IpInIp::open(&lab.client, &lab.server, INNER)?;
    let mut arguments = watching(&lab.namespaces());
    arguments.push(INNER[1].to_string());
    let mut tracer = Tracer::start(arguments)?;
    tunnel.send(INNER_LENGTH)?;
    anyhow::ensure!(
        tunnel.arrived(deadline())?,
        "nothing came while all was well"
    );
    anyhow::ensure!(
        !tracer.has_seen(|record| record.as_drop().is_some())?,
        "a drop while all was well"
    );
    lab.router.run("ip link set dev right mtu 1300")?;
    tunnel.send(INNER_LENGTH)?;
    let record = tracer.wait_for("the drop of the large packet", |record| {
        record.as_drop().is_some()
    })?;
    let judged = ExpectedVerdict::new("mtu", "confirmed")
        .why("1310 bytes")
        .evidence(
            "the narrowest hop here is right, with an MTU of 1300, of which the tunnel takes 20",
        )
        .evidence(format!("ping -M do -s {} {}", 1280 - 28, INNER[1].ip()));
    if let Some(mismatch) = judged.mismatch(&record.as_drop().context("a drop")?.verdict) {
        anyhow::bail!(mismatch);
    }
    tracer.stop().map(drop)
}
