//! The tuple before NAT, from the skb's conntrack entry.

use tracer_common::{address::Address, tuple::Tuple};

use crate::{kernel, maps::LAYOUT, skb::Skb};

/// The lowest bits of `skb->_nfct` hold the `ctinfo` (`NFCT_INFOMASK` in the kernel).
const INFO_MASK: u64 = 7;
/// `AF_INET` of the kernel's UAPI.
const AF_INET: u16 = 2;

/// The original tuple of the connection that the packet belongs to.
///
/// Conntrack keeps one tuple per direction; the original one is the first, as the client sent it.
#[inline(never)]
pub(crate) fn original_tuple(skb: &Skb) -> Option<Tuple> {
    let nfct: u64 = skb.scalar(&LAYOUT.skb_nfct)?;
    let entry = nfct & !INFO_MASK;
    if entry == 0 {
        return None;
    }
    let base = entry + LAYOUT.ct_original.offset()? as u64;
    let family: u16 = kernel::read(base, &LAYOUT.tuple_family)?;
    let src: [u8; 16] = kernel::read(base, &LAYOUT.tuple_src_address)?;
    let dst: [u8; 16] = kernel::read(base, &LAYOUT.tuple_dst_address)?;
    let sport: [u8; 2] = kernel::read(base, &LAYOUT.tuple_src_port)?;
    let dport: [u8; 2] = kernel::read(base, &LAYOUT.tuple_dst_port)?;
    Some(Tuple {
        src: address(family, src),
        dst: address(family, dst),
        sport: u16::from_be_bytes(sport),
        dport: u16::from_be_bytes(dport),
        proto: kernel::read(base, &LAYOUT.tuple_protocol)?,
        flags: Tuple::HAS_PORTS,
        reserved: [0; 2],
    })
}

#[inline(always)]
fn address(family: u16, bytes: [u8; 16]) -> Address {
    if family == AF_INET {
        Address::v4([bytes[0], bytes[1], bytes[2], bytes[3]])
    } else {
        Address::v6(bytes)
    }
}
