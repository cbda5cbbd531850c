//! Datagrams that wait in a socket: they have arrived, and their process does not read them.

use std::{collections::HashSet, fs, net::SocketAddr, time::Instant};

use anyhow::Result;

use super::{
    process::{self, Process},
    sockets,
};
use crate::net::netns::Inside;

/// A datagram socket that has something to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnreadSocket {
    /// Its own address and port.
    pub(crate) local: SocketAddr,
    /// What waits, as memory in bytes (Recv-Q of `ss -u`).
    pub(crate) waiting: u64,
    /// Datagrams that found it full so far.
    pub(crate) dropped: u64,
    /// The process that has it open; `None` if it was not found.
    pub(crate) process: Option<Process>,
}

impl UnreadSocket {
    /// Looks for the one that a datagram for this address is for, in the namespace that this thread is
    /// in. `None` where nothing waits, or more than one socket may have got it.
    ///
    /// # Errors
    ///
    /// A table cannot be read.
    pub(super) fn read(
        inside: &Inside,
        wanted: SocketAddr,
        deadline: Instant,
    ) -> Result<Option<Self>> {
        let mut found = Vec::new();
        for table in ["udp", "udp6"] {
            let text = match fs::read_to_string(format!("/proc/thread-self/net/{table}")) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            found.extend(
                text.lines()
                    .filter_map(parse)
                    .filter(|(one, _)| takes(one, wanted)),
            );
        }
        let [(socket, inode)] = found.as_slice() else {
            return Ok(None);
        };
        if socket.waiting == 0 {
            return Ok(None);
        }
        let inodes = HashSet::from([*inode]);
        let mut owners = process::of_sockets(&inodes, inside.inode, deadline);
        Ok(Some(Self {
            process: owners.remove(inode),
            ..socket.clone()
        }))
    }

    /// The process, in words.
    pub(crate) fn reader(&self) -> String {
        match &self.process {
            Some(process) => format!("{} (pid {})", process.comm, process.pid),
            None => "its process".to_owned(),
        }
    }
}

/// Whether datagrams for this address may be the socket's.
fn takes(socket: &UnreadSocket, wanted: SocketAddr) -> bool {
    let own = socket.local;
    let fits = own.ip() == wanted.ip() || own.ip().is_unspecified();
    own.port() == wanted.port() && fits
}

/// A line of `/proc/net/udp`, and the socket's inode number.
fn parse(line: &str) -> Option<(UnreadSocket, u32)> {
    let fields: Vec<_> = line.split_ascii_whitespace().collect();
    let local = sockets::address(fields.get(1)?)?;
    let remote = sockets::address(fields.get(2)?)?;
    // One that talks to another end takes nothing from others.
    (remote.port() == 0).then_some(())?;
    let (_, waiting) = fields.get(4)?.split_once(':')?;
    let socket = UnreadSocket {
        local,
        waiting: u64::from_str_radix(waiting, 16).ok()?,
        dropped: fields.get(12)?.parse().ok()?,
        process: None,
    };
    Some((socket, fields.get(9)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_waits() {
        let line = " 1201: 0203140A:0035 00000000:0000 07 00000000:00000340 00:00000000 00000000     \
                    0        0 91215 2 00000000b2f5e3a0 7";
        let (socket, inode) = parse(line).unwrap();
        assert_eq!(socket.local.port(), 53);
        assert_eq!((socket.waiting, socket.dropped, inode), (0x340, 7, 91215));
        for broken in [
            "",
            "sl local_address rem_address st",
            "1: 0203140A:0035 0:0 07 0:0",
        ] {
            assert_eq!(parse(broken), None, "{broken}");
        }
    }
}
