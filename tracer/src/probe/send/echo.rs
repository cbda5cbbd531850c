//! Echo requests that must not be fragmented.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use socket2::{Protocol, Socket, Type};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::timeout_at,
};

use super::{Sockets, local, random};
use crate::{
    model::Protocol as IpProtocol,
    probe::observed::{Observed, Own},
};

/// A socket that sends echo requests to one address, and takes the replies to them.
#[derive(Debug)]
pub(crate) struct Echo {
    socket: AsyncFd<Socket>,
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
}

const ECHO_REQUEST: [u8; 2] = [8, 128];
const ECHO_REPLY: [u8; 2] = [0, 129];
/// `ICMP_DEST_UNREACH` with `ICMP_FRAG_NEEDED`, and `ICMPV6_PKT_TOOBIG`.
const TOO_BIG: [(u8, Option<u8>); 2] = [(3, Some(4)), (2, None)];
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
        observed.expect(Own {
            proto: ip_protocol,
            src: Some(src).filter(|ip| !ip.is_unspecified()),
            sport: None,
            dst,
            dport: None,
        });
        let both = Interest::READABLE.add(Interest::ERROR);
        // SAFETY: the socket owns its descriptor, which stays open and the same for as long as it
        // lives.
        let socket = unsafe { AsyncFd::register_with_interest(socket, both) }?;
        Ok(Self {
            socket,
            dst,
            id: random(),
            sent: 0,
            sizes: BTreeMap::new(),
        })
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
            while let Some((by, mtu, seq)) = read_error(self.socket.get_ref(), self.id) {
                if round.reported.is_none_or(|(_, known)| mtu < known) {
                    round.reported = Some((by, mtu));
                }
                open.remove(&seq);
            }
            match self.read_reply() {
                Ok(Some(seq)) => {
                    if open.remove(&seq)
                        && let Some(size) = self.sizes.get(&seq)
                    {
                        round.passed.insert(*size);
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

/// The next "fragmentation needed" about a request of this id: who has sent it, the MTU, and the
/// sequence number.
fn read_error(socket: &Socket, id: u16) -> Option<(IpAddr, u32, u16)> {
    loop {
        let mut data = [0; 64];
        let mut slices = [IoSliceMut::new(&mut data)];
        let mut space = nix::cmsg_space!([u8; 64]);
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let fd = socket.as_raw_fd();
        let message = recvmsg::<()>(fd, &mut slices, Some(&mut space), flags).ok()?;
        let mut found = None;
        for control in message.cmsgs().ok()? {
            let (error, by): (_, Option<IpAddr>) = match control {
                ControlMessageOwned::Ipv4RecvErr(error, by) => (
                    error,
                    by.map(|by| IpAddr::from(u32::from_be(by.sin_addr.s_addr).to_be_bytes())),
                ),
                ControlMessageOwned::Ipv6RecvErr(error, by) => {
                    (error, by.map(|by| IpAddr::from(by.sin6_addr.s6_addr)))
                }
                _ => continue,
            };
            let is_too_big = TOO_BIG.iter().any(|(kind, code)| {
                error.ee_type == *kind && code.is_none_or(|code| error.ee_code == code)
            });
            // The kernel's own word about the first link is none of a router.
            let is_icmp = error.ee_origin == libc::SO_EE_ORIGIN_ICMP
                || error.ee_origin == libc::SO_EE_ORIGIN_ICMP6;
            if is_icmp && is_too_big {
                found = by.map(|by| (by, error.ee_info));
            }
        }
        let bytes = message.bytes;
        let echo = data.get(..bytes.min(64)).unwrap_or_default();
        if let (Some((by, mtu)), [_, _, _, _, id0, id1, seq0, seq1, ..]) = (found, echo)
            && u16::from_be_bytes([*id0, *id1]) == id
        {
            return Some((by, mtu, u16::from_be_bytes([*seq0, *seq1])));
        }
    }
}

/// Makes the socket send whole packets, whatever path MTU the kernel has learned, and report errors.
fn whole(socket: &Socket, is_ipv4: bool) -> io::Result<()> {
    let set = |level, option, value: libc::c_int| {
        let size = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
        // SAFETY: the option takes an `int`, which lives until after the call.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                level,
                option,
                (&raw const value).cast(),
                size,
            )
        };
        match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    if is_ipv4 {
        set(
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_PROBE,
        )?;
        set(libc::IPPROTO_IP, libc::IP_RECVERR, 1)
    } else {
        set(
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_PROBE,
        )?;
        set(libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 1)?;
        set(libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)
    }
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or_default();
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}
