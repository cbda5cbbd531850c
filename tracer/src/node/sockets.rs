//! Sockets of a network namespace by their local port, and their peers.
//!
//! Read from `/proc/thread-self/net`, which needs no kernel module.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, ErrorKind, Read as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::{Context as _, Result};

use crate::{
    model::Protocol,
    net::sock_diag::{TcpState, tcp_sockets, udp_servers},
};

/// Bytes read of one table. A line has 150: these are some 50,000 sockets.
const MOST: u64 = 8 << 20;

/// A socket, and its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    /// Its own address and port.
    pub(crate) local: SocketAddr,
    /// The other end; unspecified where it talks to anyone.
    pub(crate) remote: SocketAddr,
    /// Whether it is a TCP socket that listens.
    pub(crate) is_listening: bool,
    /// Whether its connection is open; for UDP, whether it is connected.
    pub(crate) is_established: bool,
    /// What waits to be read, as memory in bytes (Recv-Q of `ss`).
    pub(crate) waiting: u64,
    /// Inode number, as in `/proc/PID/fd`.
    pub(crate) inode: u32,
    /// Of a datagram socket: datagrams that found it full so far.
    pub(crate) dropped: Option<u64>,
    /// Options that limit what it takes; `None` if they are unknown.
    pub(crate) options: Option<Options>,
}

/// Options of a socket that limit what it takes. `/proc` does not show them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// The only interface that it takes packets from (`SO_BINDTODEVICE`).
    pub(crate) ifindex: Option<u32>,
    /// Whether an IPv6 socket takes no IPv4 (`IPV6_V6ONLY`).
    pub(crate) ipv6_only: bool,
}

impl Socket {
    /// Whether it talks to one other end only.
    pub(crate) fn is_connected(&self) -> bool {
        self.remote.port() != 0
    }

    /// Whether its own address lets it take packets to this one; `None` if that depends on an option
    /// that is not known.
    pub(crate) fn takes(&self, destination: IpAddr) -> Option<bool> {
        match self.local.ip() {
            ip if !ip.is_unspecified() => Some(ip == destination),
            IpAddr::V6(_) if destination.is_ipv4() => {
                self.options.map(|options| !options.ipv6_only)
            }
            ip => Some(ip.is_ipv4() == destination.is_ipv4()),
        }
    }

    /// What it does not take packets to this address for, as the end of a sentence about it; `None` if
    /// its own address lets it take them, or may do so.
    pub(crate) fn takes_only(&self, destination: IpAddr) -> Option<String> {
        (self.takes(destination) == Some(false)).then_some(())?;
        Some(match self.local.ip() {
            ip if !ip.is_unspecified() => format!("listens on {ip} only, not on {destination}"),
            IpAddr::V4(_) => "takes IPv4 only".to_owned(),
            IpAddr::V6(_) => "takes IPv6 only".to_owned(),
        })
    }
}

/// The sockets with this local port, of the namespace that this thread is in.
///
/// # Errors
///
/// A table cannot be read.
pub(super) fn with_local_port(protocol: Protocol, port: u16) -> Result<Vec<Socket>> {
    let tables = match protocol {
        Protocol::Tcp => ["tcp", "tcp6"],
        Protocol::Udp => ["udp", "udp6"],
        _ => return Ok(Vec::new()),
    };
    let mut found = Vec::new();
    for table in tables {
        let path = format!("/proc/thread-self/net/{table}");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot read {path}")),
        };
        for line in BufReader::new(file.take(MOST)).lines() {
            let line = line.with_context(|| format!("cannot read {path}"))?;
            found.extend(parse(&line).filter(|socket| socket.local.port() == port));
        }
    }
    Ok(found)
}

/// Adds the options of those that take packets from anyone.
///
/// # Errors
///
/// The kernel has no sock_diag for the protocol.
pub(super) fn add_options(sockets: &mut [Socket], protocol: Protocol, port: u16) -> Result<()> {
    let servers = match protocol {
        Protocol::Tcp => tcp_sockets(TcpState::Listen, Some(port))?,
        Protocol::Udp => udp_servers(port)?,
        _ => return Ok(()),
    };
    for server in servers {
        // Several may share address and port, each bound to another interface.
        let same = |socket: &&mut Socket| socket.inode == server.inode;
        for socket in sockets.iter_mut().filter(same) {
            socket.options = Some(Options {
                ifindex: server.ifindex,
                ipv6_only: server.ipv6_only,
            });
        }
    }
    Ok(())
}

