//! A segment whose TCP timestamp is older than what its receiver has seen before of this tuple (PAWS, RFC
//! 7323), as when several hosts share one address behind NAT.

use std::{
    fs,
    io::{self, Read},
    net::{SocketAddrV4, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::Result;
use nix::time::{ClockId, clock_gettime};
use socket2::{Domain, Socket, Type};
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{Report, Stage},
    kernel, poll_until,
    traffic::{Flow, ForgedSegment, Protocol, numbers},
};

const SERVER: &str = "10.20.2.3:8080";
const CLIENT: &str = "10.20.2.2:40000";
/// So much older than what was sent last, in milliseconds.
const OLD: u32 = 100_000;

/// A client and a server, and both ends of a connection between them.
fn connected() -> Result<(Stage, TcpStream, TcpStream)> {
    let stage = Stage::new(["a", "b"])?;
    stage.veth(("a", "eth0"), ("b", "eth0"))?;
    stage.ip("a", "addr add 10.20.2.2/24 dev eth0")?;
    stage.ip("b", "addr add 10.20.2.3/24 dev eth0")?;
    // Timestamps are the time since the machine has started, without an offset.
    stage.sysctl("a", "net.ipv4.tcp_timestamps=2")?;
    let listener = stage.enter("b", || TcpListener::bind(SERVER))?;
    let client = stage.enter("a", || -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&address(CLIENT)?.into())?;
        socket.connect(&address(SERVER)?.into())?;
        Ok(socket)
    })?;
    let (server, _) = listener.accept()?;
    stage.keep(listener);
    Ok((stage, client.into(), server))
}

fn address(text: &str) -> io::Result<SocketAddrV4> {
    text.parse().map_err(io::Error::other)
}

fn flow() -> Result<Flow> {
    Ok(Flow {
        protocol: Protocol::Tcp,
        src: address(CLIENT)?.into(),
        dst: address(SERVER)?.into(),
    })
}

/// The client's timestamp of so many milliseconds ago.
fn timestamp(ago: u32) -> Result<u32> {
    let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
    // They wrap around.
    Ok((now.as_millis() as u32).wrapping_sub(ago))
}

/// Data on an open connection, with the timestamp of a while ago.
fn established(ago: u32, is_taken: bool) -> Result<Report> {
    let (stage, client, mut server) = connected()?;
    let (seq, ack) = numbers(&client)?;
    let segment = ForgedSegment::of(flow()?, seq)?
        .acknowledging(ack)
        .with_checksum();
    let report = stage.trace(["b"], SERVER, |watch| {
        let segment = segment.at(timestamp(ago)?);
        segment.send(watch.stage().namespace("a"))?;
        if is_taken {
            server.read_exact(&mut [0; 100])?;
            return Ok(());
        }
        watch.until_drop()
    });
    stage.keep((client, server));
    report
}

/// A SYN to a socket in TIME_WAIT, with the timestamp of a while ago.
fn in_time_wait(ago: u32, is_taken: bool) -> Result<Report> {
    let (stage, mut client, server) = connected()?;
    drop(server);
    client.read_to_end(&mut Vec::new())?;
    drop(client);
    poll_until("the socket to wait", || {
        let sockets = stage.enter("b", || fs::read_to_string("/proc/thread-self/net/tcp"));
        // 8080, the client's port, and TIME_WAIT.
        let is_waiting = |line: &str| line.contains(":1F90 ") && line.contains(":9C40 06");
        sockets.ok()?.lines().any(is_waiting).then_some(())
    })?;
    let segment = ForgedSegment::syn(flow()?, 7)?.with_checksum();
    stage.trace(["b"], SERVER, |watch| {
        let segment = segment.at(timestamp(ago)?);
        segment.send(watch.stage().namespace("a"))?;
        match is_taken {
            true => watch.until("an outcome", |record| record.as_attempt().is_some()),
            false => watch.until_drop(),
        }
    })
}

fn older(why: &str) -> ExpectedVerdict {
    ExpectedVerdict::new("socket", "confirmed")
        .why(why)
        .why("PAWS")
        .fix("share its ports")
}

#[test]
fn on_an_open_connection() -> Result<()> {
    established(OLD, false)?.verdict(&older("older than the last one on this connection"))?;
    Ok(())
}

#[test]
fn at_a_socket_that_waits() -> Result<()> {
    let newest = ("TCP_RFC7323_TW_PAWS", "tcp_v4_rcv");
    if kernel::shown(newest) != newest {
        return Ok(());
    }
    in_time_wait(OLD, false)?.verdict(&older("a TIME_WAIT socket of this very tuple"))?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    established(0, true)?.silent()?;
    in_time_wait(0, true)?.silent().map(drop)
}
