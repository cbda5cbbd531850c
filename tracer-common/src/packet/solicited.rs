//! Neighbor Discovery: which packets wait for a question, or an answer.

use super::{Bytes, Layer, protocol};
use crate::{address::Address, tuple::Tuple};

/// Neighbor Solicitation and Neighbor Advertisement (RFC 4861).
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Bytes in front of the target's address.
const TARGET_AT: u32 = 8;

/// The flow that waits for a question of Neighbor Discovery, or for the answer to it: from the one
/// who asks to the target. Its ports are not known, as in a later fragment. `None` if `layer` is
/// neither.
#[inline(always)]
pub fn solicited<B: Bytes>(bytes: &B, layer: &Layer) -> Option<Tuple> {
    if layer.tuple.proto != protocol::ICMPV6 {
        return None;
    }
    let asks_from = match layer.icmp[0] {
        SOLICITATION => layer.tuple.src,
        ADVERTISEMENT => layer.tuple.dst,
        _ => return None,
    };
    let target: [u8; 16] = bytes.load(layer.transport_at + TARGET_AT)?;
    Some(Tuple {
        src: asks_from,
        dst: Address::v6(target),
        sport: 0,
        dport: 0,
        proto: protocol::ICMPV6,
        flags: Tuple::LATER_FRAGMENT,
        reserved: [0; 2],
    })
}