/// A line such as `0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 …`: the last of these are the
/// state and the lengths of both queues. The inode number is five fields later, and behind it, of a
/// datagram socket, comes the number of drops.
fn parse(line: &str) -> Option<Socket> {
    /// `TCP_ESTABLISHED`, `TCP_LISTEN` and `TCP_TIME_WAIT` of include/net/tcp_states.h. A UDP socket
    /// has the first one where it is connected, and never the others.
    const ESTABLISHED: &str = "01";
    const LISTEN: &str = "0A";
    const TIME_WAIT: &str = "06";
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = address(fields.next()?)?;
    let remote = address(fields.next()?)?;
    let state = fields.next()?;
    let (_, waiting) = fields.next()?.split_once(':')?;
    let inode = fields.nth(4)?.parse().ok()?;
    // No one waits there any more, and a new connection may have the same port.
    (state != TIME_WAIT).then_some(Socket {
        local,
        remote,
        is_listening: state == LISTEN,
        is_established: state == ESTABLISHED,
        waiting: u64::from_str_radix(waiting, 16).ok()?,
        inode,
        dropped: fields.nth(2).and_then(|drops| drops.parse().ok()),
        options: None,
    })
}

/// `0100007F:1F90`: words of the address in host byte order, the port in hexadecimal.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok();
    let ip = match ip.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?.to_ne_bytes())),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?].map(u32::to_ne_bytes);
            let octets = <[u8; 16]>::try_from(words.as_flattened()).ok()?;
            Ipv6Addr::from(octets).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn sockets_of_this_process_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let found = with_local_port(Protocol::Tcp, local.port()).unwrap();
        let own = found.iter().find(|socket| socket.local == local).unwrap();
        assert!(own.is_listening && !own.is_connected());

        let server = UdpSocket::bind("[::1]:0").unwrap();
        let client = UdpSocket::bind("[::1]:0").unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        let local = client.local_addr().unwrap();
        let found = with_local_port(Protocol::Udp, local.port()).unwrap();
        let own = found.iter().find(|socket| socket.local == local).unwrap();
        assert_eq!(own.remote, server.local_addr().unwrap());
    }

    #[test]
    fn options_are_those_of_the_same_socket() {
        let dual = TcpListener::bind("[::]:0").unwrap();
        let port = dual.local_addr().unwrap().port();
        let mut found = with_local_port(Protocol::Tcp, port).unwrap();
        assert!(found.iter().all(|socket| socket.options.is_none()));
        add_options(&mut found, Protocol::Tcp, port).unwrap();
        let own = found.iter().find(|socket| socket.is_listening).unwrap();
        assert_eq!(own.options, Some(Options::default()));
    }

    #[test]
    fn a_line_says_what_waits() {
        let line = " 1201: 0203140A:0035 00000000:0000 07 00000000:00000340 00:00000000 00000000     \
                    0        0 91215 2 00000000b2f5e3a0 7";
        let socket = parse(line).unwrap();
        assert_eq!(socket.local.port(), 53);
        assert_eq!((socket.waiting, socket.inode), (0x340, 91215));
        assert_eq!(socket.dropped, Some(7));
    }

    #[test]
    fn an_address_takes_its_own_family() {
        let socket = |local: &str, ipv6_only: Option<bool>| Socket {
            local: local.parse().unwrap(),
            remote: "0.0.0.0:0".parse().unwrap(),
            is_listening: false,
            is_established: false,
            waiting: 0,
            inode: 1,
            dropped: Some(0),
            options: ipv6_only.map(|ipv6_only| Options {
                ipv6_only,
                ..Options::default()
            }),
        };
        let (v4, v6) = ([10, 0, 0, 1].into(), "fd00::1".parse().unwrap());
        for (local, ipv6_only, takes_v4, takes_v6) in [
            ("0.0.0.0:53", None, Some(true), Some(false)),
            ("[::]:53", Some(false), Some(true), Some(true)),
            ("[::]:53", Some(true), Some(false), Some(true)),
            ("[::]:53", None, None, Some(true)),
            ("10.0.0.1:53", None, Some(true), Some(false)),
            ("10.0.0.2:53", None, Some(false), Some(false)),
            ("[fd00::1]:53", Some(false), Some(false), Some(true)),
        ] {
            let socket = socket(local, ipv6_only);
            assert_eq!(socket.takes(v4), takes_v4, "{local} {ipv6_only:?}");
            assert_eq!(socket.takes(v6), takes_v6, "{local} {ipv6_only:?}");
        }
    }

    #[test]
    fn no_line_makes_it_panic() {
        for line in [
            "",
            "0:",
            "0: zz:1 1:2 0A",
            "0: 0100007F:1F90",
            "a b c d",
            "0: é:1 é:2 0A",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
