//! TCP listeners of a network namespace, and how full their queues are.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;

use crate::net::sock_diag::{InetSocket, TcpState, tcp_sockets};

/// A socket that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    /// The address it is bound to; an unspecified one (`0.0.0.0`, `::`) takes all.
    pub(crate) address: SocketAddr,
    /// Bound to an IPv6 address and takes IPv4 as well.
    pub(crate) dual_stack: bool,
    /// Takes only what comes in at this interface (its index).
    pub(crate) ifindex: Option<u32>,
    /// Connections that wait to be accepted (Recv-Q of `ss -lt`).
    pub(crate) accept_queue: u32,
    /// The backlog (Send-Q of `ss -lt`): what the process asked for in listen(2), or
    /// `net.core.somaxconn` if that was less.
    pub(crate) backlog: u32,
    /// Packets this listener has dropped so far (`d` of `ss -ltm`), modulo 2³². Besides what
    /// `ListenDrops` counts, these are SYNs sent again while their handshake is pending: alone,
    /// the number does not show that a SYN found no room.
    pub(crate) drops: Option<u32>,
    /// User id of the socket's owner.
    pub(crate) uid: u32,
    /// Inode number of the socket, as in `/proc/PID/fd`.
    pub(crate) inode: u32,
    /// The kernel's number for the socket, never used twice in its namespace.
    pub(crate) cookie: u64,
}

impl Listener {
    /// Whether the kernel drops SYNs because the accept queue is full: that is when it holds
    /// *more* than the backlog (`sk_acceptq_is_full()`).
    pub(crate) fn is_full(&self) -> bool {
        self.accept_queue > self.backlog
    }

    /// How well it fits a SYN to this address: the more, the better. `None` if not at all.
    ///
    /// As the kernel has it: the very address is better than all addresses, and an IPv4 socket is
    /// better for IPv4 than an IPv6 one (`__inet_lookup_listener()`, `compute_score()`).
    fn fits(&self, destination: SocketAddr) -> Option<(bool, bool)> {
        let address = destination.ip().to_canonical();
        let same_family = self.address.is_ipv4() == address.is_ipv4();
        if self.address.port() != destination.port() {
            None
        } else if self.address.ip() == address {
            Some((true, true))
        } else if self.address.ip().is_unspecified() && (same_family || self.takes(address)) {
            Some((false, same_family))
        } else {
            None
        }
    }

    fn takes(&self, address: IpAddr) -> bool {
        address.is_ipv4() && self.dual_stack
    }

    fn new(socket: InetSocket) -> Self {
        Self {
            address: socket.local,
            dual_stack: socket.is_ipv6 && !socket.ipv6_only,
            ifindex: socket.ifindex,
            accept_queue: socket.recv_queue,
            backlog: socket.send_queue,
            drops: socket.drops,
            uid: socket.uid,
            inode: socket.inode,
            cookie: socket.cookie,
        }
    }
}

/// All TCP listeners of the network namespace this thread is in.
///
/// # Errors
///
/// The kernel has no sock_diag for TCP.
pub(crate) fn read() -> Result<Vec<Listener>> {
    let sockets = tcp_sockets(TcpState::Listen, None)?;
    Ok(sockets.into_iter().map(Listener::new).collect())
}

/// The listeners that a SYN to this address may go to, as seen inside their namespace: those that
/// fit best.
///
/// Usually that is one. There are several where sockets share a port (`SO_REUSEPORT`, the kernel
/// picks one by the flow's hash) or are bound to interfaces. What TPROXY and BPF `sk_lookup`
/// programs choose instead is not known here.
pub(crate) fn listeners_for(listeners: &[Listener], destination: SocketAddr) -> Vec<&Listener> {
    let best = listeners
        .iter()
        .filter_map(|one| one.fits(destination))
        .max();
    listeners
        .iter()
        .filter(|one| best.is_some() && one.fits(destination) == best)
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A listener with a backlog of 4, and nothing in its queue.
    pub(in crate::node) fn listener(address: &str) -> Listener {
        Listener {
            address: address.parse().unwrap(),
            dual_stack: false,
            ifindex: None,
            accept_queue: 0,
            backlog: 4,
            drops: Some(0),
            uid: 0,
            inode: 1,
            cookie: 1,
        }
    }

    fn dual(address: &str) -> Listener {
        Listener {
            dual_stack: true,
            ..listener(address)
        }
    }

    #[track_caller]
    fn check(listeners: &[Listener], destination: &str, expected: &[usize]) {
        let found = listeners_for(listeners, destination.parse().unwrap());
        let expected: Vec<_> = expected.iter().map(|&index| &listeners[index]).collect();
        assert_eq!(found, expected, "{destination}");
    }

    #[test]
    fn the_most_specific_listener_gets_the_syn() {
        let listeners = [
            listener("0.0.0.0:80"),
            listener("10.0.0.1:80"),
            dual("[::]:80"),
            listener("[fd00::1]:80"),
            listener("10.0.0.1:81"),
        ];
        check(&listeners, "10.0.0.1:80", &[1]);
        check(&listeners, "10.0.0.2:80", &[0]);
        check(&listeners, "[::ffff:10.0.0.1]:80", &[1]);
        check(&listeners, "[fd00::1]:80", &[3]);
        check(&listeners, "[fd00::2]:80", &[2]);
        check(&listeners, "10.0.0.2:81", &[]);
        check(&listeners, "10.0.0.1:82", &[]);
    }

    #[test]
    fn a_dual_stack_listener_takes_ipv4() {
        check(&[dual("[::]:80")], "10.0.0.1:80", &[0]);
        check(&[listener("[::]:80")], "10.0.0.1:80", &[]);
        check(&[listener("0.0.0.0:80")], "[fd00::1]:80", &[]);
        check(&[dual("[fd00::1]:80")], "10.0.0.1:80", &[]);
    }

    #[test]
    fn those_that_share_a_port_are_all_named() {
        let group = [
            listener("0.0.0.0:80"),
            listener("0.0.0.0:80"),
            dual("[::]:80"),
        ];
        check(&group, "10.0.0.1:80", &[0, 1]);
    }

    #[test]
    fn full_is_more_than_the_backlog() {
        let with = |accept_queue| Listener {
            accept_queue,
            ..listener("0.0.0.0:80")
        };
        assert!(!with(4).is_full());
        assert!(with(5).is_full());
    }
}
