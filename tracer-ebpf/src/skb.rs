//! `struct sk_buff`, read at the offsets of the running kernel.

use core::mem::offset_of;

use aya_ebpf::{cty::c_void, helpers::generated::bpf_probe_read_kernel as read_kernel_bytes};
use tracer_common::{
    event::{CAPTURE_LEN, DropEvent},
    layout::Field,
    packet::{Bytes, Plain},
};

use crate::{
    kernel::{self, Object},
    maps::LAYOUT,
};

/// EtherTypes that are followed, as they stand in `skb->protocol` (network byte order).
const IPV4: u16 = 0x0800u16.to_be();
const IPV6: u16 = 0x86ddu16.to_be();

/// A `struct sk_buff *`.
#[derive(Clone, Copy)]
pub(crate) struct Skb {
    address: *const c_void,
    /// Whether the verifier knows it to be an skb, and checks loads from it.
    typed: bool,
    /// A copy of it, from which fields are loaded instead.
    copy: Option<&'static SkbCopy>,
}

/// Bytes of an skb up to behind every field that is read. A field beyond is read from the skb.
const SKB_LEN: usize = 240;

/// A copy of the struct, made by one helper call instead of one for each field.
#[repr(C, align(8))]
pub(crate) struct SkbCopy([u8; SKB_LEN]);

impl Skb {
    /// The skb of a BTF tracepoint's argument.
    #[inline(always)]
    pub(crate) fn typed(skb: *const c_void) -> Self {
        Self {
            address: skb,
            typed: true,
            copy: None,
        }
    }

    /// The skb behind a tc program's context. To the verifier the context is a `struct __sk_buff`,
    /// of which it rewrites the loads; what lies there is the skb itself.
    #[inline(always)]
    pub(crate) fn behind(context: *const c_void) -> Self {
        Self {
            address: context,
            typed: false,
            copy: None,
        }
    }

    /// The same skb, with a copy of its struct in `room`.
    #[inline(always)]
    pub(crate) fn copied(self, room: &'static mut SkbCopy) -> Option<Self> {
        let to = room.0.as_mut_ptr().cast();
        // SAFETY: there is room for as many bytes; the helper checks where it reads from.
        let failed = unsafe { read_kernel_bytes(to, SKB_LEN as u32, self.address.cast()) };
        (failed == 0).then_some(Self {
            copy: Some(room),
            ..self
        })
    }

    /// The skb's address.
    #[inline(always)]
    pub(crate) fn address(&self) -> u64 {
        self.address as u64
    }

    /// The skb, if the verifier knows it to be one.
    #[inline(always)]
    pub(crate) fn object(&self) -> Option<Object> {
        self.typed.then_some(Object(self.address))
    }

    /// Loads a scalar field.
    #[inline(always)]
    pub(crate) fn scalar<T: Copy>(&self, field: &Field) -> Option<T> {
        if let Some(object) = self.object() {
            return object.load(field);
        }
        let copied = self.copy.and_then(|copy| copy.load(field));
        copied.or_else(|| kernel::read(self.address as u64, field))
    }

    /// Loads a pointer field as a number.
    #[inline(always)]
    pub(crate) fn pointer(&self, field: &Field) -> u64 {
        match self.object() {
            Some(object) => object.number(field),
            None => self.scalar(field).unwrap_or(0),
        }
    }

    /// The packet from its network header up; `None` if it is not IP.
    #[inline(always)]
    pub(crate) fn packet(&self) -> Option<Packet> {
        let version = self.version()?;
        let head = self.pointer(&LAYOUT.skb_head);
        let network: u16 = self.scalar(&LAYOUT.skb_network_header)?;
        let tail: u32 = self.scalar(&LAYOUT.skb_tail)?;
        Some(Packet {
            start: head + u64::from(network),
            linear: tail.saturating_sub(u32::from(network)),
            version,
        })
    }

    /// The packet from `data` up, where that is the network header; `None` if it is not IP.
    #[inline(always)]
    pub(crate) fn packet_at_data(&self) -> Option<Packet> {
        let version = self.version()?;
        let head = self.pointer(&LAYOUT.skb_head);
        let data = self.pointer(&LAYOUT.skb_data);
        let tail: u32 = self.scalar(&LAYOUT.skb_tail)?;
        Some(Packet {
            start: data,
            linear: tail.saturating_sub((data - head) as u32),
            version,
        })
    }

    #[inline(always)]
    fn version(&self) -> Option<Version> {
        match self.scalar(&LAYOUT.skb_protocol)? {
            IPV4 => Some(Version::V4),
            IPV6 => Some(Version::V6),
            _ => None,
        }
    }

    /// Bytes from the network header to the end, paged ones included.
    #[inline(always)]
    pub(crate) fn len_from(&self, packet: &Packet) -> u32 {
        let len: u32 = self.scalar(&LAYOUT.skb_len).unwrap_or(0);
        let data = self.pointer(&LAYOUT.skb_data);
        // `data` may stand at the MAC header or at the transport header.
        (u64::from(len) + data - packet.start) as u32
    }

