//! Echo requests that must not be fragmented.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::Result;
use socket2::{Protocol, Socket, Type};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::timeout_at,
};

use super::{
    Sockets, local, random,
    raw::{checksum, read_error, whole},
};
use crate::{
    model::Protocol as IpProtocol,
    probe::observed::{Observed, Own},
};

/// A socket that sends echo requests to one address, and takes the replies to them.
#[derive(Debug)]
pub(crate) struct Echo {
    socket: AsyncFd<Socket>,
    own: Own,
    dst: IpAddr,
    id: u16,
    sent: u16,
    /// The size of each packet that was sent, by its sequence number.
    sizes: BTreeMap<u16, u32>,
}

/// What came back for some requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Round {
    /// The sizes that were answered.
    pub(crate) passed: BTreeSet<u32>,
    /// The sizes that were sent and not answered.
    pub(crate) lost: BTreeSet<u32>,
    /// The smallest MTU that a router has reported, and the router.
    pub(crate) reported: Option<(IpAddr, u32)>,
    /// How long the quickest reply took.
    pub(crate) fastest: Option<Duration>,
    /// The peer has reset the connection: what was not answered need not be lost.
    pub(crate) is_reset: bool,
}

impl Round {
    /// Takes the word of a router.
    pub(super) fn report(&mut self, by: IpAddr, mtu: u32) {
        if self.reported.is_none_or(|(_, known)| mtu < known) {
            self.reported = Some((by, mtu));
        }
    }
}

const ECHO_REQUEST: [u8; 2] = [8, 128];
const ECHO_REPLY: [u8; 2] = [0, 129];
/// Bytes of an ICMP echo header.
const HEADER: u32 = 8;

impl Echo {
    /// A socket for one address.
    ///
    /// # Errors
    ///
    /// The kernel refuses raw sockets, or an option.
    pub(crate) async fn new(
        sockets: &Sockets,
        observed: &Observed,
        from: Option<IpAddr>,
        dst: IpAddr,
    ) -> Result<Self> {
        let (protocol, ip_protocol) = match dst {
            IpAddr::V4(_) => (Protocol::ICMPV4, IpProtocol::Icmp),
            IpAddr::V6(_) => (Protocol::ICMPV6, IpProtocol::Icmpv6),
        };
        let socket = sockets.make((Type::RAW, Some(protocol)), from, dst).await?;
        whole(&socket, dst.is_ipv4())?;
        let src = local(&socket)?.ip();
        socket.connect(&SocketAddr::new(dst, 0).into())?;
        let id = random();
        let own = Own {
            proto: ip_protocol,
            src: Some(src).filter(|ip| !ip.is_unspecified()),
            sport: None,
            echo: Some(id),
            dst,
            dport: None,
        };
        observed.expect(own);
        let both = Interest::READABLE.add(Interest::ERROR);
        // SAFETY: the socket owns its descriptor, which stays open and the same for as long as it
        // lives.
        let socket = unsafe { AsyncFd::register_with_interest(socket, both) }?;
        Ok(Self {
            socket,
            own,
            dst,
            id,
            sent: 0,
            sizes: BTreeMap::new(),
        })
    }

    /// What identifies its packets.
    pub(crate) fn own(&self) -> Own {
        self.own
    }

    /// How many requests were sent so far.
    pub(crate) fn sent(&self) -> u32 {
        self.sent.into()
    }

    /// Sends packets of these sizes, headers included, and waits for the replies.
    ///
    /// # Errors
    ///
    /// The socket fails.
    pub(crate) async fn round(&mut self, sizes: &[u32], wait: Duration) -> Result<Round> {
        let begun = Instant::now();
        let first = self.sent;
        for size in sizes {
            self.sent += 1;
            self.sizes.insert(self.sent, *size);
            match self.socket.get_ref().send(&self.packet(*size)) {
                Ok(_) => {}
                // Too large for the first link; no route; or what an earlier one has met.
                Err(error) if error.raw_os_error().is_some() => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut round = Round::default();
        let mut open: BTreeSet<u16> = (first + 1..=self.sent).collect();
        let deadline = tokio::time::Instant::now() + wait;
        // In a flood, the socket is always ready: the clock and other tasks have their turn all the same.
        while !open.is_empty() && tokio::time::Instant::now() < deadline {
            tokio::task::yield_now().await;
            let Ok(ready) = timeout_at(
                deadline,
                self.socket.ready(Interest::READABLE.add(Interest::ERROR)),
            )
            .await
            else {
                break;
            };
            let mut ready = ready?;
            while let Some((by, mtu, quote)) = read_error(self.socket.get_ref()) {
                let [_, _, _, _, id0, id1, seq0, seq1] = quote;
                if u16::from_be_bytes([id0, id1]) == self.id {
                    round.report(by, mtu);
                    open.remove(&u16::from_be_bytes([seq0, seq1]));
                }
            }
            match self.read_reply() {
                Ok(Some(seq)) => {
                    // It may be the late one to an earlier request.
                    round.passed.extend(self.sizes.get(&seq));
                    if open.remove(&seq) {
                        round.fastest.get_or_insert_with(|| begun.elapsed());
                    }
                }
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                // An ICMP error that is read above.
                Err(_) => {}
            }
        }
        let sent = sizes.iter().copied().collect::<BTreeSet<_>>();
        round.lost = sent.difference(&round.passed).copied().collect();
        Ok(round)
    }

    fn packet(&self, size: u32) -> Vec<u8> {
        let ip_header = if self.dst.is_ipv4() { 20 } else { 40 };
        let length = size.saturating_sub(ip_header).max(HEADER);
        let mut packet = vec![0; usize::try_from(length).unwrap_or_default()];
        packet[0] = ECHO_REQUEST[usize::from(self.dst.is_ipv6())];
        packet[4..6].copy_from_slice(&self.id.to_be_bytes());
        packet[6..8].copy_from_slice(&self.sent.to_be_bytes());
        if self.dst.is_ipv4() {
            // The kernel fills in ICMPv6's.
            let sum = checksum(&packet);
            packet[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        packet
    }

    /// The sequence number of a reply to this socket's requests; `None` for any other packet.
    fn read_reply(&self) -> io::Result<Option<u16>> {
        let mut buffer = [MaybeUninit::uninit(); 128];
        let (count, from) = self.socket.get_ref().recv_from(&mut buffer)?;
        let bytes: Vec<u8> = buffer[..count.min(128)]
            .iter()
            // SAFETY: `recv_from` has written the first `count` bytes.
            .map(|byte| unsafe { byte.assume_init() })
            .collect();
        let is_from = from.as_socket().is_some_and(|from| from.ip() == self.dst);
        // Raw IPv4 sockets get the IP header too.
        let skip = match self.dst {
            IpAddr::V4(_) => usize::from(bytes.first().unwrap_or(&0) & 0xf) * 4,
            IpAddr::V6(_) => 0,
        };
        let icmp = bytes.get(skip..).unwrap_or_default();
        let [kind, _, _, _, id0, id1, seq0, seq1, ..] = *icmp else {
            return Ok(None);
        };
        let is_reply = kind == ECHO_REPLY[usize::from(self.dst.is_ipv6())];
        let is_own = u16::from_be_bytes([id0, id1]) == self.id;
        Ok((is_from && is_reply && is_own).then_some(u16::from_be_bytes([seq0, seq1])))
    }
}
