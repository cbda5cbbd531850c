//! Load: UDP datagrams of many flows, at a given rate.

use std::{
    io,
    net::SocketAddrV4,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use crate::lab::Namespace;

/// Bytes of an IPv4 header and a UDP header.
const HEADERS: usize = 28;
/// Bytes of payload.
const PAYLOAD: usize = 36;
/// The first source port.
const FIRST_PORT: u16 = 10_000;
/// Datagrams between two looks at the clock.
const BURST: u32 = 64;

/// Datagrams to one address, from the given number of source ports in turn.
#[derive(Debug, Clone, Copy)]
pub struct Datagrams {
    /// From this address.
    pub source: std::net::Ipv4Addr,
    /// To this one.
    pub target: SocketAddrV4,
    /// Source ports.
    pub flows: u16,
}

impl Datagrams {
    /// Sends `count` of them from a namespace, at most `rate` a second; all were taken when it
    /// returns. Returns the time that it took.
    ///
    /// # Errors
    ///
    /// There is no raw socket to be had, or no way to the target.
    pub fn send(&self, from: &Namespace, count: u32, rate: Option<u32>) -> Result<Duration> {
        let socket = from.enter(|| -> io::Result<Socket> {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP))?;
            socket.set_header_included_v4(true)?;
            Ok(socket)
        });
        let socket = socket.context("cannot open a raw socket")?;
        let start = Instant::now();
        let mut packet = self.packet();
        for number in 0..count {
            if let Some(rate) = rate
                && number % BURST == 0
            {
                let due = Duration::from_secs_f64(f64::from(number) / f64::from(rate));
                thread::sleep(due.saturating_sub(start.elapsed()));
            }
            let flow = u16::try_from(number % u32::from(self.flows)).unwrap_or(0);
            packet[20..22].copy_from_slice(&(FIRST_PORT + flow).to_be_bytes());
            while let Err(error) = socket.send_to(&packet, &self.target.into()) {
                match error.raw_os_error() {
                    // A rule that drops on the way returns an error to the sender.
                    Some(libc::EPERM) => break,
                    Some(libc::ENOBUFS | libc::EAGAIN | libc::EINTR) => {}
                    _ => return Err(error).context("cannot send a datagram"),
                }
            }
        }
        Ok(start.elapsed())
    }

    fn packet(&self) -> [u8; HEADERS + PAYLOAD] {
        let mut packet = [0x5a; HEADERS + PAYLOAD];
        packet[..HEADERS].fill(0);
        // IPv4, five words; the kernel fills in the length, the id and the checksum.
        packet[0] = 0x45;
        packet[8] = 64;
        packet[9] = 17;
        packet[12..16].copy_from_slice(&self.source.octets());
        packet[16..20].copy_from_slice(&self.target.ip().octets());
        packet[22..24].copy_from_slice(&self.target.port().to_be_bytes());
        // UDP: the length; no checksum.
        packet[24..26].copy_from_slice(&((8 + PAYLOAD) as u16).to_be_bytes());
        packet
    }
}
