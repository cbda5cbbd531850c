//! Connection refused though `ss -l` shows a listener: it is bound to another device or to another
//! address (FRRouting/frr#2174, kubernetes/website#7281).

use std::{
    io::{Read as _, Write as _},
    net::{TcpStream, UdpSocket},
};

use anyhow::{Result, ensure};
use socket2::SockRef;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

fn open(mut connection: TcpStream) {
    // The client may be gone by now.
    let _ = connection.read(&mut [0; 10]);
    let _ = connection.write_all(b"open");
}

/// A router with a listener that takes connections by `eth1` only, and one on the loopback.
fn router() -> Result<Stage> {
    let stage = Stage::new(["c1", "c2", "router"])?;
    stage.veth(("c1", "eth0"), ("router", "eth0"))?;
    stage.veth(("c2", "eth0"), ("router", "eth1"))?;
    stage.ip(
        "router",
        "addr add 10.20.1.1/24 dev eth0; addr add 10.20.2.1/24 dev eth1",
    )?;
    stage.ip(
        "c1",
        "addr add 10.20.1.2/24 dev eth0; route add default via 10.20.1.1",
    )?;
    stage.ip(
        "c2",
        "addr add 10.20.2.2/24 dev eth0; route add default via 10.20.2.1",
    )?;
    let bind = |socket: &socket2::Socket| socket.bind_device(Some(b"eth1"));
    stage.serve_with("router", "0.0.0.0:179", bind, open)?;
    stage.serve("router", "127.0.0.1:8081")?;
    Ok(stage)
}

fn trace(client: &str, peer: &str, end: End) -> Result<Report> {
    router()?.trace(["router"], peer, |watch| {
        watch.dial(client, peer)?.ends(end)
    })
}

#[test]
fn listener_of_another_device() -> Result<()> {
    let report = trace("c1", "10.20.1.1:179", End::Refused)?;
    report
        .outcome("refused")?
        .verdict(&ExpectedVerdict::any_of(["socket"]).names("eth1"))?;
    Ok(())
}

#[test]
fn listener_of_another_address() -> Result<()> {
    let report = trace("c1", "10.20.1.1:8081", End::Refused)?;
    report
        .outcome("refused")?
        .verdict(&ExpectedVerdict::any_of(["socket"]).names("127.0.0.1"))?;
    Ok(())
}

#[test]
fn datagram_socket_of_another_address() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.serve_dns("b", "127.0.0.1:53")?;
    let report = stage.trace(["node", "b"], "10.20.2.3:53", |watch| {
        watch.ask("a", "10.20.2.3:53")?.ends(End::Refused)
    })?;
    report
        .outcome("rejected")?
        .verdict(&ExpectedVerdict::any_of(["socket"]).names("127.0.0.1"))?;
    Ok(())
}

#[test]
fn healthy_by_its_own_device() -> Result<()> {
    trace("c2", "10.20.2.1:179", End::Answered)?
        .silent()
        .map(drop)
}

#[test]
fn listener_of_the_other_family() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.sysctl("b", "net.ipv6.bindv6only=1")?;
    stage.serve("b", "[::]:8080")?;
    let report = stage.trace(["node", "b"], "10.20.2.3:8080", |watch| {
        watch.dial("a", "10.20.2.3:8080")?.ends(End::Refused)
    })?;
    report
        .outcome("refused")?
        .verdict(&ExpectedVerdict::new("socket", "confirmed").why("takes IPv6 only"))?;
    Ok(())
}

/// The same address, and it takes both families.
#[test]
fn healthy_on_both_families() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.serve("b", "[::]:8080")?;
    let report = stage.trace(["node", "b"], "10.20.2.3:8080", |watch| {
        watch.dial("a", "10.20.2.3:8080")?.ends(End::Answered)
    })?;
    report.silent().map(drop)
}

/// A server that starts a moment after the client has called.
#[test]
fn listener_of_both_families_that_was_opened_since() -> Result<()> {
    let stage = Stage::routed_pods()?;
    let report = stage.trace(["node", "b"], "10.20.2.3:8080", |watch| {
        watch.before_it_looks(|stage| {
            let refused = stage.enter("a", || TcpStream::connect("10.20.2.3:8080"));
            ensure!(refused.is_err(), "there was a server");
            stage.serve("b", "[::]:8080")
        })?;
        watch.until("an outcome", |record| record.as_attempt().is_some())
    })?;
    report.outcome("refused")?.verdict(
        &ExpectedVerdict::new("socket", "likely")
            .why("was opened since")
            .never_says(["takes IPv6 only"]),
    )?;
    Ok(())
}

fn datagrams_by_another_device(address: &str) -> Result<()> {
    let stage = Stage::routed_pods()?;
    let socket = stage.enter("b", || {
        let socket = UdpSocket::bind(address)?;
        SockRef::from(&socket).bind_device(Some(b"lo"))?;
        std::io::Result::Ok(socket)
    })?;
    stage.keep(socket);
    let report = stage.trace(["node", "b"], "10.20.2.3:53", |watch| {
        watch.ask("a", "10.20.2.3:53")?.ends(End::Refused)
    })?;
    report.outcome("rejected")?.verdict(
        &ExpectedVerdict::new("socket", "confirmed")
            .why("bound to lo")
            .never_says(["takes IPv6 only"]),
    )?;
    Ok(())
}

#[test]
fn datagram_socket_of_another_device() -> Result<()> {
    datagrams_by_another_device("0.0.0.0:53")
}

#[test]
fn datagram_socket_of_both_families_and_another_device() -> Result<()> {
    datagrams_by_another_device("[::]:53")
}
