//! Packets too large for a hop, and queues too short for a burst.
//!
//! These faults strike whatever passes, so each family gets a lab of its own.

use anyhow::Result;
use whydrop_tests::{
    expected::{ExpectedDrop, ExpectedVerdict},
    fault::{Chain, nft},
    lab::{Family, topology::RouterLab},
    scenario::{Scenario, Traffic},
};

/// The router's way on takes less than the way to it. It sends an error, which the record must not hide.
#[test]
fn router_mtu_and_a_datagram() -> Result<()> {
    Family::each(|family| {
        let lab = RouterLab::build()?;
        let (function, ifname) = family.pick(("ip_forward", "left"), ("ip6_forward", "right"));
        Scenario::new(&lab, &lab.client, &lab.server, family)
            .traffic(Traffic::Datagram(1400))
            .fault(|| lab.router.run("ip link set dev right mtu 1300").map(drop))
            .drops(
                &ExpectedDrop::new("PKT_TOO_BIG", function)
                    .at(&lab.router, ifname)
                    .judged(ExpectedVerdict::any_of(["mtu"]).names("1300")),
            )
    })
}

/// The router sends an error, but its own firewall drops that: a black hole. The filter is the
/// conversation, and the error speaks of it.
#[test]
fn router_mtu_and_a_lost_error() -> Result<()> {
    Family::each(|family| {
        let lab = RouterLab::build()?;
        let (function, ifname) = family.pick(("ip_forward", "left"), ("ip6_forward", "right"));
        let rule = family.pick(
            "icmp type destination-unreachable drop",
            "icmpv6 type packet-too-big drop",
        );
        Scenario::new(&lab, &lab.client, &lab.server, family)
            .traffic(Traffic::Datagram(1400))
            .fault(|| {
                lab.router.run("ip link set dev right mtu 1300")?;
                nft(&lab.router, Chain::inet("output"), rule)
            })
            .drops_all(&[
                ExpectedDrop::new("PKT_TOO_BIG", function)
                    .at(&lab.router, ifname)
                    .judged(ExpectedVerdict::any_of(["mtu"]).names("1300")),
                ExpectedDrop::new("NETFILTER_DROP", "nft_do_chain")
                    .hook("OUTPUT")
                    .error(lab.router.address(family), lab.client.address(family))
                    .at(&lab.router, "left")
                    .judged(ExpectedVerdict::any_of(["mtu"]).names("OUTPUT")),
            ])
    })
}

/// Both ends of a veth disagree: the sender's end drops, without an ICMP error.
#[test]
fn veth_peer_mtu() -> Result<()> {
    Family::each(|family| {
        let lab = RouterLab::build()?;
        Scenario::new(&lab, &lab.client, &lab.server, family)
            .traffic(Traffic::Datagram(1400))
            .fault(|| lab.server.run("ip link set dev eth0 mtu 1300").map(drop))
            .drops(
                &ExpectedDrop::new("NOT_SPECIFIED", "__dev_forward_skb2")
                    .at(&lab.router, "right")
                    .judged(ExpectedVerdict::any_of(["mtu"]).names("1300")),
            )
    })
}

#[test]
fn tbf_overlimit() -> Result<()> {
    Family::each(|family| {
        let lab = RouterLab::build()?;
        Scenario::new(&lab, &lab.client, &lab.server, family)
            .traffic(Traffic::Burst(50, 1000))
            .fault(|| {
                lab.router
                    .run("tc qdisc add dev right root tbf rate 100kbit burst 2000 limit 4000")
                    .map(drop)
            })
            .drops(
                &ExpectedDrop::new("QDISC_DROP", "__dev_queue_xmit")
                    .at(&lab.router, "right")
                    .judged(ExpectedVerdict::any_of(["queue"]).names("tbf")),
            )
    })
}
