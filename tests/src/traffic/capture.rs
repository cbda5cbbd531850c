//! What a namespace sends: the packets at one of its interfaces.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, Read as _},
    net::IpAddr,
};

use anyhow::{Context, Result};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Socket, Type};

use super::wire;
use crate::{lab::Namespace, poll_until};

/// A capture of one interface, from its start on.
pub struct Capture {
    socket: Socket,
    frames: RefCell<Vec<Vec<u8>>>,
}

/// Protocol, destination and port.
pub type Purpose = (String, IpAddr, Option<u16>);

const ETHERNET: usize = 14;

impl Capture {
    /// Starts it.
    pub fn start(namespace: &Namespace, ifname: &str) -> Result<Self> {
        let socket = namespace.enter(|| -> io::Result<Socket> {
            let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
            socket.set_recv_buffer_size(8 << 20)?;
            socket.set_nonblocking(true)?;
            wire::bind(&socket, if_nametoindex(ifname)?)?;
            Ok(socket)
        });
        let name = namespace.name();
        Ok(Self {
            socket: socket.with_context(|| format!("cannot capture at {ifname} in {name}"))?,
            frames: RefCell::default(),
        })
    }

    /// How many connections, datagrams and echo requests an address has begun so far, and how many
    /// segments it has sent whose bytes lie before those of their connection. A SYN that is sent again
    /// begins nothing.
    pub fn begun(&self, src: IpAddr) -> BTreeMap<Purpose, u32> {
        let mut buffer = vec![0; 1 << 16];
        let mut frames = self.frames.borrow_mut();
        while let Ok(count) = (&self.socket).read(&mut buffer) {
            frames.push(buffer[..count].to_vec());
        }
        let mut syns = BTreeMap::new();
        let mut begun = BTreeMap::new();
        for frame in frames.iter() {
            let packet = frame.get(ETHERNET..).unwrap_or_default();
            let Some((purpose, part)) = sent(packet, src) else {
                continue;
            };
            let purpose = match part {
                Part::Whole => purpose,
                Part::Syn { sport, isn } => {
                    if syns.insert((purpose.clone(), sport), isn) == Some(isn) {
                        continue;
                    }
                    purpose
                }
                Part::Segment { sport, end } => {
                    let isn = syns.get(&(purpose.clone(), sport));
                    if isn.is_none_or(|isn| isn.wrapping_add(1) != end) {
                        continue;
                    }
                    let (_, to, dport) = purpose;
                    (SEGMENT.to_owned(), to, dport)
                }
            };
            *begun.entry(purpose).or_default() += 1;
        }
        begun
    }

    /// Waits until an address has begun anything.
    pub fn wait_for_any(&self, src: IpAddr) -> Result<()> {
        poll_until("a packet", || (!self.begun(src).is_empty()).then_some(()))
    }
}

/// In place of the protocol: segments whose bytes lie before those of their connection.
pub const SEGMENT: &str = "segment";

/// What a packet is of what it belongs to.
enum Part {
    /// All of it.
    Whole,
    /// The SYN of a connection.
    Syn { sport: u16, isn: u32 },
    /// Bytes of a connection up to this number.
    Segment { sport: u16, end: u32 },
}

/// What a packet of this source belongs to; nothing where it only answers.
fn sent(packet: &[u8], src: IpAddr) -> Option<(Purpose, Part)> {
    let half = |at: usize| {
        let bytes = packet.get(at..at + 2)?.try_into().ok()?;
        Some(u16::from_be_bytes(bytes))
    };
    let (from, to, protocol, header, length): (IpAddr, IpAddr, u8, usize, u16) =
        match packet.first()? >> 4 {
            4 => {
                let address = |at: usize| <[u8; 4]>::try_from(packet.get(at..at + 4)?).ok();
                let header = usize::from(packet[0] & 0xf) * 4;
                let protocol = *packet.get(9)?;
                let [from, to] = [address(12)?, address(16)?];
                (from.into(), to.into(), protocol, header, half(2)?)
            }
            6 => {
                let address = |at: usize| <[u8; 16]>::try_from(packet.get(at..at + 16)?).ok();
                let [from, to] = [address(8)?, address(24)?];
                let length = half(4)?.checked_add(40)?;
                (from.into(), to.into(), *packet.get(6)?, 40, length)
            }
            _ => return None,
        };
    if from != src {
        return None;
    }
    let rest = packet.get(header..)?;
    let of = |name: &str, port| (name.to_owned(), to, port);
    match protocol {
        6 => {
            let (sport, dport) = (half(header)?, half(header + 2)?);
            let seq = u32::from_be_bytes(rest.get(4..8)?.try_into().ok()?);
            let before = header + usize::from(rest.get(12)? >> 4) * 4;
            let payload = usize::from(length).checked_sub(before)?;
            let part = match (rest.get(13)? & 0x12 == 0x02, payload) {
                (true, _) => Part::Syn { sport, isn: seq },
                (false, 0) => return None,
                (false, payload) => Part::Segment {
                    sport,
                    end: seq.wrapping_add(u32::try_from(payload).ok()?),
                },
            };
            Some((of("tcp", Some(dport)), part))
        }
        17 => Some((of("udp", half(header + 2)), Part::Whole)),
        1 if rest.first()? == &8 => Some((of("icmp", None), Part::Whole)),
        58 if rest.first()? == &128 => Some((of("icmpv6", None), Part::Whole)),
        _ => None,
    }
}
