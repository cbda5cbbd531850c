//! The TCP header's part that tells a handshake.

use super::{Layer, bytes::Bytes, protocol};

/// What a TCP header says (RFC 9293), host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// CWR, ECE, URG, ACK, PSH, RST, SYN, FIN, from the highest bit down.
    pub flags: u8,
    /// Bytes of payload, by the IP header's length.
    pub payload: u32,
}

impl Tcp {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement number is valid.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer is valid.
    pub const URG: u8 = 0x20;
}

/// Reads the TCP header of `layer`; `None` where it is not TCP, or cut off.
#[inline(always)]
pub fn tcp<B: Bytes>(bytes: &B, layer: &Layer) -> Option<Tcp> {
    if layer.tuple.proto != protocol::TCP || layer.tuple.is_later_fragment() {
        return None;
    }
    // Sequence and acknowledgement number, data offset, flags.
    let [s0, s1, s2, s3, a0, a1, a2, a3, offset, flags]: [u8; 10] =
        bytes.load(layer.transport_at + 4)?;
    let header_len = u32::from(offset >> 4) * 4;
    Some(Tcp {
        seq: u32::from_be_bytes([s0, s1, s2, s3]),
        ack: u32::from_be_bytes([a0, a1, a2, a3]),
        flags,
        payload: layer.end_at.saturating_sub(layer.transport_at + header_len),
    })
}
