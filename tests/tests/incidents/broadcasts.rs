//! Broadcasts that no process receives are part of every network; a datagram for one host is not.

use std::net::UdpSocket;

use anyhow::{Result, ensure};
use whydrop_tests::incident::Stage;

const PORT: u16 = 9999;

#[test]
fn only_the_datagram_for_one_host_is_reported() -> Result<()> {
    let stage = Stage::new(["a", "b"])?;
    stage.veth(("a", "eth0"), ("b", "eth0"))?;
    stage.ip(
        "a",
        "addr add 10.20.1.2/24 brd + dev eth0; route add default dev eth0",
    )?;
    stage.ip("b", "addr add 10.20.1.3/24 brd + dev eth0")?;
    let report = stage.trace(["a", "b"], "--all", |watch| {
        let socket = stage.enter("a", || UdpSocket::bind("10.20.1.2:0"))?;
        socket.set_broadcast(true)?;
        for to in ["10.20.1.255", "255.255.255.255", "10.20.1.3"] {
            socket.send_to(b"who is there?", (to, PORT))?;
        }
        watch.until_drop()
    })?;
    let trace = report.trace();
    ensure!(trace.summary.noise >= 2, "{:?}", trace.summary);
    let mut shown = trace.drops().map(|drop| drop.flow.dst.to_string());
    ensure!(shown.all(|dst| dst == "10.20.1.3"), "{report}");
    Ok(())
}
