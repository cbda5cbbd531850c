//! Rtnetlink for questions: one answer, or a list, as attributes by number.
//!
//! What the kernel says is read leniently: kernels add attributes and lengthen known ones, and a
//! message that is rejected for something of no interest here would hide a route or a program.

use std::{io, net::IpAddr};

use anyhow::{Context as _, Result, bail};
use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable, NlaBuffer, NlasIterator,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// How often a list that was disturbed by a change is asked for again.
const ATTEMPTS: usize = 3;

/// A socket for questions about the namespace that this thread is in.
pub(super) struct Rtnetlink {
    socket: Socket,
}

impl Rtnetlink {
    pub(super) fn open() -> Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE).context("cannot open an rtnetlink socket")?;
        socket
            .bind_auto()
            .and_then(|_| socket.connect(&SocketAddr::new(0, 0)))
            .context("cannot set up an rtnetlink socket")?;
        // Lets the kernel select by the fixed part of a request (since 4.20). Without it, lists
        // are longer; nobody may rely on it.
        let _ = socket.set_netlink_get_strict_chk(true);
        Ok(Self { socket })
    }

    /// One answer. What the kernel refuses is the inner error.
    pub(super) fn ask(&self, question: &Message) -> Result<io::Result<Option<Message>>> {
        let mut answer = None;
        let refused = self.exchange(question, NLM_F_ACK, |message| answer = Some(message))?;
        Ok(match refused {
            Some(error) => Err(error),
            None => Ok(answer),
        })
    }

    /// A list, of what `read` makes of each message.
    pub(super) fn list<T>(
        &self,
        question: &Message,
        read: impl Fn(&Message) -> Option<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        for _ in 0..ATTEMPTS {
            found.clear();
            let refused = self.exchange(question, NLM_F_DUMP, |message| {
                found.extend(read(&message));
            })?;
            match refused {
                None => return Ok(found),
                Some(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Some(error) => return Err(error.into()),
            }
        }
        bail!("the list kept changing while it was read")
    }

    /// The kernel's refusal, if it refused. `EINTR` says that the list changed meanwhile.
    fn exchange(
        &self,
        question: &Message,
        flags: u16,
        mut each: impl FnMut(Message),
    ) -> Result<Option<io::Error>> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        let payload = NetlinkPayload::InnerMessage(question.clone());
        let mut message = NetlinkMessage::new(header, payload);
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut interrupted = false;
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = datagram.as_slice();
            while !rest.is_empty() {
                let message = NetlinkMessage::<Message>::deserialize(rest)?;
                interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
                let length = usize::try_from(message.header.length)?.next_multiple_of(4);
                rest = rest.get(length..).unwrap_or_default();
                match message.payload {
                    NetlinkPayload::InnerMessage(message) => each(message),
                    NetlinkPayload::Done(done) if done.code < 0 => {
                        return Ok(Some(io::Error::from_raw_os_error(-done.code)));
                    }
                    NetlinkPayload::Done(_) => {
                        return Ok(interrupted.then(|| io::ErrorKind::Interrupted.into()));
                    }
                    NetlinkPayload::Error(error) if error.code.is_none() => return Ok(None),
                    NetlinkPayload::Error(error) => return Ok(Some(error.to_io())),
                    NetlinkPayload::Noop => {}
                    other => bail!("unexpected answer {other:?}"),
                }
            }
        }
    }
}

/// A question or an answer: its type, then its bytes from the fixed part on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: u16,
    pub(super) bytes: Vec<u8>,
}

impl Message {
    /// Starts with the fixed part, whose length is a multiple of four.
    pub(super) fn new(kind: u16, fixed: &[u8]) -> Self {
        Self {
            kind,
            bytes: fixed.to_vec(),
        }
    }

    pub(super) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
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

    /// The attributes after a fixed part of this length.
    pub(super) fn attributes(&self, fixed: usize) -> Attributes<'_> {
        Attributes(self.bytes.get(fixed..).unwrap_or_default())
    }

    pub(super) fn u32_at(&self, at: usize) -> Option<u32> {
        u32_at(&self.bytes, at)
    }
}

/// Attributes that follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

impl<'a> Attributes<'a> {
    /// Each number and value; ends where the bytes make no sense.
    pub(super) fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let all = NlasIterator::new(self.0).map_while(Result::ok);
        all.map(|one: NlaBuffer<&'a [u8]>| {
            let end = 4 + one.value_length();
            (one.kind(), &one.into_inner()[4..end])
        })
    }

    pub(super) fn get(self, wanted: u16) -> Option<&'a [u8]> {
        self.iter()
            .find_map(|(kind, value)| (kind == wanted).then_some(value))
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

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
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

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.bytes.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer[..self.bytes.len()].copy_from_slice(&self.bytes);
    }
}

impl NetlinkDeserializable for Message {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self::new(header.message_type, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let inner = Message::new(0, &[]).with(1, b"tbf\0").with_u32(2, Some(7));
        let message = Message::new(38, &[9; 20])
            .with(2, &inner.bytes)
            .with(3, &[1])
            .with_u32(4, None)
            .with_address(5, "10.0.0.1".parse().unwrap());
        let all = message.attributes(20);
        assert_eq!(all.inside(2).text(1).as_deref(), Some("tbf"));
        assert_eq!(all.inside(2).u32(2), Some(7));
        assert_eq!(all.get(3), Some([1].as_slice()));
        assert_eq!(all.get(4), None);
        assert_eq!(all.address(5), Some("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn nonsense_ends_the_reading() {
        assert_eq!(Attributes(&[0xff; 32]).iter().count(), 0);
        assert_eq!(Attributes(&[4]).iter().count(), 0);
        assert_eq!(Message::new(0, &[1; 4]).attributes(20).iter().count(), 0);
    }

    #[test]
    fn the_kernel_answers_and_refuses() {
        let rtnetlink = Rtnetlink::open().unwrap();
        let mut fixed = [0; 16];
        fixed[4] = 1;
        let lo = Message::new(libc::RTM_GETLINK, &fixed);
        let answer = rtnetlink.ask(&lo).unwrap().unwrap().unwrap();
        let name = answer.attributes(16).text(libc::IFLA_IFNAME);
        assert_eq!(name.as_deref(), Some("lo"));
        fixed[4..8].fill(0x7f);
        let none = Message::new(libc::RTM_GETLINK, &fixed);
        let error = rtnetlink.ask(&none).unwrap().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }
}
