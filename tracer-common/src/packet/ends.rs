//! Both ends of a TCP segment, as far as a few loads tell them.
//!
//! Nearly all segments that pass an interface belong to connections outside the filter. Of these
//! even a [`Tuple`](crate::tuple::Tuple) costs more than all else: the last words of the addresses
//! and the ports tell nearly all of them from the filter.

use super::{Bytes, Tcp, protocol::TCP};

/// What both ends look like in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The source's.
    pub src: End,
    /// The destination's.
    pub dst: End,
    /// The sequence number, host byte order.
    pub seq: u32,
}

/// What one end looks like in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The last four bytes of the address, as they stand in the packet.
    pub word: u32,
    /// The port, host byte order.
    pub port: u16,
}

/// Those of a plain segment in IPv4 without SYN and RST, of which the IP header is at `at`; `None` of
/// all else.
#[inline(always)]
pub fn segment_ends_v4<B: Bytes>(bytes: &B, at: u32) -> Option<Ends> {
    let [version, ..]: [u8; 4] = bytes.load(at)?;
    let [f0, f1, _, proto]: [u8; 4] = bytes.load(at + 6)?;
    // Behind the first fragment there are no ports.
    if version != 0x45 || proto != TCP || u16::from_be_bytes([f0, f1]) & 0x1fff != 0 {
        return None;
    }
    ends(bytes, [at + 12, at + 16], at + 20)
}

/// The same in IPv6, without extension headers.
#[inline(always)]
pub fn segment_ends_v6<B: Bytes>(bytes: &B, at: u32) -> Option<Ends> {
    let [version, ..]: [u8; 4] = bytes.load(at)?;
    let [proto, _]: [u8; 2] = bytes.load(at + 6)?;
    if version >> 4 != 6 || proto != TCP {
        return None;
    }
    ends(bytes, [at + 20, at + 36], at + 40)
}

#[inline(always)]
fn ends<B: Bytes>(bytes: &B, [src, dst]: [u32; 2], transport: u32) -> Option<Ends> {
    let [_, flags]: [u8; 2] = bytes.load(transport + 12)?;
    if flags & (Tcp::SYN | Tcp::RST) != 0 {
        return None;
    }
    let [s0, s1, d0, d1]: [u8; 4] = bytes.load(transport)?;
    let seq: [u8; 4] = bytes.load(transport + 4)?;
    let end = |word, port| End {
        word: u32::from_ne_bytes(word),
        port: u16::from_be_bytes(port),
    };
    Some(Ends {
        src: end(bytes.load(src)?, [s0, s1]),
        dst: end(bytes.load(dst)?, [d0, d1]),
        seq: u32::from_be_bytes(seq),
    })
}
