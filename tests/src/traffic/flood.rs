//! A flood: SYNs from unassigned addresses.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
    ops::Range,
};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use crate::lab::Namespace;

/// Sends SYNs as fast as the kernel takes them, each with its own source (in 198.18.0.0/15, which
/// RFC 2544 sets aside for tests like this) and its own sequence number. All were taken when it
/// returns.
///
/// Their checksums are not filled in: these packets are of no use where checksums are verified.
pub fn spoofed_syns(namespace: &Namespace, target: SocketAddrV4, count: u32) -> Result<()> {
    send_syns(namespace, target, 0..count, 17)
}

/// The same for SYNs with these numbers, all of them from 198.18.0.0/24: sources differ in the port.
pub fn spoofed_syns_of_one_network(
    namespace: &Namespace,
    target: SocketAddrV4,
    numbers: Range<u32>,
) -> Result<()> {
    send_syns(namespace, target, numbers, 8)
}

/// The last bits of a SYN's number are those of its address.
fn send_syns(
    namespace: &Namespace,
    target: SocketAddrV4,
    numbers: Range<u32>,
    bits: u32,
) -> Result<()> {
    let socket = namespace.enter(|| -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP))?;
        socket.set_header_included_v4(true)?;
        Ok(socket)
    });
    let socket = socket.context("cannot open a raw socket")?;
    for number in numbers {
        let packet = syn(number, bits, target);
        while let Err(error) = socket.send_to(&packet, &target.into()) {
            match error.raw_os_error() {
                Some(libc::ENOBUFS | libc::EAGAIN | libc::EINTR) => {}
                _ => return Err(error).context("cannot send a spoofed SYN"),
            }
        }
    }
    Ok(())
}

fn syn(number: u32, bits: u32, target: SocketAddrV4) -> [u8; 40] {
    let source = u32::from(Ipv4Addr::new(198, 18, 0, 0)) | (number & ((1 << bits) - 1));
    // An odd factor: no number comes twice.
    let isn = number.wrapping_mul(2_654_435_761);
    let sport = 1024 + u16::try_from(number >> bits).unwrap_or_default();
    let mut packet = [0; 40];
    // IPv4, five words; the kernel fills in the length, the id and the checksum.
    packet[0] = 0x45;
    packet[8] = 64;
    packet[9] = 6;
    packet[12..16].copy_from_slice(&source.to_be_bytes());
    packet[16..20].copy_from_slice(&target.ip().octets());
    packet[20..22].copy_from_slice(&sport.to_be_bytes());
    packet[22..24].copy_from_slice(&target.port().to_be_bytes());
    packet[24..28].copy_from_slice(&isn.to_be_bytes());
    // TCP, five words, SYN, a window.
    packet[32] = 0x50;
    packet[33] = 0x02;
    packet[34] = 0xff;
    packet
}
