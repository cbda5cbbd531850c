//! The tuple before NAT, from the skb's conntrack entry.

use tracer_common::{address::Address, event::ct, tuple::Tuple};

use crate::{kernel, maps::LAYOUT, skb::Skb};

/// `AF_INET` of the kernel's UAPI.
const AF_INET: u16 = 2;

/// Writes the original tuple of the connection that the packet belongs to; leaves `tuple` all zero
/// if there is none.
///
/// Conntrack keeps one tuple per direction; the original one is the first, as the client sent it.
#[inline(never)]
pub(crate) fn original_tuple(skb: &Skb, tuple: &mut Tuple) {
    *tuple = Tuple::default();
    let nfct: u64 = skb.scalar(&LAYOUT.skb_nfct).unwrap_or(0);
    let entry = nfct & !u64::from(ct::INFO);
    let (Some(offset), true) = (LAYOUT.ct_original.offset(), entry != 0) else {
        return;
    };
    let base = entry + offset as u64;
    let family: u16 = kernel::read(base, &LAYOUT.tuple_family).unwrap_or(0);
    tuple.src = address(family, kernel::read(base, &LAYOUT.tuple_src_address));
    tuple.dst = address(family, kernel::read(base, &LAYOUT.tuple_dst_address));
    tuple.sport = port(kernel::read(base, &LAYOUT.tuple_src_port));
    tuple.dport = port(kernel::read(base, &LAYOUT.tuple_dst_port));
    tuple.proto = kernel::read(base, &LAYOUT.tuple_protocol).unwrap_or(0);
    tuple.flags = Tuple::HAS_PORTS;
}

/// What conntrack has said of the packet, as [`ct`] has it.
#[inline(always)]
pub(crate) fn state(skb: &Skb) -> u32 {
    let Some(nfct) = skb.scalar::<u64>(&LAYOUT.skb_nfct) else {
        return 0;
    };
    let info = nfct as u32 & ct::INFO;
    let has_entry = nfct & !u64::from(ct::INFO) != 0;
    ct::READ | info | if has_entry { ct::ENTRY } else { 0 }
}

/// Whether NAT may have changed the packet, so that its tuple is not the original one nor that of
/// its answers.
#[inline(always)]
pub(crate) fn is_translated(skb: &Skb) -> bool {
    let nfct: u64 = skb.scalar(&LAYOUT.skb_nfct).unwrap_or(0);
    let entry = nfct & !u64::from(ct::INFO);
    if entry == 0 {
        return false;
    }
    let status: Option<u32> = kernel::read(entry, &LAYOUT.ct_status);
    status.is_none_or(|status| status & (ct::SRC_NAT | ct::DST_NAT) != 0)
}

#[inline(always)]
fn port(bytes: Option<[u8; 2]>) -> u16 {
    bytes.map_or(0, u16::from_be_bytes)
}

#[inline(always)]
fn address(family: u16, bytes: Option<[u8; 16]>) -> Address {
    let Some(bytes) = bytes else {
        return Address::UNSPECIFIED;
    };
    if family == AF_INET {
        Address::v4([bytes[0], bytes[1], bytes[2], bytes[3]])
    } else {
        Address::v6(bytes)
    }
}
