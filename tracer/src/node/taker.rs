//! The socket that takes a packet which a network namespace has for itself; or that none does, so that
//! the kernel refuses it.

use std::{
    collections::HashSet,
    fmt,
    fs::File,
    net::SocketAddr,
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{
    process::{self, Process},
    sockets::{self, Socket},
};
use crate::{
    kernel::probes::query,
    model::{Flow, Protocol, address},
    net::netns::{Inside, NetnsRef, in_netns},
};

/// Every network namespace's own loopback interface has this index.
const LOOPBACK: u32 = 1;

/// What becomes of a packet at the sockets of its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// A socket takes it.
    By(Taker),
    /// None does, for this reason, as a sentence without its end.
    Refused(String),
    /// Which one, or whether any does, is not known, for this reason.
    Unknown(String),
}

/// A socket that takes a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taker {
    /// Its own address and port.
    pub(crate) local: SocketAddr,
    /// The process that has it, if it was found.
    pub(crate) process: Option<Process>,
}

impl fmt::Display for Taker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some(process) => write!(f, "{process} has the socket {}", self.local),
            None => write!(f, "to the socket {}", self.local),
        }
    }
}

impl Taken {
    /// Looks at the sockets of a namespace for the first packet of a flow, which has come in through this
    /// interface, or was sent there. `None` where a packet is for no socket: it has no ports.
    pub(crate) fn read(
        netns: &NetnsRef,
        flow: Flow,
        ifindex: Option<u32>,
        deadline: Instant,
    ) -> Option<Self> {
        let port = flow.dport?;
        if !matches!(flow.proto, Protocol::Tcp | Protocol::Udp) {
            return matches!(flow.proto, Protocol::Sctp)
                .then(|| Self::Unknown("sockets of SCTP are not read".to_owned()));
        }
        let ifindex = ifindex.unwrap_or(LOOPBACK);
        let look = move |inside: Inside| {
            let mut sockets = sockets::with_local_port(flow.proto, port)?;
            // Without sock_diag, the options stay unknown.
            let _ = sockets::add_options(&mut sockets, flow.proto, port);
            let mut taken = choose(&sockets, flow, ifindex, inside);
            if let Self::Refused(_) = taken
                && let Some(doubt) = program_in_the_way()
            {
                taken = Self::Unknown(doubt);
            }
            Ok(taken)
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let read = in_netns(netns, left.max(Duration::from_millis(1)), look);
        Some(read.unwrap_or_else(|error| {
            Self::Unknown(format!("the sockets there cannot be read: {error:#}"))
        }))
    }
}

/// Whether a program of this thread's namespace may lead the packet to a socket of another port.
fn program_in_the_way() -> Option<String> {
    let ask = || -> Result<usize> {
        let netns = File::open("/proc/thread-self/ns/net").context("/proc/thread-self/ns/net")?;
        Ok(query::socket_lookup(netns.as_fd())?.len())
    };
    match ask() {
        Ok(0) => None,
        Ok(_) => Some("a BPF program chooses the sockets of packets there (sk_lookup)".to_owned()),
        // Kernels before 5.9 have no such programs.
        Err(error) if is_unknown_to_the_kernel(&error) => None,
        Err(error) => Some(format!(
            "whether a BPF program chooses the socket (sk_lookup) cannot be read: {error:#}"
        )),
    }
}

fn is_unknown_to_the_kernel(error: &anyhow::Error) -> bool {
    let code = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::raw_os_error);
    code == Some(libc::EINVAL)
}

/// The socket that takes it, of those with its port.
fn choose(sockets: &[Socket], flow: Flow, ifindex: u32, inside: Inside) -> Taken {
    let taken = chosen(sockets, flow, ifindex);
    let named = |socket: &Socket| {
        let inode = HashSet::from([socket.inode]);
        process::of_sockets(&inode, inside.inode, inside.half_time()).remove(&socket.inode)
    };
    match taken {
        Choice::By(socket) => Taken::By(Taker {
            local: socket.local,
            process: named(socket),
        }),
        Choice::None(Some((socket, takes))) => {
            let process = named(socket).map(|process| format!(", of {process},"));
            Taken::Refused(format!(
                "the socket of {} port {}{} {takes}",
                flow.proto,
                socket.local.port(),
                process.unwrap_or_default()
            ))
        }
        Choice::None(None) => {
            let listens = match flow.proto {
                Protocol::Tcp => "no process listens on",
                _ => "no process has a socket on",
            };
            let to = address(flow.destination());
            Taken::Refused(format!("{listens} {} {to}", flow.proto))
        }
        Choice::Unknown(socket) => Taken::Unknown(format!(
            "which options the socket {} has cannot be read",
            socket.local
        )),
    }
}

