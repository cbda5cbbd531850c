//! Where the parser reads from: a slice on the host, kernel memory in a BPF program.

/// Bytes of one packet, counted from its network header.
pub trait Bytes {
    /// Loads a `T` from `at`; `None` where the packet ends before it does.
    fn load<T: Plain>(&self, at: u32) -> Option<T>;
}

/// A type of which every bit pattern is a value.
///
/// # Safety
///
/// Implementors hold no padding, no references and no niches.
pub unsafe trait Plain: Copy {}

// SAFETY: integers and arrays of bytes take every bit pattern.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl<const N: usize> Plain for [u8; N] {}
// SAFETY: as above; the header types are made of bytes only.
unsafe impl Plain for network_types::ip::Ipv4Hdr {}
// SAFETY: as above.
unsafe impl Plain for network_types::ip::Ipv6Hdr {}
// SAFETY: as above.
unsafe impl Plain for network_types::udp::UdpHdr {}
// SAFETY: as above.
unsafe impl Plain for network_types::vxlan::VxlanHdr {}
// SAFETY: as above.
unsafe impl Plain for network_types::geneve::GeneveHdr {}

impl Bytes for [u8] {
    fn load<T: Plain>(&self, at: u32) -> Option<T> {
        let start = usize::try_from(at).ok()?;
        let end = start.checked_add(size_of::<T>())?;
        let bytes = self.get(start..end)?;
        // SAFETY: the slice holds exactly as many bytes as T, which takes every bit pattern.
        Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
    }
}

impl<B: Bytes + ?Sized> Bytes for &B {
    #[inline(always)]
    fn load<T: Plain>(&self, at: u32) -> Option<T> {
        (**self).load(at)
    }
}
