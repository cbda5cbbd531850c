//! The plainest of packets: TCP or UDP in IP, neither options nor extension headers, no tunnel.
//!
//! Nearly all packets are like this. Of these the whole parser would find one layer, which is to
//! be had from a handful of bytes.

use super::{
    Bytes, Layer,
    glance::{ip, is_tunnel, ports},
    protocol::{TCP, UDP},
};

/// Bytes of an IPv4 header and the ports behind it.
pub const PLAIN_V4: usize = 24;
/// Bytes of an IPv6 header and the ports behind it.
pub const PLAIN_V6: usize = 44;

/// The only layer of the packet whose IP header is at offset 0; `None` if it is not plain, or cut
/// off before its ports.
#[inline(always)]
pub fn plain<B: Bytes>(bytes: &B) -> Option<Layer> {
    let (tuple, transport_at) = ip(bytes, 0).ok()?;
    if !matches!(tuple.proto, TCP | UDP) {
        return None;
    }
    let tuple = ports(bytes, tuple, transport_at)?;
    if tuple.proto == UDP && is_tunnel(&tuple) {
        return None;
    }
    // IPv4 counts its header in, IPv6 does not.
    let (length_at, counted_from) = if transport_at == 20 { (2, 0) } else { (4, 40) };
    let length: [u8; 2] = bytes.load(length_at)?;
    Some(Layer {
        tuple,
        transport_at,
        end_at: counted_from + u32::from(u16::from_be_bytes(length)),
        ..Layer::EMPTY
    })
}
