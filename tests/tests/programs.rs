//! Drops by programs on an interface: tc classifiers and XDP.

use std::cell::RefCell;

use anyhow::Result;
use whydrop_tests::{
    fault::{Direction, XdpDrop, XdpMode, drop_in_tc},
    lab::{Family, topology::NodeLab},
    scenario::{Expected, Scenario, Traffic},
    traffic::Protocol,
};

fn classifier(ifname: &str, direction: Direction, expected: &Expected) -> Result<()> {
    let lab = NodeLab::build()?;
    let expected = expected.clone().at(&lab.node, ifname);
    Family::each(|family| {
        Scenario::new(&lab, &lab.outside, &lab.pod_a, family)
            .fault_on_port(|port| {
                drop_in_tc(&lab.node, ifname, direction, family, Protocol::Tcp, port)
            })
            .drops(&expected)
    })
}

#[test]
fn tc_ingress() -> Result<()> {
    classifier(
        "eth0",
        Direction::Ingress,
        &Expected::new("TC_INGRESS", "__netif_receive_skb_core"),
    )
}

#[test]
fn tc_egress() -> Result<()> {
    classifier(
        "veth-a",
        Direction::Egress,
        &Expected::new("TC_EGRESS", "__dev_queue_xmit"),
    )
}

#[test]
fn tc_ingress_udp() -> Result<()> {
    let lab = NodeLab::build()?;
    Family::each(|family| {
        Scenario::new(&lab, &lab.pod_a, &lab.outside, family)
            .traffic(Traffic::Datagram(100))
            .fault_on_port(|port| {
                let ingress = Direction::Ingress;
                drop_in_tc(&lab.node, "veth-a", ingress, family, Protocol::Udp, port)
            })
            .drops(&Expected::new("TC_INGRESS", "__netif_receive_skb_core").at(&lab.node, "veth-a"))
    })
}

fn xdp(mode: XdpMode, function: &'static str) -> Result<()> {
    let lab = NodeLab::build()?;
    Family::each(|family| {
        // An interface takes one program at a time, so the next one replaces it.
        let attached = RefCell::new(None);
        Scenario::new(&lab, &lab.outside, &lab.pod_a, family)
            .fault_on_port(|port| {
                drop(attached.take());
                let program = XdpDrop::attach(&lab.node, "eth0", mode, family, port)?;
                attached.replace(Some(program));
                Ok(())
            })
            .drops(&Expected::new("NOT_SPECIFIED", function).at(&lab.node, "eth0"))
    })
}

#[test]
fn xdp_native_on_veth() -> Result<()> {
    xdp(XdpMode::Native, "veth_xdp_rcv_skb")
}

#[test]
fn xdp_generic() -> Result<()> {
    xdp(XdpMode::Generic, "do_xdp_generic")
}
