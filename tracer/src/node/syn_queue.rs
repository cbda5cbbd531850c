//! Handshakes a listener has begun and not finished, and the settings that bound their number.

use std::net::SocketAddr;

use anyhow::Result;

use super::{
    listeners::{Listener, listeners_for},
    sysctl,
};
use crate::net::sock_diag::{InetSocket, TcpState, tcp_sockets};

/// A handshake that waits for its last ACK (state `SYN-RECV`): the SYN came, and was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    /// The address the SYN was sent to, as seen inside the listener's namespace.
    pub(crate) local: SocketAddr,
    /// How often the SYN-ACK was sent again; 0 is once in all.
    pub(crate) retransmits: u8,
}

impl Pending {
    fn new(socket: &InetSocket) -> Self {
        Self {
            local: socket.local,
            retransmits: socket.retransmits,
        }
    }
}

/// The handshakes pending at this port, in the network namespace this thread is in.
///
/// # Errors
///
/// The kernel has no sock_diag for TCP.
pub(crate) fn pending(port: u16) -> Result<Vec<Pending>> {
    let sockets = tcp_sockets(TcpState::SynReceived, Some(port))?;
    Ok(sockets.iter().map(Pending::new).collect())
}

/// The SYN queue of a listener, or of several that share a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SynQueue {
    /// Handshakes pending.
    pub(crate) len: u32,
    /// Those whose SYN-ACK had to be sent again: it is the way back that fails, or the last ACK.
    pub(crate) retransmitted: u32,
}

impl SynQueue {
    /// Counts those handshakes that belong to the listeners of this destination.
    pub(crate) fn of(pending: &[Pending], listeners: &[Listener], destination: SocketAddr) -> Self {
        let at = listeners_for(listeners, destination);
        let mut queue = Self::default();
        for one in pending {
            if listeners_for(listeners, one.local) != at {
                continue;
            }
            queue.len += 1;
            queue.retransmitted += u32::from(one.retransmits > 0);
        }
        queue
    }
}

/// What becomes of one more SYN, as far as the SYN queue is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// It finds a place.
    Free,
    /// The queue is full; it is answered with a syncookie.
    Cookies,
    /// The queue is full, or three quarters of `tcp_max_syn_backlog` are taken; it is dropped
    /// without a word. Clients the kernel knows from earlier connections are let in up to the full
    /// queue.
    Dropped,
}

/// Settings of a network namespace that bound the queues of its listeners. `None`: this kernel
/// does not have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `net.ipv4.tcp_syncookies`: 0 off, 1 when the SYN queue is full, 2 always.
    pub(crate) syncookies: Option<u64>,
    /// `net.ipv4.tcp_max_syn_backlog`: handshakes of one listener; counts with syncookies off.
    pub(crate) max_syn_backlog: Option<u64>,
    /// `net.core.somaxconn`: the most backlog a listener gets.
    pub(crate) somaxconn: Option<u64>,
    /// `net.ipv4.tcp_abort_on_overflow`: 1 answers a last ACK with RST if the accept queue is full.
    pub(crate) abort_on_overflow: Option<u64>,
}

impl Settings {
    /// Reads those of the network namespace this thread is in.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub(crate) fn read() -> Result<Self> {
        let setting = |name| sysctl::number(&format!("/proc/sys/net/{name}"));
        Ok(Self {
            syncookies: setting("ipv4/tcp_syncookies")?,
            max_syn_backlog: setting("ipv4/tcp_max_syn_backlog")?,
            somaxconn: setting("core/somaxconn")?,
            abort_on_overflow: setting("ipv4/tcp_abort_on_overflow")?,
        })
    }

    /// What becomes of one more SYN at a listener with this backlog and this many handshakes
    /// pending (`tcp_conn_request()`). A full accept queue is another matter. Newer kernels (6.18
    /// does) let one more handshake in than the backlog says; here the queue is full at the
    /// backlog.
    pub(crate) fn room(&self, backlog: u32, pending: u32) -> Room {
        let full = pending >= backlog;
        if self.syncookies.unwrap_or(0) > 0 {
            return if full { Room::Cookies } else { Room::Free };
        }
        let crowded = self.max_syn_backlog.is_some_and(|max| {
            let free = max.saturating_sub(u64::from(pending));
            free < max / 4
        });
        if full || crowded {
            Room::Dropped
        } else {
            Room::Free
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::listeners::tests::listener;

    fn pending(local: &str, retransmits: u8) -> Pending {
        Pending {
            local: local.parse().unwrap(),
            retransmits,
        }
    }

    #[test]
    fn counts_what_belongs_to_the_listener() {
        let listeners = [listener("0.0.0.0:80"), listener("10.0.0.1:80")];
        let mine = pending("10.0.0.1:80", 2);
        let all = [mine, pending("10.0.0.1:80", 0), pending("10.0.0.2:80", 1)];
        let queue = SynQueue::of(&all, &listeners, mine.local);
        let expected = SynQueue {
            len: 2,
            retransmitted: 1,
        };
        assert_eq!(queue, expected);
    }

    #[test]
    fn knows_when_the_next_syn_is_dropped() {
        let with = |syncookies| Settings {
            syncookies: Some(syncookies),
            max_syn_backlog: Some(128),
            ..Settings::default()
        };
        assert_eq!(with(0).room(4, 3), Room::Free);
        assert_eq!(with(0).room(4, 4), Room::Dropped);
        assert_eq!(with(1).room(4, 4), Room::Cookies);
        assert_eq!(with(1).room(4096, 120), Room::Free);
        assert_eq!(with(0).room(4096, 96), Room::Free);
        assert_eq!(with(0).room(4096, 97), Room::Dropped);
    }
}
