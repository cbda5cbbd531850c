//! Packets in the name of others, as an outsider can send them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, Socket, Type};

use super::Flow;
use crate::lab::{Family, Host, Namespace};

const TCP: u8 = 6;
const ICMP: u8 = 1;
const UDP: u8 = 17;
/// Flags of a segment with data.
const PUSH_ACK: u8 = 0x18;
/// Flag of a SYN.
const SYN: u8 = 0x02;

/// A TCP segment that no socket has sent.
#[derive(Debug, Clone, Copy)]
pub struct ForgedSegment {
    src: SocketAddrV4,
    dst: SocketAddrV4,
    seq: u32,
    ack: u32,
    flags: u8,
    timestamp: Option<u32>,
    has_checksum: bool,
}

impl ForgedSegment {
    /// Data of the flow's source. Only IPv4 is made.
    pub fn of(flow: Flow, seq: u32) -> Result<Self> {
        let (SocketAddr::V4(src), SocketAddr::V4(dst)) = (flow.src, flow.dst) else {
            bail!("not IPv4: {flow}");
        };
        Ok(Self {
            src,
            dst,
            seq,
            ack: 1,
            flags: PUSH_ACK,
            timestamp: None,
            has_checksum: false,
        })
    }

    /// The SYN of a connection that is never opened.
    pub fn syn(flow: Flow, seq: u32) -> Result<Self> {
        let flags = SYN;
        Self::of(flow, seq).map(|segment| Self { flags, ..segment })
    }

    /// … with this acknowledgment number.
    pub fn acknowledging(self, ack: u32) -> Self {
        Self { ack, ..self }
    }

    /// … with a TCP timestamp (RFC 7323).
    pub fn at(self, timestamp: u32) -> Self {
        let timestamp = Some(timestamp);
        Self { timestamp, ..self }
    }

    /// … with the right checksum, so that a socket takes it.
    pub fn with_checksum(self) -> Self {
        let has_checksum = true;
        Self {
            has_checksum,
            ..self
        }
    }

    /// Sends it as it is. The namespace needs no such address.
    pub fn send(&self, from: &Namespace) -> Result<()> {
        send(from, &self.bytes(), *self.dst.ip())
    }

    /// Sends it inside of VXLAN, from an ordinary socket of the namespace's own.
    pub fn send_in_vxlan(&self, from: &Namespace, to: SocketAddr) -> Result<()> {
        let socket = from.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))?;
        socket
            .send_to(&self.in_vxlan(), to)
            .context("cannot send VXLAN")?;
        Ok(())
    }

    /// Sends it inside VXLAN with this UDP checksum; 0 means no checksum.
    pub fn send_in_vxlan_with(
        &self,
        from: &Namespace,
        (src, dst): (SocketAddrV4, SocketAddrV4),
        sum: u16,
    ) -> Result<()> {
        let payload = self.in_vxlan();
        let length = u16::try_from(8 + payload.len())?;
        let fields = [src.port(), dst.port(), length, sum];
        let mut datagram: Vec<u8> = fields.into_iter().flat_map(u16::to_be_bytes).collect();
        datagram.extend(payload);
        send(from, &ip(UDP, *src.ip(), *dst.ip(), &datagram), *dst.ip())
    }

    fn in_vxlan(&self) -> Vec<u8> {
        let mut packet = vec![8, 0, 0, 0, 0, 0, 1, 0];
        packet.extend([2; 6]);
        packet.extend([4; 6]);
        packet.extend([8, 0]);
        packet.extend(self.bytes());
        packet
    }

    /// Sends "fragmentation needed" about it to its sender.
    pub fn send_too_big(&self, from: &Host) -> Result<()> {
        let IpAddr::V4(source) = from.address(Family::V4) else {
            bail!("not IPv4: {}", from.address(Family::V4));
        };
        let mut message = vec![3, 4, 0, 0, 0, 0, 5, 0];
        message.extend(&self.bytes()[..28]);
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let packet = ip(ICMP, source, *self.src.ip(), &message);
        send(from, &packet, *self.src.ip())
    }

    fn bytes(&self) -> Vec<u8> {
        let mut tcp = vec![0; 20];
        tcp[0..2].copy_from_slice(&self.src.port().to_be_bytes());
        tcp[2..4].copy_from_slice(&self.dst.port().to_be_bytes());
        tcp[4..8].copy_from_slice(&self.seq.to_be_bytes());
        tcp[8..12].copy_from_slice(&self.ack.to_be_bytes());
        tcp[12] = 0x50;
        tcp[13] = self.flags;
        tcp[14] = 0xff;
        if let Some(timestamp) = self.timestamp {
            tcp[12] = 0x80;
            // Twice nothing, then kind and length, and no echo.
            tcp.extend([1, 1, 8, 10]);
            tcp.extend(timestamp.to_be_bytes());
            tcp.extend([0; 4]);
        }
        if self.flags != SYN {
            tcp.extend([b'x'; 100]);
        }
        if self.has_checksum {
            let mut whole = Vec::from(self.src.ip().octets());
            whole.extend(self.dst.ip().octets());
            whole.extend([0, TCP]);
            whole.extend((tcp.len() as u16).to_be_bytes());
            whole.extend(&tcp);
            tcp[16..18].copy_from_slice(&checksum(&whole).to_be_bytes());
        }
        ip(TCP, *self.src.ip(), *self.dst.ip(), &tcp)
    }
}

fn ip(protocol: u8, src: Ipv4Addr, dst: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 20];
    let length = u16::try_from(20 + payload.len()).unwrap_or(u16::MAX);
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet[5] = 1;
    packet[8] = 64;
    packet[9] = protocol;
    packet[12..16].copy_from_slice(&src.octets());
    packet[16..20].copy_from_slice(&dst.octets());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(payload);
    packet
}

fn send(from: &Namespace, packet: &[u8], to: Ipv4Addr) -> Result<()> {
    let socket = from.enter(|| -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP))?;
        socket.set_header_included_v4(true)?;
        Ok(socket)
    });
    let to = SocketAddr::from((to, 0)).into();
    let socket = socket.context("cannot open a raw socket")?;
    socket.send_to(packet, &to).context("cannot send it")?;
    Ok(())
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2);
    let sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !(((folded & 0xffff) + (folded >> 16)) as u16)
}
