//! Datagrams that wait in a socket: they have arrived, and their process does not read them.

use std::{collections::HashSet, net::SocketAddr, time::Duration};

use anyhow::Result;
use tokio::time::sleep;

use super::{
    counters::{Counters, name},
    process::{self, Process},
    sockets::{self, Socket},
};
use crate::{
    model::Protocol,
    net::netns::{Inside, NetnsRef, in_netns_async},
};

/// The datagram socket that takes what is sent to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DatagramSocket {
    /// Its own address and port.
    pub(crate) local: SocketAddr,
    /// What waits, as memory in bytes (Recv-Q of `ss -u`).
    pub(crate) waiting: u64,
    /// Datagrams that found it full so far.
    pub(crate) dropped: u64,
    /// Whether it is read.
    pub(crate) reading: Reading,
    /// The process that has it open, if it does not read; `None` if it was not found.
    pub(crate) process: Option<Process>,
}

/// Whether a process reads its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Its queue is empty, or was read from.
    Happens,
    /// In its namespace, no process has read any datagram for a while.
    Stopped,
    /// So many datagrams were read in its namespace meanwhile, from this socket or from others.
    Somewhere(u64),
    /// The kernel does not count them.
    Unknown,
}

impl DatagramSocket {
    /// Looks for the one that a datagram for this address is for, and watches whether it is read.
    /// `None` where more than one socket may have got it.
    ///
    /// # Errors
    ///
    /// A table cannot be read.
    pub(super) async fn watch(
        netns: &NetnsRef,
        wanted: SocketAddr,
        watched: Duration,
        limit: Duration,
    ) -> Result<Option<Self>> {
        let read = move |_| Look::read(wanted);
        let Some(first) = in_netns_async(netns, limit, read).await? else {
            return Ok(None);
        };
        if first.socket.waiting == 0 {
            return Ok(Some(first.into_socket(Reading::Happens)));
        }
        sleep(watched).await;
        in_netns_async(netns, limit, move |inside| {
            let second = Look::read(wanted)?;
            let Some(second) = second.filter(|second| second.is_of_same(&first)) else {
                return Ok(None);
            };
            let reading = second.since(&first);
            let inode = second.socket.inode;
            let mut found = second.into_socket(reading);
            if reading == Reading::Stopped {
                found.process = process_of(inode, &inside);
            }
            Ok(Some(found))
        })
        .await
    }

    /// The process, in words.
    pub(crate) fn reader(&self) -> String {
        match &self.process {
            Some(process) => process.to_string(),
            None => "its process".to_owned(),
        }
    }
}

/// A socket at one time.
#[derive(Clone, Debug)]
struct Look {
    socket: Socket,
    /// Datagrams that were read in its namespace so far, from sockets of its family.
    read: Option<u64>,
}

impl Look {
    /// In the namespace that this thread is in.
    fn read(wanted: SocketAddr) -> Result<Option<Self>> {
        let mut sockets = sockets::with_local_port(Protocol::Udp, wanted.port())?;
        // Without sock_diag, a socket of the other family may take it.
        let _ = sockets::add_options(&mut sockets, Protocol::Udp, wanted.port());
        let Some(socket) = taker(&sockets, wanted) else {
            return Ok(None);
        };
        let counters = Counters::read()?;
        let read = counters.get(name::UDP_READ).map(|read| {
            // An IPv6 socket may take both.
            let is_ipv6 = socket.local.is_ipv6();
            let more = counters.get(name::UDP6_READ).filter(|_| is_ipv6);
            read + more.unwrap_or(0)
        });
        Ok(Some(Self { socket, read }))
    }

    fn is_of_same(&self, earlier: &Self) -> bool {
        self.socket.inode == earlier.socket.inode
    }

    fn since(&self, earlier: &Self) -> Reading {
        let waiting = self.socket.waiting;
        if waiting == 0 || waiting < earlier.socket.waiting {
            return Reading::Happens;
        }
        let read = self.read.zip(earlier.read);
        match read.map(|(now, then)| now.wrapping_sub(then)) {
            Some(0) => Reading::Stopped,
            Some(read) => Reading::Somewhere(read),
            None => Reading::Unknown,
        }
    }

    fn into_socket(self, reading: Reading) -> DatagramSocket {
        DatagramSocket {
            local: self.socket.local,
            waiting: self.socket.waiting,
            dropped: self.socket.dropped.unwrap_or(0),
            reading,
            process: None,
        }
    }
}

/// The only socket that may have got a datagram for this address: the kernel prefers one that is
/// bound to the address to those of all addresses.
fn taker(sockets: &[Socket], wanted: SocketAddr) -> Option<Socket> {
    let may_take =
        |socket: &&Socket| !socket.is_connected() && socket.takes(wanted.ip()) != Some(false);
    let (bound, others): (Vec<&Socket>, Vec<&Socket>) = sockets
        .iter()
        .filter(may_take)
        .partition(|socket| socket.local.ip() == wanted.ip());
    match (bound.as_slice(), others.as_slice()) {
        ([one], _) | ([], [one]) => Some(**one),
        _ => None,
    }
}

/// In half of the time that is left: what was read is worth more than a name.
fn process_of(inode: u32, inside: &Inside) -> Option<Process> {
    process::of_sockets(&HashSet::from([inode]), inside.inode, inside.half_time()).remove(&inode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::sockets::Options;

    fn socket(local: &str, inode: u32, waiting: u64) -> Socket {
        Socket {
            local: local.parse().unwrap(),
            remote: "0.0.0.0:0".parse().unwrap(),
            is_listening: false,
            is_established: false,
            waiting,
            inode,
            dropped: Some(0),
            options: Some(Options::default()),
        }
    }

    #[test]
    fn only_a_namespace_where_nothing_is_read_shows_that_reading_has_stopped() {
        let look = |waiting, read| Look {
            socket: socket("10.0.0.1:53", 1, waiting),
            read,
        };
        let first = look(768, Some(40));
        for (waiting, read, expected) in [
            (768, Some(40), Reading::Stopped),
            (1536, Some(40), Reading::Stopped),
            // Clients that send one query after the other keep a queue as long as it is.
            (768, Some(90), Reading::Somewhere(50)),
            (256, Some(42), Reading::Happens),
            (0, Some(41), Reading::Happens),
            (768, None, Reading::Unknown),
        ] {
            let reading = look(waiting, read).since(&first);
            assert_eq!(reading, expected, "{waiting} bytes, {read:?}");
        }
    }

    #[test]
    fn one_socket_takes_it_or_none_is_named() {
        let wanted = "10.0.0.1:53".parse().unwrap();
        let inode = |sockets: &[Socket]| taker(sockets, wanted).map(|socket| socket.inode);
        let bound = socket("10.0.0.1:53", 1, 0);
        let all = socket("0.0.0.0:53", 2, 0);
        let dual = socket("[::]:53", 3, 0);
        let other = socket("10.0.0.2:53", 4, 0);
        let connected = Socket {
            remote: "10.0.0.9:53".parse().unwrap(),
            ..socket("10.0.0.1:53", 5, 0)
        };
        assert_eq!(inode(&[all, bound, connected]), Some(1));
        assert_eq!(inode(&[other, all]), Some(2));
        assert_eq!(inode(&[dual]), Some(3));
        assert_eq!(inode(&[bound, bound]), None);
        assert_eq!(inode(&[all, dual]), None);
        assert_eq!(inode(&[other, connected]), None);
    }
}
