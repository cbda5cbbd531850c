//! IPv4 and IPv6 headers, extension headers included.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use super::{Layer, bytes::Bytes};
use crate::{address::Address, tuple::Tuple};

/// Reads the IP header at `at`, of whichever version it says to be, into `layer`.
#[inline(always)]
pub(super) fn read<B: Bytes>(bytes: &B, at: u32, layer: &mut Layer) -> Option<()> {
    *layer = Layer::EMPTY;
    match bytes.load::<u8>(at)? >> 4 {
        4 => v4(bytes, at, layer),
        6 => v6(bytes, at, layer),
        _ => None,
    }
}

#[inline(always)]
fn v4<B: Bytes>(bytes: &B, at: u32, layer: &mut Layer) -> Option<()> {
    let header: Ipv4Hdr = bytes.load(at)?;
    let header_len = u32::from(header.vihl & 0xf) * 4;
    if header_len < Ipv4Hdr::LEN as u32 {
        return None;
    }
    layer.tuple.src = Address::v4(header.src_addr);
    layer.tuple.dst = Address::v4(header.dst_addr);
    layer.tuple.proto = header.proto;
    layer.transport_at = at + header_len;
    layer.end_at = at + u32::from(u16::from_be_bytes(header.tot_len));
    // The fragment's offset: 13 bits, in units of eight bytes (RFC 791).
    if u16::from_be_bytes(header.frags) & 0x1fff != 0 {
        layer.tuple.flags = Tuple::LATER_FRAGMENT;
    }
    Some(())
}

/// How many IPv6 extension headers are skipped before the parser gives up on the ports.
const MAX_EXTENSIONS: usize = 6;

#[inline(always)]
fn v6<B: Bytes>(bytes: &B, at: u32, layer: &mut Layer) -> Option<()> {
    let header: Ipv6Hdr = bytes.load(at)?;
    let mut proto = header.next_hdr;
    let mut payload_at = at + Ipv6Hdr::LEN as u32;
    layer.tuple.src = Address::v6(header.src_addr);
    layer.tuple.dst = Address::v6(header.dst_addr);
    layer.end_at = payload_at + u32::from(u16::from_be_bytes(header.payload_len));
    for _ in 0..MAX_EXTENSIONS {
        if !matches!(proto, 0 | 43 | 44 | 51 | 60 | 135) {
            break;
        }
        let Some([next, len, high, low]) = bytes.load::<[u8; 4]>(payload_at) else {
            break;
        };
        payload_at += match proto {
            // Authentication: in units of four bytes without two (RFC 4302).
            51 => (u32::from(len) + 2) * 4,
            44 => {
                // The upper 13 bits are the fragment's offset.
                if u16::from_be_bytes([high, low]) >> 3 != 0 {
                    layer.tuple.flags = Tuple::LATER_FRAGMENT;
                }
                8
            }
            // Hop-by-hop, routing, destination options, mobility: in units of eight bytes without
            // the first (RFC 8200).
            _ => (u32::from(len) + 1) * 8,
        };
        proto = next;
        if layer.tuple.is_later_fragment() {
            break;
        }
    }
    layer.tuple.proto = proto;
    layer.transport_at = payload_at;
    Some(())
}
