//! Verdicts on programs, queues, sockets and listeners.

use std::cell::RefCell;

use anyhow::Result;
use whydrop_tests::{
    fault::{Direction, XdpDrop, XdpMode, drop_in_tc},
    judged::Judged,
    lab::{
        Family,
        topology::{NodeLab, RouterLab},
    },
    scenario::{End, Expected, Scenario, Traffic},
    traffic::Protocol,
};

fn firewall() -> Judged {
    Judged::new("firewall", "confirmed")
}

fn classifier(ifname: &str, direction: Direction, expected: &Expected) -> Result<()> {
    let lab = NodeLab::build()?;
    let (family, protocol) = (Family::V4, Protocol::Tcp);
    Scenario::new(&lab, &lab.outside, &lab.pod_a, family)
        .fault_on_port(|port| drop_in_tc(&lab.node, ifname, direction, family, protocol, port))
        .drops(&expected.clone().at(&lab.node, ifname))
}

#[test]
fn tc_program_at_ingress() -> Result<()> {
    classifier(
        "eth0",
        Direction::Ingress,
        &Expected::new("TC_INGRESS", "__netif_receive_skb_core")
            .judged(firewall().why("a tc program or filter at ingress dropped it at eth0")),
    )
}

#[test]
fn tc_program_at_egress() -> Result<()> {
    classifier(
        "veth-a",
        Direction::Egress,
        &Expected::new("TC_EGRESS", "__dev_queue_xmit")
            .judged(firewall().why("a tc program or filter at egress dropped it at veth-a")),
    )
}

fn xdp(mode: XdpMode, function: &'static str, attached: &str) -> Result<()> {
    let lab = NodeLab::build()?;
    let current = RefCell::new(None);
    Scenario::new(&lab, &lab.outside, &lab.pod_a, Family::V4)
        .fault_on_port(|port| {
            drop(current.take());
            let program = XdpDrop::attach(&lab.node, "eth0", mode, Family::V4, port)?;
            current.replace(Some(program));
            Ok(())
        })
        .drops(
            &Expected::new("NOT_SPECIFIED", function)
                .at(&lab.node, "eth0")
                .judged(
                    firewall()
                        .why("an XDP program")
                        .evidence(format!("attached there: {attached}: program")),
                ),
        )
}

#[test]
fn xdp_program_in_the_driver() -> Result<()> {
    xdp(XdpMode::Native, "veth_xdp_rcv_skb", "XDP")
}

#[test]
fn xdp_program_behind_the_driver() -> Result<()> {
    xdp(XdpMode::Generic, "do_xdp_generic", "generic XDP")
}

#[test]
fn token_bucket() -> Result<()> {
    let lab = RouterLab::build()?;
    Scenario::new(&lab, &lab.client, &lab.server, Family::V4)
        .traffic(Traffic::Burst(50, 1000))
        .fault(|| {
            let add = "tc qdisc add dev right root tbf rate 100kbit burst 2000 limit 4000";
            lab.router.run(add).map(drop)
        })
        .drops(
            &Expected::new("QDISC_DROP", "__dev_queue_xmit")
                .at(&lab.router, "right")
                .judged(
                    Judged::new("queue", "confirmed")
                        .why("a queue at right is full")
                        .evidence("rate 100000 bit/s limit 4000 bytes"),
                ),
        )
}

fn closed(traffic: Traffic, end: End, function: &'static str, proto: &str) -> Result<()> {
    let lab = NodeLab::build()?;
    let (port, pod) = (Scenario::port(Family::V4), lab.pod_a.address(Family::V4));
    Scenario::new(&lab, &lab.outside, &lab.pod_a, Family::V4)
        .traffic(traffic)
        .ends(end)
        .drops(
            &Expected::new("NO_SOCKET", function)
                .at(&lab.pod_a, "eth0")
                .judged(
                    Judged::new("socket", "confirmed")
                        .why(format!("nobody listens on {proto} port {port} of {pod}")),
                ),
        )
}

#[test]
fn closed_tcp_port() -> Result<()> {
    closed(Traffic::Connect, End::Refused, "tcp_v4_rcv", "tcp")
}

#[test]
fn closed_udp_port() -> Result<()> {
    closed(Traffic::Datagram(100), End::Silent, "__udp4_lib_rcv", "udp")
}
