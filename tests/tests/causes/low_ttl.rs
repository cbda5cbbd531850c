//! TTL security (GTSM): segments come with a lower TTL than the socket asks for (osrg/gobgp#1357).

use std::{io, net::TcpStream, os::fd::AsRawFd as _};

use anyhow::Result;
use socket2::Socket;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const SERVER: &str = "10.20.2.3:179";

fn ask_for(socket: &Socket, ttl: i32) -> io::Result<()> {
    // SAFETY: the kernel reads an integer, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MINTTL,
            (&raw const ttl).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn answer(mut connection: TcpStream) {
    // The client may be gone by now.
    let _ = io::Write::write_all(&mut connection, b"open");
}

fn trace(ttl: i32, end: End) -> Result<Report> {
    let stage = Stage::routed_pods()?;
    stage.serve_with("b", SERVER, |socket| ask_for(socket, ttl), answer)?;
    stage.trace(["node", "a", "b"], SERVER, |watch| {
        watch.dial("a", SERVER)?.ends(end)
    })
}

#[test]
fn segments_come_from_too_far_away() -> Result<()> {
    let report = trace(254, End::Silent)?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("socket", "confirmed")
            .why("below the minimum")
            .why("port 179")
            .fix("TTL security at the peer"),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    trace(60, End::Answered)?.silent().map(drop)
}
