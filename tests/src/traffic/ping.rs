//! ICMP echo.

use std::{io, mem::MaybeUninit, net::IpAddr, net::SocketAddr};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{deadline, lab::Namespace};

/// Sends an echo request and waits for the reply.
///
/// Over a raw socket, as the `ping` of most distributions does: the kernel then finds no ping
/// socket for the reply and frees a copy of it, which is noise that a tracer has to know.
pub fn ping(namespace: &Namespace, address: IpAddr) -> Result<()> {
    let (domain, protocol, request, reply) = match address {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8, 0),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128, 129),
    };
    let socket = namespace.enter(|| -> io::Result<Socket> {
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        socket.connect(&SocketAddr::new(address, 0).into())?;
        Ok(socket)
    })?;

    // Identifier 0x5744, sequence 1, no payload. The kernel fills in ICMPv6's checksum.
    let mut packet = [request, 0, 0, 0, 0x57, 0x44, 0, 1];
    if address.is_ipv4() {
        let sum: u16 = u16::from_be_bytes([request, 0]) + 0x5744 + 1;
        packet[2..4].copy_from_slice(&(!sum).to_be_bytes());
    }
    socket.send(&packet)?;
    socket.set_read_timeout(Some(deadline()))?;
    let mut buffer = [MaybeUninit::uninit(); 128];
    loop {
        let count = socket
            .recv(&mut buffer)
            .with_context(|| format!("no echo reply from {address}"))?;
        let answer: Vec<u8> = buffer[..count]
            .iter()
            // SAFETY: `recv` has written the first `count` bytes.
            .map(|byte| unsafe { byte.assume_init() })
            .collect();
        // Raw IPv4 sockets get the IP header too, raw IPv6 ones do not.
        let header = if address.is_ipv4() { 20 } else { 0 };
        if answer.get(header) == Some(&reply) {
            return Ok(());
        }
    }
}
