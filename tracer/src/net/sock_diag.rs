//! TCP and UDP sockets of a network namespace (`NETLINK_SOCK_DIAG`).

use std::{
    mem::offset_of,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::{Context as _, Result};

use super::{
    message::{Message, Request, u32_at},
    netlink::Netlink,
    subsystem::Subsystem,
};

/// Numbers and lengths of include/uapi/linux/{sock_diag,inet_diag}.h.
mod diag {
    pub(super) const SOCK_DIAG_BY_FAMILY: u16 = 20;
    /// Length of `struct inet_diag_req_v2`.
    pub(super) const REQUEST: usize = 56;
    /// Length of `struct inet_diag_msg`.
    pub(super) const FIXED: usize = 72;
    pub(super) const INFO: u16 = 2;
    pub(super) const SKMEMINFO: u16 = 7;
    pub(super) const SKV6ONLY: u16 = 11;
    pub(super) const SOCKOPT: u16 = 22;
    /// `transparent` of `struct inet_diag_sockopt`, a bit field.
    pub(super) const TRANSPARENT: u8 = if cfg!(target_endian = "little") {
        1 << 5
    } else {
        1 << 2
    };
    /// The place of `SK_MEMINFO_DROPS` among the numbers of `SKMEMINFO`.
    pub(super) const DROPS: usize = 8;
    /// `idiag_timer` of a packet that waits to be sent again.
    pub(super) const RETRANSMIT: u8 = 1;
    /// `TCP_CLOSE` of include/net/tcp_states.h: the state of a UDP socket that is not connected.
    pub(super) const UNCONNECTED: u8 = 7;
}

/// The state of TCP sockets that are asked for (`TCP_…` of include/net/tcp_states.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum TcpState {
    /// A connection that is open.
    Established = 1,
    /// A SYN came and was answered.
    SynReceived = 3,
    /// A connection that the other end has closed.
    CloseWait = 8,
    /// It takes connections.
    Listen = 10,
}

/// A TCP or UDP socket. An IPv4 address that is mapped to IPv6 is shown as an IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InetSocket {
    /// Its own address.
    pub(crate) local: SocketAddr,
    /// The other end.
    pub(crate) remote: SocketAddr,
    /// Whether it is a socket of IPv6.
    pub(crate) is_ipv6: bool,
    /// Whether it takes IPv6 only.
    pub(crate) ipv6_only: bool,
    /// The interface that it is bound to.
    pub(crate) ifindex: Option<u32>,
    /// Whether it takes packets for addresses of other hosts (`IP_TRANSPARENT`); `None` if the
    /// kernel does not say.
    pub(crate) is_transparent: Option<bool>,
    /// How often its last packet was sent again so far; 0 if it does not wait for an answer.
    pub(crate) retransmits: u8,
    /// Of a listener: connections that wait to be accepted. Of a connection: bytes that wait to be read.
    pub(crate) recv_queue: u32,
    /// Of a connection: how long ago the last data came in, in milliseconds; `None` if the kernel does
    /// not say.
    pub(crate) last_data: Option<u32>,
    /// Of a listener: its backlog.
    pub(crate) send_queue: u32,
    /// Packets that it dropped so far; `None` if the kernel does not say.
    pub(crate) drops: Option<u32>,
    /// User id of its owner.
    pub(crate) uid: u32,
    /// Its inode number, as in `/proc/PID/fd`.
    pub(crate) inode: u32,
    /// The kernel's number for it, never used twice in its namespace.
    pub(crate) cookie: u64,
}

/// The TCP sockets in this state, of the namespace that this thread is in, IPv4 and IPv6; if a port
/// is given, only those of that local port.
///
/// # Errors
///
/// The kernel has no sock_diag for TCP, or would load it.
pub(crate) fn tcp_sockets(state: TcpState, port: Option<u16>) -> Result<Vec<InetSocket>> {
    Subsystem::TcpSockets
        .require()
        .context("cannot list TCP sockets with sock_diag")?;
    list(libc::IPPROTO_TCP, state as u8, port).context("cannot list TCP sockets with sock_diag")
}

/// The TCP connections to this address and port, in whatever state, of the namespace that this thread is in.
///
/// # Errors
///
/// The kernel has no sock_diag for TCP, or would load it.
pub(crate) fn tcp_connections_to(remote: SocketAddr) -> Result<Vec<InetSocket>> {
    // All of `TCP_…` but TCP_CLOSE, TCP_LISTEN and TCP_NEW_SYN_RECV.
    const STATES: u32 = 0xffe & !(1 << 7) & !(1 << 10);
    Subsystem::TcpSockets
        .require()
        .context("cannot list TCP sockets with sock_diag")?;
    let netlink = Netlink::sock_diag().context("cannot open a sock_diag socket")?;
    let family = if remote.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let question = request(
        family,
        libc::IPPROTO_TCP,
        STATES,
        (None, Some(remote.port())),
    );
    let mut found = netlink.dump(&question, socket)?;
    found.retain(|socket: &InetSocket| socket.remote == remote);
    Ok(found)
}

/// The UDP sockets of this local port that are not connected, of the namespace that this thread is
/// in, IPv4 and IPv6.
///
/// # Errors
///
/// The kernel has no sock_diag for UDP, or would load it.
pub(crate) fn udp_servers(port: u16) -> Result<Vec<InetSocket>> {
    Subsystem::UdpSockets
        .require()
        .context("cannot list UDP sockets with sock_diag")?;
    list(libc::IPPROTO_UDP, diag::UNCONNECTED, Some(port))
        .context("cannot list UDP sockets with sock_diag")
}

