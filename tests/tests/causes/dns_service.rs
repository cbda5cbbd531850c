//! A node that translates the address of a DNS Service, and a client that keeps its port.

use std::net::{Ipv4Addr, UdpSocket};

use anyhow::Result;
use whydrop_tests::incident::Stage;

pub(super) const SERVICE: &str = "10.20.96.53:53";
/// The client keeps its port.
pub(super) const PORT: u16 = 5353;

/// A pod on a node that leads to another pod, and to a router that swallows Services' addresses.
pub(super) fn stage() -> Result<Stage> {
    let mut stage = Stage::routed_pods()?;
    stage.add("up")?;
    stage.veth(("node", "eth0"), ("up", "n0"))?;
    stage.ip(
        "node",
        "addr add 10.20.10.5/24 dev eth0; route add default via 10.20.10.1",
    )?;
    stage.ip(
        "up",
        "addr add 10.20.10.1/24 dev n0; route add blackhole 10.20.96.0/24",
    )?;
    stage.serve_dns("b", "10.20.2.3:53")?;
    Ok(stage)
}

pub(super) fn translate_to(stage: &Stage, action: &str, to: &str) -> Result<()> {
    stage.exec(
        "node",
        &format!(
            "iptables -t nat {action} -d 10.20.96.53/32 -p udp --dport 53 -j DNAT --to-destination {to}"
        ),
    )?;
    Ok(())
}

/// The client's first datagram makes the entry.
pub(super) fn make_entry(stage: &Stage) -> Result<()> {
    let socket = stage.enter("a", || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)))?;
    socket.send_to(b"anything but a query", SERVICE)?;
    Ok(())
}
