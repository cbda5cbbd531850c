//! MTU: the largest packet that passes is found exactly.

use std::{
    io::Read as _,
    net::{SocketAddr, TcpStream},
    os::fd::AsRawFd as _,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use socket2::SockRef;
use whydrop_tests::{
    fault::{Chain, nft},
    lab::{
        Family, Host,
        topology::{OverlayLab, RouterLab, Underlay},
    },
    poll_until,
    probe::Probed,
    record::{Layer, LayerReport, LayerResult, Point},
    traffic::TcpServer,
};

use super::{PORT, ignore_echo, lose_icmp, narrow, probe};

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
    Family::at_once(|family| reported(family, true))
}

/// The same where echo requests are filtered.
#[test]
fn fragmentation_needed_without_echo() -> Result<()> {
    Family::at_once(|family| reported(family, false))
}

fn reported(family: Family, has_echo: bool) -> Result<()> {
    let lab = RouterLab::build()?;
    let server = lab.server.socket(family, PORT);
    let _serving = TcpServer::echo(&lab.server, server)?;
    if !has_echo {
        ignore_echo(&lab.server)?;
    }
    let mtu = family.pick(1337, 1381);
    narrow(&lab, family, mtu)?;
    let probed = probe(&lab, &lab.client, server, family).run()?;
    probed.healthy()?;
    let words = format!(
        "{mtu} bytes pass to {}; {} answers \"{}\", MTU {mtu}",
        server.ip(),
        lab.router.address(family),
        family.pick("fragmentation needed", "packet too big")
    );
    probed.expect(Layer::Mtu, LayerResult::Ok, &words)?;
    Ok(())
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
        healthy.expect(
            Layer::Firewall,
            LayerResult::Ok,
            "echo requests are filtered",
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

/// The server resets the connection in the midst of the search: what was not acknowledged then is not
/// taken for lost.
#[test]
fn reset_in_the_midst() -> Result<()> {
    let lab = RouterLab::build()?;
    let server = lab.server.socket(Family::V4, PORT);
    ignore_echo(&lab.server)?;
    let run = || probe(&lab, &lab.client, server, Family::V4).run();
    {
        let _serving = TcpServer::echo(&lab.server, server)?;
        let healthy = run()?;
        healthy.healthy()?;
        by_segments(&healthy)?;
    }
    narrow(&lab, Family::V4, 1337)?;
    lose_icmp(&lab, Family::V4)?;
    let _serving = TcpServer::serve(&lab.server, server, |connection| reset_later(&connection))?;
    let reset = run()?;
    reset.healthy()?;
    let words = format!("the connection to {server} was reset after");
    let row = reset.expect(Layer::Mtu, LayerResult::Skipped, &words)?;
    ensure!(row.verdict.is_none(), "{row:?}");
    Ok(())
}

/// Resets a connection once it has brought a few segments, of which its reader sees no byte.
fn reset_later(connection: &TcpStream) {
    let is_enough = || {
        let closed = connection.peek(&mut [0]).is_ok_and(|count| count == 0);
        (closed || segments_in(connection).is_ok_and(|count| count >= 5)).then_some(())
    };
    if connection.set_nonblocking(true).is_ok() && poll_until("segments", is_enough).is_ok() {
        // With nothing left to linger for, closing resets.
        let _ = SockRef::from(connection).set_linger(Some(Duration::ZERO));
    }
}

/// How many segments a connection has brought (`tcpi_segs_in`).
fn segments_in(connection: &TcpStream) -> Result<u32> {
    // SAFETY: all fields are numbers, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut size = libc::socklen_t::try_from(size_of_val(&info))?;
    // SAFETY: the option fills in no more than `size` bytes of a structure that lives until after the
    // call.
    let result = unsafe {
        libc::getsockopt(
            connection.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut size,
        )
    };
    ensure!(result == 0, "{}", std::io::Error::last_os_error());
    Ok(info.tcpi_segs_in)
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
