//! What a namespace sends: the packets at one of its interfaces.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
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

    /// How many connections, datagrams and echo requests an address has begun so far. A SYN that is
    /// sent again begins nothing.
    pub fn begun(&self, src: IpAddr) -> BTreeMap<Purpose, u32> {
        let mut buffer = vec![0; 1 << 16];
        let mut frames = self.frames.borrow_mut();
        while let Ok(count) = (&self.socket).read(&mut buffer) {
            frames.push(buffer[..count].to_vec());
        }
        let mut syns = BTreeSet::new();
        let mut begun = BTreeMap::new();
        for frame in frames.iter() {
            let Some((purpose, id)) = opening(frame.get(ETHERNET..).unwrap_or_default(), src)
            else {
                continue;
            };
            if id.is_none_or(|id| syns.insert((purpose.clone(), id))) {
                *begun.entry(purpose).or_default() += 1;
            }
        }
        begun
    }

    /// Waits until an address has begun anything.
    pub fn wait_for_any(&self, src: IpAddr) -> Result<()> {
        poll_until("a packet", || (!self.begun(src).is_empty()).then_some(()))
    }
}

/// What a packet of this source begins; of a SYN, with its port and number.
fn opening(packet: &[u8], src: IpAddr) -> Option<(Purpose, Option<(u16, u32)>)> {
    let (from, to, protocol, rest): (IpAddr, IpAddr, u8, &[u8]) = match packet.first()? >> 4 {
        4 => {
            let header = usize::from(packet[0] & 0xf) * 4;
            let address = |at: usize| <[u8; 4]>::try_from(packet.get(at..at + 4)?).ok();
            let rest = packet.get(header..)?;
            (
                address(12)?.into(),
                address(16)?.into(),
                *packet.get(9)?,
                rest,
            )
        }
        6 => {
            let address = |at: usize| <[u8; 16]>::try_from(packet.get(at..at + 16)?).ok();
            (
                address(8)?.into(),
                address(24)?.into(),
                *packet.get(6)?,
                packet.get(40..)?,
            )
        }
        _ => return None,
    };
    if from != src {
        return None;
    }
    let number = |at: usize| Some(u16::from_be_bytes(rest.get(at..at + 2)?.try_into().ok()?));
    let of = |name: &str, port| (name.to_owned(), to, port);
    match protocol {
        6 => {
            let is_syn = rest.get(13)? & 0x12 == 0x02;
            let isn = u32::from_be_bytes(rest.get(4..8)?.try_into().ok()?);
            is_syn.then_some((of("tcp", Some(number(2)?)), Some((number(0)?, isn))))
        }
        17 => Some((of("udp", Some(number(2)?)), None)),
        1 if rest.first()? == &8 => Some((of("icmp", None), None)),
        58 if rest.first()? == &128 => Some((of("icmpv6", None), None)),
        _ => None,
    }
}
