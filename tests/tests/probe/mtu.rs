//! MTU: the largest packet that passes is found exactly.

use anyhow::{Context as _, Result, ensure};
use whydrop_tests::{
    fault::{Chain, nft},
    lab::{
        Family,
        topology::{OverlayLab, RouterLab, Underlay},
    },
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

/// The path between two nodes takes less than the pods' MTU and the tunnel's header.
#[test]
fn black_hole_below_vxlan() -> Result<()> {
    Family::at_once(|family| {
        let lab = OverlayLab::build(Underlay::Routed)?;
        let [here, there] = &lab.nodes;
        let server = there.pod.socket(family, PORT);
        let _serving = TcpServer::echo(&there.pod, server)?;
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
        is_exact(run()?.fails(Layer::Mtu, Point::Mtu, "")?, 1350)
    })
}
