//! The tuple before NAT, from the skb's conntrack entry.

use tracer_common::{address::Address, event::ct, layout::Field, packet::DNS_PORT, tuple::Tuple};

use crate::{kernel, maps::LAYOUT, skb::Skb};

/// `AF_INET` of the kernel's UAPI.
const AF_INET: u16 = 2;

/// Writes the original tuple of the connection that the packet belongs to; leaves `tuple` all zero
/// if there is none.
///
/// Conntrack keeps one tuple per direction; the original one is the first, as the client sent it.
#[inline(never)]
pub(crate) fn original_tuple(skb: &Skb, tuple: &mut Tuple) {
    entry_tuple(skb, &LAYOUT.ct_original, tuple);
}

/// The same for the tuple of the answers.
#[inline(never)]
pub(crate) fn reply_tuple(skb: &Skb, tuple: &mut Tuple) {
    entry_tuple(skb, &LAYOUT.ct_reply, tuple);
}

#[inline(always)]
fn entry_tuple(skb: &Skb, which: &Field, tuple: &mut Tuple) {
    *tuple = Tuple::default();
    let nfct: u64 = skb.scalar(&LAYOUT.skb_nfct).unwrap_or(0);
    let entry = nfct & !u64::from(ct::INFO);
    let (Some(offset), true) = (which.offset(), entry != 0) else {
        return;
    };
    let Some(found) = TupleCopy::read(entry + offset as u64) else {
        return;
    };
    let family = found.load(&LAYOUT.tuple_family).unwrap_or(0);
    tuple.src = found.address(family, &LAYOUT.tuple_src_address);
    tuple.dst = found.address(family, &LAYOUT.tuple_dst_address);
    tuple.sport = found.port(&LAYOUT.tuple_src_port);
    tuple.dport = found.port(&LAYOUT.tuple_dst_port);
    tuple.proto = found.load(&LAYOUT.tuple_protocol).unwrap_or(0);
    tuple.flags = Tuple::HAS_PORTS;
}

/// Bytes of a `struct nf_conntrack_tuple` up to behind every field that is read, and a few more.
const TUPLE_LEN: usize = 48;

/// A copy of the struct, made by one helper call instead of one for each field.
#[repr(align(8))]
struct TupleCopy([u8; TUPLE_LEN]);

impl TupleCopy {
    #[inline(always)]
    fn read(address: u64) -> Option<Self> {
        kernel::read_at(address)
    }

    /// Loads a field; `None` if it is not there, or not within the copy.
    #[inline(always)]
    fn load<T: Copy>(&self, field: &Field) -> Option<T> {
        self.load_behind(field, 0)
    }

    #[inline(always)]
    fn load_behind<T: Copy>(&self, field: &Field, bytes: usize) -> Option<T> {
        let at = field.offset()? + bytes;
        if at + size_of::<T>() > TUPLE_LEN {
            return None;
        }
        // SAFETY: within the copy; the kernel aligns its fields, and this is aligned as the struct.
        Some(unsafe { self.0.as_ptr().add(at).cast::<T>().read_volatile() })
    }

    #[inline(always)]
    fn port(&self, field: &Field) -> u16 {
        self.load(field).map_or(0, u16::from_be)
    }

    #[inline(always)]
    fn address(&self, family: u16, field: &Field) -> Address {
        // A union, aligned as words of four bytes.
        let word = |index: usize| self.load_behind::<[u8; 4]>(field, 4 * index);
        if family == AF_INET {
            return word(0).map_or(Address::UNSPECIFIED, Address::v4);
        }
        match (word(0), word(1), word(2), word(3)) {
            (Some(a), Some(b), Some(c), Some(d)) => {
                // SAFETY: both are sixteen bytes that take every value.
                Address::v6(unsafe { core::mem::transmute::<[[u8; 4]; 4], [u8; 16]>([a, b, c, d]) })
            }
            _ => Address::UNSPECIFIED,
        }
    }
}

/// What conntrack has said of the packet, as [`ct`] has it.
#[inline(always)]
pub(crate) fn state(skb: &Skb) -> u32 {
    let Some(nfct) = skb.scalar::<u64>(&LAYOUT.skb_nfct) else {
        return 0;
    };
    let info = nfct as u32 & ct::INFO;
    let entry = nfct & !u64::from(ct::INFO);
    if entry == 0 {
        return ct::READ | info;
    }
    let status = match kernel::read::<u32>(entry, &LAYOUT.ct_status) {
        Some(status) => ct::STATUS | status << ct::STATUS_SHIFT,
        None => 0,
    };
    ct::READ | ct::ENTRY | info | status
}

/// Whether the packet's connection began with a packet to the port of DNS, whatever NAT has made of it.
///
/// A function of its own, for its share of the stack.
#[inline(never)]
pub(crate) fn was_for_dns(skb: &Skb) -> bool {
    let nfct: u64 = skb.scalar(&LAYOUT.skb_nfct).unwrap_or(0);
    let entry = nfct & !u64::from(ct::INFO);
    let (Some(offset), true) = (LAYOUT.ct_original.offset(), entry != 0) else {
        return false;
    };
    let port: Option<u16> = kernel::read(entry + offset as u64, &LAYOUT.tuple_dst_port);
    port.map(u16::from_be) == Some(DNS_PORT)
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
