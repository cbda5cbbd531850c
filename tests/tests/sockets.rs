//! Packets that reach their host and find nobody there.

use anyhow::Result;
use whydrop_tests::{
    lab::{Family, topology::NodeLab},
    scenario::{End, Expected, Scenario, Traffic},
};

#[test]
fn closed_tcp_port() -> Result<()> {
    let lab = NodeLab::build()?;
    Family::each(|family| {
        Scenario::new(&lab, &lab.outside, &lab.pod_a, family)
            .ends(End::Refused)
            .drops(
                &Expected::new("NO_SOCKET", family.pick("tcp_v4_rcv", "tcp_v6_rcv"))
                    .at(&lab.pod_a, "eth0"),
            )
    })
}

#[test]
fn closed_udp_port() -> Result<()> {
    let lab = NodeLab::build()?;
    Family::each(|family| {
        Scenario::new(&lab, &lab.outside, &lab.pod_a, family)
            .traffic(Traffic::Datagram(100))
            .drops(
                &Expected::new("NO_SOCKET", family.pick("__udp4_lib_rcv", "__udp6_lib_rcv"))
                    .at(&lab.pod_a, "eth0"),
            )
    })
}
