//! Rtnetlink, as little of it as is needed: requests, dumps, and attributes by number.
//!
//! Messages are read leniently on purpose. Kernels add attributes and lengthen known ones, and a
//! message that is rejected for something of no interest here would hide an interface.

use std::io;

use netlink_sys::{Socket, SocketAddr, constants::NETLINK_ROUTE};

/// Room for one datagram: the kernel fills up to 32 KiB of a dump into one.
const DATAGRAM: usize = 1 << 16;
/// How often a dump that was disturbed by a change is asked for again.
const ATTEMPTS: usize = 5;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;

/// A socket for requests. It belongs to the namespace that its thread was in when it was opened.
pub(in crate::kernel) struct Netlink {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Netlink {
    pub(in crate::kernel) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            buffer: vec![0; DATAGRAM],
        })
    }

    /// Sends a request and waits until the kernel has done it.
    pub(in crate::kernel) fn run(&mut self, request: &Request) -> io::Result<()> {
        self.exchange(request, libc::NLM_F_ACK, |_| {}).map(|_| ())
    }

    /// Lists what the request asks for, as far as `read` makes something of it.
    pub(in crate::kernel) fn dump<T>(
        &mut self,
        request: &Request,
        read: impl Fn(&Message<'_>) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        let mut found = Vec::new();
        for _ in 0..ATTEMPTS {
            found.clear();
            let whole = self.exchange(request, libc::NLM_F_DUMP, |message| {
                found.extend(read(message));
            })?;
            if whole {
                break;
            }
        }
        Ok(found)
    }

    /// Whether the answer is of one piece: false if there were changes during a dump.
    fn exchange(
        &mut self,
        request: &Request,
        flags: i32,
        mut each: impl FnMut(&Message<'_>),
    ) -> io::Result<bool> {
        self.socket.send(&request.finished(flags), 0)?;
        let mut whole = true;
        loop {
            let length = receive(&self.socket, &mut self.buffer)?;
            for message in messages(&self.buffer[..length]) {
                whole &= message.flags & libc::NLM_F_DUMP_INTR as u16 == 0;
                match i32::from(message.kind) {
                    libc::NLMSG_DONE => return Ok(whole),
                    libc::NLMSG_ERROR => {
                        return match i32_at(message.payload, 0).unwrap_or(-libc::EPROTO) {
                            0 => Ok(whole),
                            errno => Err(io::Error::from_raw_os_error(-errno)),
                        };
                    }
                    _ => each(&message),
                }
            }
        }
    }
}

/// A socket that hears of changes in the namespace that its thread is in.
pub(super) fn listen(groups: &[u32]) -> io::Result<Socket> {
    /// Some thousand messages; in tests, too few. More only matter less often: a lost one causes a
    /// new listing.
    const ROOM: libc::c_int = if cfg!(test) { 1 << 14 } else { 1 << 21 };
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    // As much as `net.core.rmem_max` allows.
    socket.set_rx_buf_sz(ROOM)?;
    socket.set_non_blocking(true)?;
    for group in groups {
        socket.add_membership(*group)?;
    }
    Ok(socket)
}

/// Reads one datagram. One that does not fit is as good as lost: `ENOBUFS`, as for a lost one.
pub(super) fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match socket.recv(&mut &mut *buffer, libc::MSG_TRUNC) {
            Ok(length) if length > buffer.len() => {
                return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// A buffer for [`receive`].
pub(super) fn buffer() -> Vec<u8> {
    vec![0; DATAGRAM]
}

/// One message of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernel) struct Message<'a> {
    /// `RTM_…` or `NLMSG_…`
    pub(in crate::kernel) kind: u16,
    flags: u16,
    /// The fixed part (its length depends on `kind`), then attributes.
    pub(in crate::kernel) payload: &'a [u8],
}

/// The messages of a datagram.
pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(datagram, 0)? as usize;
        let message = Message {
            kind: u16_at(datagram, 4)?,
            flags: u16_at(datagram, 6)?,
            payload: datagram.get(HEADER..length)?,
        };
        datagram = datagram.get(aligned(length)..).unwrap_or_default();
        Some(message)
    })
}

/// Attributes by their numbers, flags removed.
pub(in crate::kernel) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & libc::NLA_TYPE_MASK as u16;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// A request under construction.
pub(in crate::kernel) struct Request(Vec<u8>);

impl Request {
    /// Starts with the fixed part; `flags` are those beyond `NLM_F_REQUEST`, `_ACK` and `_DUMP`.
    pub(in crate::kernel) fn new(kind: u16, flags: i32, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags as u16).to_ne_bytes());
        bytes.extend(fixed);
        bytes.resize(aligned(bytes.len()), 0);
        Self(bytes)
    }

    pub(in crate::kernel) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend((4 + value.len() as u16).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(aligned(self.0.len()), 0);
        self
    }

    pub(in crate::kernel) fn nested(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.0.len();
        self = fill(self.attribute(kind | libc::NLA_F_NESTED as u16, &[]));
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// As it goes to the kernel.
    pub(super) fn finished(&self, flags: i32) -> Vec<u8> {
        let mut bytes = self.0.clone();
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        let flags = u16_at(&bytes, 6).unwrap_or(0) | (libc::NLM_F_REQUEST | flags) as u16;
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes
    }
}

const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

pub(in crate::kernel) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(in crate::kernel) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    u32_at(bytes, at).map(u32::cast_signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_says_can_be_read_back() {
        let request = Request::new(16, 0, &[7; 5])
            .attribute(3, b"eth0\0")
            .nested(18, |inner| inner.attribute(1, b"veth").attribute(2, &[]))
            .attribute(4, &1500_u32.to_ne_bytes());
        let bytes = request.finished(libc::NLM_F_ACK);
        let all: Vec<_> = messages(&bytes).collect();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].kind, 16);
        let read: Vec<_> = attributes(&all[0].payload[8..]).collect();
        assert_eq!(read[0], (3, b"eth0\0".as_slice()));
        assert_eq!(read[1].0, 18);
        let inner: Vec<_> = attributes(read[1].1).collect();
        assert_eq!(inner, [(1, b"veth".as_slice()), (2, [].as_slice())]);
        assert_eq!(read[2], (4, 1500_u32.to_ne_bytes().as_slice()));
    }

    #[test]
    fn nonsense_ends_the_reading() {
        assert_eq!(messages(&[0; 64]).count(), 0);
        assert_eq!(messages(&[0xff; 64]).count(), 0);
        assert_eq!(attributes(&[0; 64]).count(), 0);
        assert_eq!(attributes(&[0xff; 64]).count(), 0);
        assert_eq!(attributes(&[4]).count(), 0);
    }
}
