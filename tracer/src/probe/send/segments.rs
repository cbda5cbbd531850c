//! Segments of all sizes on a connection of the probe's own, for where echo requests are not answered.
//!
//! Each repeats sequence numbers that end where the connection begins. The peer's kernel acknowledges
//! such a segment and drops it as old (RFC 9293, 3.10.7.4): the application never sees a byte of it.
//! With SACK, the acknowledgment names the segment that came (RFC 2883).

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read as _},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use socket2::{Protocol, SockFilter, Socket, Type};
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::TcpStream,
    time::timeout_at,
};

use super::{
    Round, Sockets, local,
    raw::{read_error, whole},
    segment::{Filler, Segment, overhead},
    tcp,
};
use crate::probe::observed::{Observed, Own};

/// The largest packet that is read.
const LARGEST: usize = 1 << 16;

/// A connection, and a raw socket that sends and reads segments of it.
#[derive(Debug)]
pub(crate) struct Segments {
    raw: AsyncFd<Socket>,
    own: Own,
    from: SocketAddr,
    to: SocketAddr,
    /// The next sequence number of this side, which has sent nothing.
    next: u32,
    /// The next one of the peer.
    expected: u32,
    /// Timestamps, where both sides have them: the SYN's, the peer's last, and when the SYN was sent.
    stamps: Option<(u32, u32, Instant)>,
    /// Whether acknowledgments name the segment that came; `None` before the first.
    names: Option<bool>,
    sent: u32,
    is_closed: bool,
    /// Closed last, with a FIN.
    _stream: TcpStream,
}

impl Segments {
    /// Connects.
    ///
    /// # Errors
    ///
    /// No socket can be made in the namespace, or the connection is not made.
    pub(crate) async fn new(
        sockets: &Sockets,
        observed: &Observed,
        from: Option<IpAddr>,
        to: SocketAddr,
        limit: Duration,
    ) -> Result<Self> {
        let socket = sockets.make((Type::STREAM, None), from, to.ip()).await?;
        let from = local(&socket)?;
        let kind = (Type::RAW, Some(Protocol::TCP));
        let raw = sockets.make(kind, Some(from.ip()), to.ip()).await?;
        whole(&raw, to.is_ipv4())?;
        raw.attach_filter(&between(from.port(), to.port(), to.is_ipv4()))?;
        raw.connect(&SocketAddr::new(to.ip(), 0).into())?;
        let begun = Instant::now();
        let connected = tcp::connect_with(socket, observed, to, limit).await?;
        let stream = connected.result.context("TCP does not connect this time")?;
        let both = Interest::READABLE.add(Interest::ERROR);
        // SAFETY: the socket owns its descriptor, which stays open and the same for as long as it
        // lives.
        let raw = unsafe { AsyncFd::register_with_interest(raw, both) }?;
        let mut segments = Self {
            raw,
            own: connected.own,
            from,
            to,
            next: 0,
            expected: 0,
            stamps: None,
            names: None,
            sent: 0,
            is_closed: false,
            _stream: stream,
        };
        // It came before the connection was made.
        while let Ok(segment) = segments.read() {
            if let Some(segment) = segment.filter(Segment::is_syn_ack) {
                segments.next = segment.ack;
                segments.expected = segment.seq.wrapping_add(1);
                segments.stamps = segment.stamps.map(|(theirs, own)| (own, theirs, begun));
                return Ok(segments);
            }
        }
        bail!("the SYN-ACK of the connection could not be read")
    }

    /// What identifies its packets.
    pub(crate) fn own(&self) -> Own {
        self.own
    }

    /// How many segments were sent so far.
    pub(crate) fn sent(&self) -> u32 {
        self.sent
    }

    /// Sends packets of these sizes, headers included, and waits for the acknowledgments.
    ///
    /// # Errors
    ///
    /// The socket fails.
    pub(crate) async fn round(&mut self, sizes: &[u32], wait: Duration) -> Result<Round> {
        let mut round = Round::default();
        for (n, size) in sizes.iter().enumerate() {
            match self.names {
                Some(true) => {
                    self.exchange(&sizes[n..], wait, &mut round).await?;
                    break;
                }
                // One by one, what is acknowledged is known all the same.
                Some(false) => self.exchange(&[*size], wait, &mut round).await?,
                None => {
                    self.exchange(&[*size], wait, &mut round).await?;
                    if self.names.is_none() {
                        break;
                    }
                }
            }
        }
        round.is_reset = self.is_closed;
        let sent: BTreeSet<u32> = sizes.iter().copied().collect();
        round.lost = sent.difference(&round.passed).copied().collect();
        Ok(round)
    }

