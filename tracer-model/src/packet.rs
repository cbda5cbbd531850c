//! Figures of one packet.

use super::TcpFlags;

/// Figures of one dropped packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Bytes from the network header up; for a GSO packet all its segments together.
    pub len: u32,
    /// The TCP flags; `None` where it is not TCP.
    pub tcp_flags: Option<TcpFlags>,
    /// TCP sequence number, host byte order.
    pub seq: Option<u32>,
    /// TCP payload bytes of each segment (`gso_size`); `None` where the packet is not GSO.
    pub gso_size: Option<u32>,
    /// ICMP or ICMPv6 type and code.
    pub icmp: Option<(u8, u8)>,
    /// Identifier and sequence number of an ICMP or ICMPv6 echo request or reply, or of the one that an
    /// ICMP error quotes.
    pub echo: Option<(u16, u16)>,
}