    /// The MAC addresses, that of the destination first; all zero where the packet has no Ethernet
    /// header in front of it.
    #[inline(always)]
    pub(crate) fn mac_addresses(&self, packet: &Packet) -> [[u8; 6]; 2] {
        /// Destination, source and EtherType; with room for two VLAN tags.
        const HEADER: core::ops::RangeInclusive<u64> = 14..=22;
        match self.mac_header() {
            Some(start) if HEADER.contains(&packet.start.wrapping_sub(start)) => {
                kernel::read_at(start).unwrap_or([[0; 6]; 2])
            }
            _ => [[0; 6]; 2],
        }
    }

    /// Address of the MAC header, if there is one.
    #[inline(always)]
    pub(crate) fn mac_header(&self) -> Option<u64> {
        let at: u16 = self.scalar(&LAYOUT.skb_mac_header)?;
        (at != u16::MAX).then_some(self.pointer(&LAYOUT.skb_head) + u64::from(at))
    }

    /// TCP payload of each segment of a GSO packet; 0 otherwise.
    #[inline(always)]
    pub(crate) fn gso_size(&self) -> u32 {
        let head = self.pointer(&LAYOUT.skb_head);
        let end: u32 = self.scalar(&LAYOUT.skb_end).unwrap_or(0);
        let size: Option<u16> = kernel::read(head + u64::from(end), &LAYOUT.gso_size);
        size.unwrap_or(0).into()
    }
}

impl SkbCopy {
    /// Loads a field; `None` if it is not within the copy.
    #[inline(always)]
    fn load<T: Copy>(&self, field: &Field) -> Option<T> {
        let offset = field.offset()?;
        if offset + size_of::<T>() > SKB_LEN {
            return None;
        }
        // SAFETY: within the copy; the kernel aligns its fields, and this is aligned as the struct.
        Some(unsafe { self.0.as_ptr().add(offset).cast::<T>().read_volatile() })
    }
}

/// The linear part of a packet, in kernel memory.
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    /// Address of the network header.
    pub(crate) start: u64,
    /// Bytes from there to the end of the linear part.
    pub(crate) linear: u32,
    /// What its EtherType says that it is.
    pub(crate) version: Version,
}

impl Packet {
    /// Copies its first bytes; gives how many. A reader may rely on no others.
    #[inline(always)]
    pub(crate) fn capture(&self, to: &mut [u8; CAPTURE_LEN]) -> u32 {
        let len = self.linear.min(CAPTURE_LEN as u32);
        // SAFETY: there is room for as many bytes; the helper checks where it reads from.
        let failed =
            unsafe { read_kernel_bytes(to.as_mut_ptr().cast(), len, self.start as *const _) };
        if failed == 0 { len } else { 0 }
    }

    /// The same with the Ethernet header in front of it; `None` if they cannot be read.
    #[inline(always)]
    pub(crate) fn capture_frame(&self, event: &mut DropEvent) -> Option<u32> {
        const LINK: usize = offset_of!(DropEvent, capture) - offset_of!(DropEvent, dst_mac);
        let len = self.linear.min(CAPTURE_LEN as u32);
        let to = core::ptr::from_mut(event).cast::<u8>();
        let from = self.start - LINK as u64;
        // SAFETY: from the first address to the end of `capture` there is room for as many bytes; the
        // helper checks where it reads from.
        let failed = unsafe {
            let to = to.add(offset_of!(DropEvent, dst_mac));
            read_kernel_bytes(to.cast(), len + LINK as u32, from as *const _)
        };
        (failed == 0).then_some(len)
    }
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Version {
    V4,
    V6,
}

/// The first bytes of a packet, copied by a single helper call.
#[repr(align(8))]
pub(crate) struct Start<const LEN: usize>([u8; LEN]);

impl<const LEN: usize> Start<LEN> {
    /// Copies them from the address of the network header.
    #[inline(always)]
    pub(crate) fn read(start: u64) -> Option<Self> {
        kernel::read_at(start)
    }
}

impl<const LEN: usize> Bytes for Start<LEN> {
    #[inline(always)]
    fn load<T: Plain>(&self, at: u32) -> Option<T> {
        if at as usize + size_of::<T>() > LEN {
            return None;
        }
        // SAFETY: within the array, and every bit pattern is a value of `T`.
        Some(unsafe {
            self.0
                .as_ptr()
                .add(at as usize)
                .cast::<T>()
                .read_unaligned()
        })
    }
}

impl Bytes for Packet {
    #[inline(always)]
    fn load<T: Plain>(&self, at: u32) -> Option<T> {
        if at + size_of::<T>() as u32 > self.linear {
            return None;
        }
        kernel::read_at(self.start + u64::from(at))
    }
}
