//! Datagrams inside IP in IP, made by hand: no tunnel device is needed, nor the module for one.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, Socket, Type};

use super::probe_mtu::probe_mtu;
use crate::lab::{Family, Host, Namespace};

/// IP in IP (RFC 2003).
const PROTOCOL: i32 = 4;
/// Headers of IPv4 and UDP.
const HEADERS: usize = 20 + 8;

/// One direction of a tunnel between two hosts.
pub struct IpInIp {
    sender: Socket,
    receiver: Option<Socket>,
    inner: [SocketAddrV4; 2],
}

impl IpInIp {
    /// From one host to another, whose addresses of IPv4 are the outer ones. The inner ones are from
    /// the first to the second of `inner`.
    pub fn open(from: &Host, to: &Host, inner: [SocketAddrV4; 2]) -> Result<Self> {
        let IpAddr::V4(destination) = to.address(Family::V4) else {
            bail!("no IPv4 address");
        };
        Self::towards(from, destination, inner)?.received_in(to)
    }

    /// To an address where no one takes it.
    pub fn towards(
        from: &Namespace,
        destination: Ipv4Addr,
        inner: [SocketAddrV4; 2],
    ) -> Result<Self> {
        let sender = from.enter(raw_socket)?;
        sender.connect(&SocketAddr::from((destination, 0)).into())?;
        probe_mtu(&sender, true).context("cannot forbid fragments")?;
        Ok(Self {
            sender,
            receiver: None,
            inner,
        })
    }

    /// The same, with a process in this namespace that takes what comes.
    pub fn received_in(self, namespace: &Namespace) -> Result<Self> {
        Ok(Self {
            receiver: Some(namespace.enter(raw_socket)?),
            ..self
        })
    }

    /// Sends an inner datagram of this length, headers included.
    pub fn send(&self, length: u16) -> io::Result<()> {
        let [src, dst] = self.inner;
        let mut packet = vec![0; usize::from(length).max(HEADERS)];
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        packet[8] = 64;
        packet[9] = 17;
        packet[12..16].copy_from_slice(&src.ip().octets());
        packet[16..20].copy_from_slice(&dst.ip().octets());
        let sum = checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet[20..22].copy_from_slice(&src.port().to_be_bytes());
        packet[22..24].copy_from_slice(&dst.port().to_be_bytes());
        packet[24..26].copy_from_slice(&(length - 20).to_be_bytes());
        self.sender.send(&packet).map(drop)
    }

    /// Whether a datagram came out at the other end.
    pub fn arrived(&self, timeout: Duration) -> io::Result<bool> {
        let Some(receiver) = &self.receiver else {
            return Ok(false);
        };
        receiver.set_read_timeout(Some(timeout))?;
        let mut buffer = [std::mem::MaybeUninit::uninit(); 1 << 11];
        match receiver.recv(&mut buffer) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn raw_socket() -> Result<Socket> {
    Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(PROTOCOL)))
        .context("cannot open a raw socket")
}

/// RFC 1071.
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2);
    let sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !(((folded & 0xffff) + (folded >> 16)) as u16)
}

/// Two ends that no host has: addresses of a cluster's pods.
pub const INNER: [SocketAddrV4; 2] = [
    SocketAddrV4::new(Ipv4Addr::new(10, 244, 1, 7), 40_000),
    SocketAddrV4::new(Ipv4Addr::new(10, 244, 2, 9), 8080),
];
