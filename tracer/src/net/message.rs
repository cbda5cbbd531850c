//! Netlink messages: requests under construction, and the kernel's messages as attributes by number.
//!
//! The kernel's messages are read leniently on purpose. Kernels add attributes and lengthen known
//! ones, and a message that is rejected for something of no interest here would hide an interface,
//! a route or a program.

use std::net::IpAddr;

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;

/// One message of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// `RTM_…` or `NLMSG_…`
    pub(super) kind: u16,
    flags: u16,
    /// The fixed part (its length depends on `kind`), then attributes.
    pub(super) payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The attributes after a fixed part of this length.
    pub(super) fn attributes(&self, fixed: usize) -> Attributes<'a> {
        Attributes(self.payload.get(fixed..).unwrap_or_default())
    }

    pub(super) fn u8_at(&self, at: usize) -> Option<u8> {
        self.payload.get(at).copied()
    }

    pub(super) fn u16_at(&self, at: usize) -> Option<u16> {
        u16_at(self.payload, at)
    }

    pub(super) fn u32_at(&self, at: usize) -> Option<u32> {
        u32_at(self.payload, at)
    }

    /// Whether the list that this message is part of changed while the kernel wrote it.
    pub(super) fn is_interrupted(&self) -> bool {
        self.flags & libc::NLM_F_DUMP_INTR as u16 != 0
    }
}

/// The messages of a datagram; ends at a malformed one.
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

/// Attributes that follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

impl<'a> Attributes<'a> {
    /// Each number, without its flags, and value; ends at a malformed one.
    pub(super) fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut bytes = self.0;
        std::iter::from_fn(move || {
            let length = usize::from(u16_at(bytes, 0)?);
            let kind = u16_at(bytes, 2)? & libc::NLA_TYPE_MASK as u16;
            let value = bytes.get(4..length)?;
            bytes = bytes.get(aligned(length)..).unwrap_or_default();
            Some((kind, value))
        })
    }

    pub(super) fn get(self, wanted: u16) -> Option<&'a [u8]> {
        self.iter()
            .find_map(|(kind, value)| (kind == wanted).then_some(value))
    }

    pub(super) fn u8(self, wanted: u16) -> Option<u8> {
        self.get(wanted)?.first().copied()
    }

    /// Whether the attribute is there and not zero.
    pub(super) fn is_set(self, wanted: u16) -> bool {
        self.u8(wanted).is_some_and(|value| value != 0)
    }

    pub(super) fn u16(self, wanted: u16) -> Option<u16> {
        u16_at(self.get(wanted)?, 0)
    }

    /// A port, which netlink has in network byte order.
    pub(super) fn port(self, wanted: u16) -> Option<u16> {
        self.u16(wanted).map(u16::from_be)
    }

    pub(super) fn u32(self, wanted: u16) -> Option<u32> {
        u32_at(self.get(wanted)?, 0)
    }

    pub(super) fn address(self, wanted: u16) -> Option<IpAddr> {
        ip(self.get(wanted)?)
    }

    pub(super) fn text(self, wanted: u16) -> Option<String> {
        Some(text(self.get(wanted)?))
    }

    /// The attributes inside of one.
    pub(super) fn inside(self, wanted: u16) -> Attributes<'a> {
        Attributes(self.get(wanted).unwrap_or_default())
    }
}

/// A request under construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    kind: u16,
    flags: u16,
    payload: Vec<u8>,
}

impl Request {
    /// Starts with the fixed part.
    pub(super) fn new(kind: u16, fixed: &[u8]) -> Self {
        let mut payload = fixed.to_vec();
        payload.resize(aligned(payload.len()), 0);
        Self {
            kind,
            flags: 0,
            payload,
        }
    }

    /// Adds flags beyond `NLM_F_REQUEST`, `NLM_F_ACK` and `NLM_F_DUMP`.
    pub(super) fn flags(mut self, flags: i32) -> Self {
        self.flags |= flags as u16;
        self
    }

    pub(super) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.payload.extend(length.to_ne_bytes());
        self.payload.extend(kind.to_ne_bytes());
        self.payload.extend(value);
        self.payload.resize(aligned(self.payload.len()), 0);
        self
    }

    pub(super) fn with_u32(self, kind: u16, value: Option<u32>) -> Self {
        match value {
            Some(value) => self.with(kind, &value.to_ne_bytes()),
            None => self,
        }
    }

    pub(super) fn with_address(self, kind: u16, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => self.with(kind, &address.octets()),
            IpAddr::V6(address) => self.with(kind, &address.octets()),
        }
    }

    pub(super) fn nested(self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let inner = fill(Self::new(0, &[]));
        self.with(kind | libc::NLA_F_NESTED as u16, &inner.payload)
    }

    /// As it goes to the kernel.
    pub(super) fn bytes(&self, flags: i32) -> Vec<u8> {
        let length = (HEADER + self.payload.len()) as u32;
        let flags = self.flags | (libc::NLM_F_REQUEST | flags) as u16;
        let mut bytes = Vec::with_capacity(HEADER + self.payload.len());
        bytes.extend(length.to_ne_bytes());
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        // The sequence number and the port: a socket has one request under way at a time.
        bytes.extend([0; 8]);
        bytes.extend(&self.payload);
        bytes
    }

    /// As if the kernel had sent it.
    #[cfg(test)]
    pub(super) fn message(&self) -> Message<'_> {
        Message {
            kind: self.kind,
            flags: self.flags,
            payload: &self.payload,
        }
    }

    /// The fixed part and the attributes.
    #[cfg(test)]
    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }
}

const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(super) fn u64_be(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.try_into().ok()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// An address of either version.
pub(super) fn ip(value: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(value) {
        return Some(IpAddr::from(octets));
    }
    Some(IpAddr::from(<[u8; 16]>::try_from(value).ok()?))
}

/// A C string.
fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&value[..end.unwrap_or(value.len())]).into_owned()
}

/// `AF_INET` or `AF_INET6`, as the first byte of most fixed parts.
pub(super) fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => libc::AF_INET as u8,
        IpAddr::V6(_) => libc::AF_INET6 as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let request = Request::new(38, &[9; 18])
            .nested(2, |inner| inner.with(1, b"tbf\0").with_u32(2, Some(7)))
            .with(3, &[1])
            .with_u32(4, None)
            .with_address(5, "10.0.0.1".parse().unwrap());
        let bytes = request.bytes(libc::NLM_F_ACK);
        let read: Vec<_> = messages(&bytes).collect();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].kind, 38);
        let all = read[0].attributes(20);
        assert_eq!(all.inside(2).text(1).as_deref(), Some("tbf"));
        assert_eq!(all.inside(2).u32(2), Some(7));
        assert_eq!(all.get(3), Some([1].as_slice()));
        assert_eq!(all.get(4), None);
        assert_eq!(all.address(5), Some("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn malformed_bytes_end_the_reading() {
        for bytes in [[0; 64], [0xff; 64]] {
            assert_eq!(messages(&bytes).count(), 0);
            assert_eq!(Attributes(&bytes).iter().count(), 0);
        }
        assert_eq!(Attributes(&[4]).iter().count(), 0);
        let short = Request::new(0, &[1; 4]);
        assert_eq!(short.message().attributes(20).iter().count(), 0);
    }
}
