//! MTU: the largest packet that passes is found exactly.

use std::{
    io::Read as _,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use whydrop_tests::{
    fault::{Chain, nft},
    lab::{
        Family, Host,
        topology::{OverlayLab, RouterLab, Underlay},
    },
    probe::Probed,
    record::{Layer, LayerReport, LayerResult, Point},
    traffic::TcpServer,
};

use super::{PORT, probe};

fn narrow(lab: &RouterLab, family: Family, mtu: u32) -> Result<()> {
    let (flag, server) = (family.flag(), lab.server.address(family));
    let route = format!("ip {flag} route replace {server} dev right mtu lock {mtu}");
    lab.router.run(&route).map(drop)
}

/// No router's word comes back.
fn lose_icmp(lab: &RouterLab, family: Family) -> Result<()> {
    let rule = family.pick(
        "icmp type destination-unreachable drop",
        "icmpv6 type packet-too-big drop",
    );
    nft(&lab.router, Chain::inet("output"), rule)
}

/// The host drops echo requests, as many clouds do.
fn ignore_echo(host: &Host) -> Result<()> {
    let rules = "icmp type echo-request drop; icmpv6 type echo-request drop";
    for rule in rules.split("; ") {
        nft(host, Chain::inet("input"), rule)?;
    }
    Ok(())
}

/// The sizes were tried with segments of a connection.
fn by_segments(probed: &Probed) -> Result<()> {
    let row = probed.layer(Layer::Mtu)?;
    let evidence = row.evidence.as_deref().unwrap_or_default();
    let words = ["in TCP segments", "echo requests are not answered"];
    ensure!(
        words.iter().all(|words| evidence.contains(words)) && row.test.contains("nping"),
        "{row:?}"
    );
    Ok(())
}

fn is_exact(layer: &LayerReport, mtu: u32) -> Result<()> {
    let verdict = layer.verdict.as_ref().context("a verdict")?;
    let said = layer.evidence.clone().unwrap_or_default();
    let exact = format!("{mtu} bytes pass");
    ensure!(
        said.contains(&exact) && said.contains(&format!("{} do not", mtu + 1)),
        "{layer:?}"
    );
    let lines: Vec<String> = verdict.fix.iter().map(|fix| fix.line()).collect();
    let set = format!("ip link set dev eth0 mtu {mtu}");
    ensure!(lines.iter().any(|line| line.contains(&set)), "{lines:?}");
    Ok(())
}

/// A router drops large packets, and its ICMP errors are lost.
#[test]
fn black_hole() -> Result<()> {
    Family::at_once(|family| {
        let lab = RouterLab::build()?;
        let server = lab.server.socket(family, PORT);
        let _serving = TcpServer::echo(&lab.server, server)?;
        let run = || probe(&lab, &lab.client, server, family).run();
        run()?.healthy()?;
        let mtu = family.pick(1337, 1381);
        narrow(&lab, family, mtu)?;
        lose_icmp(&lab, family)?;
        let lost = run()?;
        is_exact(lost.fails(Layer::Mtu, Point::Mtu, "")?, mtu)?;
        lost.expect(Layer::Tcp, LayerResult::Ok, "")?;
        Ok(())
    })
}

/// The same router, whose errors arrive: the path MTU is learned, and nothing fails.
#[test]
fn fragmentation_needed() -> Result<()> {
    Family::at_once(|family| {
        let lab = RouterLab::build()?;
        let server = lab.server.socket(family, PORT);
        let _serving = TcpServer::echo(&lab.server, server)?;
        let mtu = family.pick(1337, 1381);
        narrow(&lab, family, mtu)?;
        let told = probe(&lab, &lab.client, server, family).run()?;
        told.healthy()?;
        let words = format!(
            "{mtu} bytes pass to {}; {} answers \"fragmentation needed\", MTU {mtu}",
            server.ip(),
            lab.router.address(family)
        );
        told.expect(Layer::Mtu, LayerResult::Ok, &words)?;
        Ok(())
    })
}

/// Echo requests are filtered: segments of a connection find the black hole as exactly.
#[test]
fn black_hole_without_echo() -> Result<()> {
    Family::at_once(|family| {
        let lab = RouterLab::build()?;
        let server = lab.server.socket(family, PORT);
        let serving = Heard::serve(&lab.server, server)?;
        ignore_echo(&lab.server)?;
        let run = || probe(&lab, &lab.client, server, family).run();
        let healthy = run()?;
        healthy.healthy()?;
        healthy.expect(
            Layer::Mtu,
            LayerResult::Ok,
            "1500 bytes, the MTU of eth0, pass",
        )?;
        by_segments(&healthy)?;
        let mtu = family.pick(1337, 1381);
        narrow(&lab, family, mtu)?;
        lose_icmp(&lab, family)?;
        let lost = run()?;
        is_exact(lost.fails(Layer::Mtu, Point::Mtu, "")?, mtu)?;
        by_segments(&lost)?;
        lost.expect(Layer::Tcp, LayerResult::Ok, "")?;
        ensure!(
            serving.bytes() == 0,
            "the application got {}",
            serving.bytes()
        );
        Ok(())
    })
}

/// Without SACK, no acknowledgment names the segment that came: sizes are tried one by one.
#[test]
fn black_hole_without_echo_and_sack() -> Result<()> {
    let lab = RouterLab::build()?;
    lab.server.sysctl("ipv4/tcp_sack", "0")?;
    let server = lab.server.socket(Family::V4, PORT);
    let _serving = TcpServer::echo(&lab.server, server)?;
    ignore_echo(&lab.server)?;
    let run = || probe(&lab, &lab.client, server, Family::V4).run();
    let healthy = run()?;
    healthy.healthy()?;
    by_segments(&healthy)?;
    narrow(&lab, Family::V4, 1337)?;
    lose_icmp(&lab, Family::V4)?;
    let lost = run()?;
    is_exact(lost.fails(Layer::Mtu, Point::Mtu, "")?, 1337)?;
    by_segments(&lost)
}

/// Echo requests are filtered, and the router's errors arrive: nothing fails.
#[test]
fn fragmentation_needed_without_echo() -> Result<()> {
    Family::at_once(|family| {
        let lab = RouterLab::build()?;
        let server = lab.server.socket(family, PORT);
        let _serving = TcpServer::echo(&lab.server, server)?;
        ignore_echo(&lab.server)?;
        let mtu = family.pick(1337, 1381);
        narrow(&lab, family, mtu)?;
        let probed = probe(&lab, &lab.client, server, family).run()?;
        probed.healthy()?;
        let words = format!(
            "{mtu} bytes pass to {}; {} answers \"fragmentation needed\", MTU {mtu}",
            server.ip(),
            lab.router.address(family)
        );
        probed.expect(Layer::Mtu, LayerResult::Ok, &words)?;
        Ok(())
    })
}

/// The path between two nodes takes less than the pods' MTU and the tunnel's header.
#[test]
fn black_hole_below_vxlan() -> Result<()> {
    Family::at_once(|family| below_vxlan(family, true))
}

/// The same where the pod answers no echo request.
#[test]
fn black_hole_below_vxlan_without_echo() -> Result<()> {
    Family::at_once(|family| below_vxlan(family, false))
}

fn below_vxlan(family: Family, has_echo: bool) -> Result<()> {
    let lab = OverlayLab::build(Underlay::Routed)?;
    let [here, there] = &lab.nodes;
    let server = there.pod.socket(family, PORT);
    let _serving = TcpServer::echo(&there.pod, server)?;
    if !has_echo {
        ignore_echo(&there.pod)?;
    }
    let run = || probe(&lab, &here.pod, server, family).run();
    let healthy = run()?;
    healthy.healthy()?;
    healthy.expect(Layer::Mtu, LayerResult::Ok, "1450 bytes")?;
    healthy.expect(Layer::Overlay, LayerResult::Ok, "through a tunnel")?;
    let router = lab.underlay.as_ref().context("a router")?;
    // Without this, the kernel cuts up what is too large for the way.
    for node in [&here.node, &there.node] {
        node.run("ip link set dev vxlan10 type vxlan df set")?;
    }
    let vtep = there.node.address(Family::V4);
    router.run(&format!("ip route replace {vtep} dev right mtu lock 1400"))?;
    nft(
        router,
        Chain::inet("output"),
        "icmp type destination-unreachable drop",
    )?;
    // Outer headers take 50 bytes: 20 of IPv4, 8 of UDP, 8 of VXLAN and 14 of Ethernet.
    let lost = run()?;
    is_exact(lost.fails(Layer::Mtu, Point::Mtu, "")?, 1350)?;
    if !has_echo {
        by_segments(&lost)?;
    }
    Ok(())
}

/// A server that counts the bytes that its application gets.
struct Heard {
    _server: TcpServer,
    bytes: &'static AtomicU64,
}

impl Heard {
    fn serve(host: &Host, address: SocketAddr) -> Result<Self> {
        // Until the end of the test: each connection has a thread of its own.
        let bytes: &'static AtomicU64 = Box::leak(Box::default());
        let server = TcpServer::serve(host, address, move |mut connection| {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = connection.read(&mut buffer) {
                bytes.fetch_add(count as u64, Ordering::Relaxed);
            }
        })?;
        Ok(Self {
            _server: server,
            bytes,
        })
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}