#[derive(Debug, PartialEq)]
enum Choice<'a> {
    By(&'a Socket),
    /// The first one that has the port and does not take the packet, and why.
    None(Option<(&'a Socket, String)>),
    Unknown(&'a Socket),
}

fn chosen(sockets: &[Socket], flow: Flow, ifindex: u32) -> Choice<'_> {
    let is_server = |socket: &&Socket| match flow.proto {
        Protocol::Tcp => socket.is_listening,
        _ => !socket.is_connected() || Some(socket.remote) == peer(flow),
    };
    let mut refused = None;
    let mut unknown = None;
    let mut takers: Vec<&Socket> = Vec::new();
    for socket in sockets.iter().filter(is_server) {
        let takes = socket.takes(flow.dst);
        let bound = socket.options.and_then(|options| options.ifindex);
        let why = socket.takes_only(flow.dst).or_else(|| {
            bound
                .filter(|bound| *bound != ifindex)
                .map(|bound| format!("is bound to interface {bound} (SO_BINDTODEVICE)"))
        });
        match why {
            Some(why) => refused = refused.or(Some((socket, why))),
            None if takes == Some(true) && (socket.options.is_some() || socket.is_connected()) => {
                takers.push(socket);
            }
            None => unknown = unknown.or(Some(socket)),
        }
    }
    // The kernel prefers the very address to all addresses.
    takers.sort_by_key(|socket| socket.local.ip() != flow.dst);
    match (takers.first(), unknown) {
        (Some(taker), _) => Choice::By(taker),
        (None, Some(unknown)) => Choice::Unknown(unknown),
        (None, None) => Choice::None(refused),
    }
}

/// The other end of a connected datagram socket that takes it.
fn peer(flow: Flow) -> Option<SocketAddr> {
    flow.sport.map(|sport| SocketAddr::new(flow.src, sport))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::sockets::Options;

    fn socket(local: &str, inode: u32) -> Socket {
        Socket {
            local: local.parse().unwrap(),
            remote: "0.0.0.0:0".parse().unwrap(),
            is_listening: true,
            is_established: false,
            waiting: 0,
            inode,
            dropped: None,
            options: Some(Options::default()),
        }
    }

    fn flow(proto: Protocol) -> Flow {
        Flow {
            proto,
            src: [10, 0, 0, 9].into(),
            sport: Some(40000),
            dst: [10, 0, 0, 1].into(),
            dport: Some(80),
        }
    }

    fn taker(sockets: &[Socket], proto: Protocol) -> Option<u32> {
        match chosen(sockets, flow(proto), 2) {
            Choice::By(socket) => Some(socket.inode),
            _ => None,
        }
    }

    fn refusal(sockets: &[Socket]) -> Option<String> {
        match chosen(sockets, flow(Protocol::Tcp), 2) {
            Choice::None(why) => Some(why.map(|(_, why)| why).unwrap_or_default()),
            _ => None,
        }
    }

    #[test]
    fn the_very_address_comes_first() {
        let sockets = [socket("0.0.0.0:80", 1), socket("10.0.0.1:80", 2)];
        assert_eq!(taker(&sockets, Protocol::Tcp), Some(2));
        assert_eq!(taker(&sockets[..1], Protocol::Tcp), Some(1));
    }

    #[test]
    fn no_listener_refuses_it() {
        assert_eq!(refusal(&[]), Some(String::new()));
        // A connection of the port is no listener.
        let connection = Socket {
            is_listening: false,
            ..socket("10.0.0.1:80", 1)
        };
        assert_eq!(refusal(&[connection]), Some(String::new()));
    }

    #[test]
    fn a_listener_of_others_only_is_the_reason() {
        let why = refusal(&[socket("127.0.0.1:80", 1)]).unwrap();
        assert_eq!(why, "listens on 127.0.0.1 only, not on 10.0.0.1");
        let bound = Socket {
            options: Some(Options {
                ifindex: Some(3),
                ipv6_only: false,
            }),
            ..socket("0.0.0.0:80", 1)
        };
        let why = refusal(&[bound]).unwrap();
        assert_eq!(why, "is bound to interface 3 (SO_BINDTODEVICE)");
        assert_eq!(
            taker(&[bound, socket("[::]:80", 2)], Protocol::Tcp),
            Some(2)
        );
    }

    #[test]
    fn options_that_are_not_known_leave_it_open() {
        let unread = Socket {
            options: None,
            ..socket("0.0.0.0:80", 1)
        };
        assert_eq!(taker(&[unread], Protocol::Tcp), None);
        assert_eq!(refusal(&[unread]), None);
    }

    #[test]
    fn a_connected_datagram_socket_takes_its_peer_only() {
        let connected = |remote: &str| Socket {
            is_listening: false,
            remote: remote.parse().unwrap(),
            options: None,
            ..socket("10.0.0.1:80", 7)
        };
        assert_eq!(
            taker(&[connected("10.0.0.9:40000")], Protocol::Udp),
            Some(7)
        );
        assert_eq!(taker(&[connected("10.0.0.9:40001")], Protocol::Udp), None);
    }
}