    async fn exchange(&mut self, sizes: &[u32], wait: Duration, round: &mut Round) -> Result<()> {
        let begun = Instant::now();
        let overhead = overhead(self.to.is_ipv4(), self.stamps.is_some());
        let mut open: BTreeMap<u32, u32> = BTreeMap::new();
        for size in sizes {
            let payload = size.saturating_sub(overhead).max(1);
            self.send(payload)?;
            open.insert(payload, *size);
        }
        let deadline = tokio::time::Instant::now() + wait;
        while !open.is_empty() && !self.is_closed && tokio::time::Instant::now() < deadline {
            tokio::task::yield_now().await;
            let both = Interest::READABLE.add(Interest::ERROR);
            let Ok(ready) = timeout_at(deadline, self.raw.ready(both)).await else {
                break;
            };
            let mut ready = ready?;
            while let Some((by, mtu, quote)) = read_error(self.raw.get_ref()) {
                let [s0, s1, d0, d1, seq @ ..] = quote;
                let ports = [u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])];
                if ports == [self.from.port(), self.to.port()] {
                    round.report(by, mtu);
                    open.remove(&self.next.wrapping_sub(u32::from_be_bytes(seq)));
                }
            }
            let read = read(self.raw.get_ref(), self.to.is_ipv4());
            let segment = match read {
                Ok(Some(segment)) => segment,
                Ok(None) => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready.clear_ready();
                    continue;
                }
                // An ICMP error that is read above.
                Err(_) => continue,
            };
            self.take(&segment);
            if let Some(size) = self.acknowledged(&segment, &open) {
                let is_of_size = |known: &u32| *known != size;
                open.retain(|_, known| is_of_size(known));
                round.passed.insert(size);
                round.fastest.get_or_insert_with(|| begun.elapsed());
            }
        }
        Ok(())
    }

    /// The size of the packet that a segment acknowledges; `None` for any other segment.
    fn acknowledged(&mut self, segment: &Segment, open: &BTreeMap<u32, u32>) -> Option<u32> {
        if segment.ack != self.next || segment.is_syn_ack() || segment.is_reset() {
            return None;
        }
        if let Some((left, right)) = segment.sack {
            let size = open.get(&right.wrapping_sub(left)).copied()?;
            (right == self.next).then_some(())?;
            self.names = Some(true);
            return Some(size);
        }
        if self.names == Some(true) || !segment.is_bare() || open.len() != 1 {
            return None;
        }
        self.names = Some(false);
        open.values().next().copied()
    }

    fn take(&mut self, segment: &Segment) {
        self.is_closed |= segment.is_reset();
        if segment.seq == self.expected && !segment.is_reset() {
            self.expected = self.expected.wrapping_add(segment.payload);
        }
        if let (Some((_, theirs, _)), Some((now, _))) = (&mut self.stamps, segment.stamps) {
            *theirs = now;
        }
    }

    fn send(&mut self, payload: u32) -> Result<()> {
        let stamps = self.stamps.map(|(own, theirs, begun)| {
            let elapsed = u32::try_from(begun.elapsed().as_millis()).unwrap_or_default();
            (own.wrapping_add(elapsed), theirs)
        });
        let filler = Filler {
            from: self.from,
            to: self.to,
            seq: self.next.wrapping_sub(payload),
            ack: self.expected,
            stamps,
            payload,
        };
        self.sent += 1;
        match self.raw.get_ref().send(&filler.bytes()) {
            Ok(_) => Ok(()),
            // A rule that drops it here; or what an earlier one has met.
            Err(error) if error.raw_os_error().is_some() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&self) -> io::Result<Option<Segment>> {
        read(self.raw.get_ref(), self.to.is_ipv4())
    }
}

fn read(mut socket: &Socket, is_ipv4: bool) -> io::Result<Option<Segment>> {
    let mut buffer = vec![0; LARGEST];
    let count = socket.read(&mut buffer)?;
    Ok(Segment::read(&buffer[..count], is_ipv4))
}

/// A filter (classic BPF) for segments of the peer's port to this port: a raw socket gets those of all
/// connections with its addresses.
fn between(own: u16, peer: u16, is_ipv4: bool) -> Vec<SockFilter> {
    let op = |code: u32| u16::try_from(code).unwrap_or_default();
    // The filter sees the IP header in IPv4 only.
    let index = match is_ipv4 {
        true => SockFilter::new(op(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH), 0, 0, 0),
        false => SockFilter::new(op(libc::BPF_LDX | libc::BPF_W | libc::BPF_IMM), 0, 0, 0),
    };
    let half = op(libc::BPF_LD | libc::BPF_H | libc::BPF_IND);
    let equal = op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K);
    let ret = op(libc::BPF_RET | libc::BPF_K);
    vec![
        index,
        SockFilter::new(half, 0, 0, 0),
        SockFilter::new(equal, 0, 3, peer.into()),
        SockFilter::new(half, 0, 0, 2),
        SockFilter::new(equal, 0, 1, own.into()),
        SockFilter::new(ret, 0, 0, u32::MAX),
        SockFilter::new(ret, 0, 0, 0),
    ]
}
