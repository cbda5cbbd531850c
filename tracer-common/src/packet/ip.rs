//! IPv4 and IPv6 headers, extension headers included.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use super::bytes::Bytes;
use crate::address::Address;

/// What the transport layer needs to know of the IP header before it.
#[derive(Clone, Copy)]
pub(super) struct Header {
    pub(super) src: Address,
    pub(super) dst: Address,
    /// The protocol behind all extension headers.
    pub(super) proto: u8,
    /// Where the payload starts, in bytes from the start of the packet.
    pub(super) payload_at: u32,
    /// Where the packet ends by the header's own length.
    pub(super) end_at: u32,
    /// A fragment behind the first one: the payload does not start with a transport header.
    pub(super) later_fragment: bool,
}

/// Reads the IP header at `at`, of whichever version it says to be.
#[inline(always)]
pub(super) fn header<B: Bytes>(bytes: &B, at: u32) -> Option<Header> {
    match bytes.load::<u8>(at)? >> 4 {
        4 => v4(bytes, at),
        6 => v6(bytes, at),
        _ => None,
    }
}

#[inline(always)]
fn v4<B: Bytes>(bytes: &B, at: u32) -> Option<Header> {
    let header: Ipv4Hdr = bytes.load(at)?;
    let header_len = u32::from(header.vihl & 0xf) * 4;
    if header_len < Ipv4Hdr::LEN as u32 {
        return None;
    }
    // 13 bits, in units of eight bytes (RFC 791).
    let fragment_offset = u16::from_be_bytes(header.frags) & 0x1fff;
    Some(Header {
        src: Address::v4(header.src_addr),
        dst: Address::v4(header.dst_addr),
        proto: header.proto,
        payload_at: at + header_len,
        end_at: at + u32::from(u16::from_be_bytes(header.tot_len)),
        later_fragment: fragment_offset != 0,
    })
}

/// How many IPv6 extension headers are skipped before the parser gives up on the ports.
const MAX_EXTENSIONS: usize = 6;

#[inline(always)]
fn v6<B: Bytes>(bytes: &B, at: u32) -> Option<Header> {
    let header: Ipv6Hdr = bytes.load(at)?;
    let mut found = Header {
        src: Address::v6(header.src_addr),
        dst: Address::v6(header.dst_addr),
        proto: header.next_hdr,
        payload_at: at + Ipv6Hdr::LEN as u32,
        end_at: at + Ipv6Hdr::LEN as u32 + u32::from(u16::from_be_bytes(header.payload_len)),
        later_fragment: false,
    };
    for _ in 0..MAX_EXTENSIONS {
        let Some([next, len, high, low]) = bytes.load::<[u8; 4]>(found.payload_at) else {
            break;
        };
        found.payload_at += match found.proto {
            // Hop-by-hop, routing, destination options, mobility: in units of eight bytes without
            // the first (RFC 8200).
            0 | 43 | 60 | 135 => (u32::from(len) + 1) * 8,
            // Authentication: in units of four bytes without two (RFC 4302).
            51 => (u32::from(len) + 2) * 4,
            44 => {
                // The upper 13 bits are the fragment's offset.
                found.later_fragment = u16::from_be_bytes([high, low]) >> 3 != 0;
                8
            }
            _ => break,
        };
        found.proto = next;
        if found.later_fragment {
            break;
        }
    }
    Some(found)
}