fn list(protocol: i32, state: u8, port: Option<u16>) -> Result<Vec<InetSocket>> {
    let netlink = Netlink::sock_diag().context("cannot open a sock_diag socket")?;
    let mut found = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let question = request(family, protocol, 1 << state, (port, None));
        found.extend(netlink.dump(&question, socket)?);
    }
    Ok(found)
}

/// `struct inet_diag_req_v2`. The states are a bit each; the ports are the own one and the other end's.
fn request(
    family: i32,
    protocol: i32,
    states: u32,
    (port, remote): (Option<u16>, Option<u16>),
) -> Request {
    let mut fixed = [0; diag::REQUEST];
    fixed[0] = family as u8;
    fixed[1] = protocol as u8;
    fixed[2] = 1 << (diag::SKMEMINFO - 1);
    let open = 1 << TcpState::Established as u8 | 1 << TcpState::CloseWait as u8;
    if states & !open == 0 {
        fixed[2] |= 1 << (diag::INFO - 1);
    }
    fixed[4..8].copy_from_slice(&states.to_ne_bytes());
    fixed[8..10].copy_from_slice(&port.unwrap_or(0).to_be_bytes());
    fixed[10..12].copy_from_slice(&remote.unwrap_or(0).to_be_bytes());
    Request::new(diag::SOCK_DIAG_BY_FAMILY, &fixed)
}

/// `struct inet_diag_msg`
pub(super) fn socket(message: &Message<'_>) -> Option<InetSocket> {
    if message.kind != diag::SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let family = i32::from(message.u8_at(0)?);
    let end = |port_at, address_at| -> Option<SocketAddr> {
        let port = message.u16_at(port_at).map(u16::from_be)?;
        let address = address(message.payload.get(address_at..address_at + 16)?, family)?;
        Some(SocketAddr::new(address, port))
    };
    let all = message.attributes(diag::FIXED);
    let memory = all.get(diag::SKMEMINFO);
    let cookie = message.payload.get(44..52)?;
    Some(InetSocket {
        local: end(4, 8)?,
        remote: end(6, 24)?,
        is_ipv6: family == libc::AF_INET6,
        ipv6_only: all.is_set(diag::SKV6ONLY),
        ifindex: message.u32_at(40).filter(|ifindex| *ifindex != 0),
        is_transparent: all
            .u8(diag::SOCKOPT)
            .map(|options| options & diag::TRANSPARENT != 0),
        retransmits: match message.u8_at(2)? {
            diag::RETRANSMIT => message.u8_at(3)?,
            _ => 0,
        },
        recv_queue: message.u32_at(56)?,
        last_data: all
            .get(diag::INFO)
            .and_then(|info| u32_at(info, offset_of!(libc::tcp_info, tcpi_last_data_recv))),
        send_queue: message.u32_at(60)?,
        drops: memory.and_then(|memory| u32_at(memory, 4 * diag::DROPS)),
        uid: message.u32_at(64)?,
        inode: message.u32_at(68)?,
        cookie: u64::from_ne_bytes(cookie.try_into().ok()?),
    })
}

fn address(bytes: &[u8], family: i32) -> Option<IpAddr> {
    match family {
        libc::AF_INET => {
            let octets = <[u8; 4]>::try_from(bytes.get(..4)?).ok()?;
            Some(Ipv4Addr::from(octets).into())
        }
        libc::AF_INET6 => {
            let octets = <[u8; 16]>::try_from(bytes).ok()?;
            Some(Ipv6Addr::from(octets).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn lists_only_the_port_asked_for() {
        let one = TcpListener::bind("127.0.0.1:0").unwrap();
        let _other = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = one.local_addr().unwrap();
        let found = tcp_sockets(TcpState::Listen, Some(address.port())).unwrap();
        let [found] = found.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!(found.local, address);
        assert!(found.send_queue > 0 && found.inode > 0);
        assert_eq!(found.drops, Some(0));
        assert!(!found.is_ipv6);
    }

    #[test]
    fn shows_which_families_a_datagram_socket_takes() {
        let dual = UdpSocket::bind("[::]:0").unwrap();
        let port = dual.local_addr().unwrap().port();
        // A connected socket is no server.
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(("127.0.0.1", port)).unwrap();
        let found = udp_servers(port).unwrap();
        let [found] = found.as_slice() else {
            panic!("{found:?}");
        };
        assert!(found.is_ipv6 && !found.ipv6_only);
        let connected = client.local_addr().unwrap().port();
        assert_eq!(udp_servers(connected).unwrap(), []);
    }

    #[test]
    fn a_mapped_ipv4_address_is_ipv4() {
        let mapped = "::ffff:10.0.0.1".parse::<Ipv6Addr>().unwrap();
        let shown = address(&mapped.octets(), libc::AF_INET6);
        assert_eq!(shown, Some(IpAddr::from([10, 0, 0, 1])));
    }

    #[test]
    fn a_short_message_is_no_socket() {
        let mut fixed = [0; diag::FIXED];
        fixed[0] = libc::AF_INET as u8;
        for length in 0..diag::FIXED {
            let request = Request::new(diag::SOCK_DIAG_BY_FAMILY, &fixed[..length]);
            // A request is padded to a multiple of four.
            let is_whole = length.next_multiple_of(4) == diag::FIXED;
            assert_eq!(socket(&request.message()).is_some(), is_whole, "{length}");
        }
    }
}
