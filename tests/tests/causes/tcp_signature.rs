//! A TCP signature (MD5, RFC 2385) that is missing, unexpected or made with another key
//! (osrg/gobgp#2573, metallb/metallb#1125).

use std::{io, net::SocketAddrV4, os::fd::AsRawFd as _, time::Duration};

use anyhow::Result;
use socket2::{Domain, Socket, Type};
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{Report, Stage},
};

const SERVER: &str = "10.20.2.3:179";

/// Has a socket sign what it sends to an address, and take nothing else from there.
fn sign(socket: &Socket, peer: [u8; 4], key: &[u8]) -> io::Result<()> {
    /// `struct tcp_md5sig` of include/uapi/linux/tcp.h: an address of 128 bytes, flags, a prefix, the
    /// key's length, an interface, and the key.
    const LEN: usize = 216;
    let mut option = [0_u8; LEN];
    option[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    option[4..8].copy_from_slice(&peer);
    let len = u16::try_from(key.len()).map_err(io::Error::other)?;
    option[130..132].copy_from_slice(&len.to_ne_bytes());
    option[136..136 + key.len()].copy_from_slice(key);
    // SAFETY: the kernel reads `LEN` bytes, which outlive the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_MD5SIG,
            option.as_ptr().cast(),
            LEN as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Both ends' passwords.
fn trace(server: Option<&[u8]>, client: Option<&[u8]>) -> Result<Report> {
    let stage = Stage::routed_pods()?;
    let set_up = |socket: &Socket| match server {
        Some(key) => sign(socket, [10, 20, 1, 2], key),
        None => Ok(()),
    };
    stage.serve_with("b", SERVER, set_up, drop)?;
    stage.trace(["node", "a", "b"], SERVER, |watch| {
        let socket = watch.stage().enter("a", || -> io::Result<Socket> {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            if let Some(key) = client {
                sign(&socket, [10, 20, 2, 3], key)?;
            }
            let server: SocketAddrV4 = SERVER.parse().map_err(io::Error::other)?;
            // It does not end where the server takes nothing.
            match socket.connect_timeout(&server.into(), Duration::from_millis(200)) {
                Err(error) if error.kind() != io::ErrorKind::TimedOut => Err(error),
                _ => Ok(socket),
            }
        })?;
        if server != client {
            watch.until_drop()?;
        }
        watch.until("the attempt's outcome", |record| {
            record.as_attempt().is_some()
        })?;
        drop(socket);
        watch.until_all_closed()
    })
}

#[track_caller]
fn check(server: Option<&[u8]>, client: Option<&[u8]>, why: &str, fix: &str) -> Result<()> {
    let report = trace(server, client)?;
    let expected = ExpectedVerdict::new("socket", "confirmed")
        .why(why)
        .fix(fix);
    report.verdict(&expected)?;
    Ok(())
}

#[test]
fn missing() -> Result<()> {
    let why = "has no TCP MD5 signature, and the socket wants one";
    check(
        Some(b"secret"),
        None,
        why,
        "at the sender: set the same password",
    )
}

#[test]
fn unexpected() -> Result<()> {
    let why = "has a TCP MD5 signature, and the socket has no key for this peer";
    check(
        None,
        Some(b"secret"),
        why,
        "set the same password on this side",
    )
}

#[test]
fn of_another_key() -> Result<()> {
    let why = "the keys differ";
    check(Some(b"secret"), Some(b"other"), why, "on both sides")
}

#[test]
fn healthy() -> Result<()> {
    trace(Some(b"secret"), Some(b"secret"))?.silent()?;
    trace(None, None)?.silent().map(drop)
}
