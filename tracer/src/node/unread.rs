//! Connections whose data waits in the server's socket: its process has not read it.

use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
    time::Duration,
};

use anyhow::Result;

use super::{
    listeners::{self, listeners_for},
    process::{self, Process},
};
use crate::{
    net::{
        netns::{Inside, NetnsRef, in_netns_async},
        sock_diag::{InetSocket, TcpState, tcp_sockets},
    },
    words,
};

/// What waits for less than this may be read any moment.
const LONG: u32 = 1000;

/// A connection at its server: the namespace's inode number, and both ends as that sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Connection {
    pub(crate) netns: u32,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
}

/// Data that waits to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unread {
    pub(crate) of: Connection,
    /// Bytes (Recv-Q of `ss -t`).
    pub(crate) bytes: u32,
    /// How long ago the last of it came in, in milliseconds.
    pub(crate) waits: u32,
    /// Whether a process has the connection; otherwise it waits to be accepted.
    pub(crate) is_accepted: bool,
    /// That process, or the one that is to accept it, if it was found.
    pub(crate) process: Option<Process>,
}

impl Unread {
    /// Those of these connections that have unread data.
    pub(crate) async fn read(of: Vec<Connection>, limit: Duration) -> Vec<Self> {
        let mut by_netns: BTreeMap<u32, HashSet<Connection>> = BTreeMap::new();
        for connection in of {
            by_netns
                .entry(connection.netns)
                .or_default()
                .insert(connection);
        }
        let mut found = Vec::new();
        for (netns, connections) in by_netns {
            let look = move |inside: Inside| look(&connections, inside);
            let here = in_netns_async(&NetnsRef::Inode(netns), limit, look).await;
            // What cannot be read is not known to wait.
            found.extend(here.unwrap_or_default());
        }
        found
    }

    /// As a sentence without its end.
    pub(crate) fn in_words(&self) -> String {
        let Connection { local, remote, .. } = self.of;
        let who = match &self.process {
            Some(process) => process.to_string(),
            None => format!("the server at {local}"),
        };
        let (bytes, seconds) = (words::count(self.bytes.into(), "byte"), self.waits / 1000);
        match self.is_accepted {
            true => {
                format!("{who} has left {bytes} from {remote} to {local} unread for {seconds} s")
            }
            false => format!(
                "{who} has not accepted the connection from {remote} to {local}, on which {bytes} \
                 have been waiting for {seconds} s"
            ),
        }
    }
}

/// In the namespace that this thread is in.
fn look(connections: &HashSet<Connection>, inside: Inside) -> Result<Vec<Unread>> {
    let mut sockets = tcp_sockets(TcpState::Established, None)?;
    sockets.extend(
        tcp_sockets(TcpState::CloseWait, None)?
            .into_iter()
            .map(without_fin),
    );
    let mut found = Vec::new();
    for socket in &sockets {
        let of = Connection {
            netns: inside.inode,
            local: socket.local,
            remote: socket.remote,
        };
        let waits = waiting(socket).filter(|_| connections.contains(&of));
        let Some(waits) = waits else { continue };
        // No process has a connection that was not accepted.
        let is_accepted = socket.inode != 0;
        let owner = match is_accepted {
            true => Some(socket.inode),
            false => {
                let listeners = listeners::read()?;
                let its = listeners_for(&listeners, socket.local);
                its.first().map(|listener| listener.inode)
            }
        };
        let process = owner.and_then(|inode| {
            let inodes = HashSet::from([inode]);
            process::of_sockets(&inodes, inside.inode, inside.half_time()).remove(&inode)
        });
        found.push(Unread {
            of,
            bytes: socket.recv_queue,
            waits,
            is_accepted,
            process,
        });
    }
    Ok(found)
}

/// The queue's length is a difference of sequence numbers (`tcp_diag_get_info`,
/// net/ipv4/tcp_diag.c): the FIN that made it CLOSE_WAIT counts as a byte.
fn without_fin(socket: InetSocket) -> InetSocket {
    InetSocket {
        recv_queue: socket.recv_queue.saturating_sub(1),
        ..socket
    }
}

/// How long data waits in a socket; `None` if none does, or not for long.
fn waiting(socket: &InetSocket) -> Option<u32> {
    let waits = socket.last_data?;
    (socket.recv_queue > 0 && waits >= LONG).then_some(waits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_the_process_and_the_bytes() {
        let process = Process {
            pid: 42,
            comm: "python3".to_owned(),
            others: 0,
        };
        let mut unread = Unread {
            of: Connection {
                netns: 1,
                local: "10.0.0.1:80".parse().unwrap(),
                remote: "10.0.0.9:4242".parse().unwrap(),
            },
            bytes: 87_380,
            waits: 3_210,
            is_accepted: true,
            process: Some(process),
        };
        assert_eq!(
            unread.in_words(),
            "python3 (pid 42) has left 87380 bytes from 10.0.0.9:4242 to 10.0.0.1:80 unread for 3 s"
        );
        unread.is_accepted = false;
        unread.process = None;
        assert_eq!(
            unread.in_words(),
            "the server at 10.0.0.1:80 has not accepted the connection from 10.0.0.9:4242 to \
             10.0.0.1:80, on which 87380 bytes have been waiting for 3 s"
        );
    }
}
