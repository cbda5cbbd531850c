//! An Ethernet frame as a tc program may read it: by loads, after one check of its bounds.

use core::mem::MaybeUninit;

use tracer_common::packet::{Bytes, Plain};

/// Bytes of an Ethernet header.
pub(crate) const ETHERNET_LEN: u32 = 14;

/// The linear part of a frame, from where the context's `data` stands: the MAC header, or the IP
/// header on a device without one.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    /// Where its first byte is.
    pub(crate) start: usize,
    /// Behind its last.
    pub(crate) end: usize,
}

impl Frame {
    /// An Ethernet frame of at least so many bytes and this protocol: one check of the bounds is
    /// enough for few and wide loads.
    #[inline(always)]
    pub(crate) fn known<const LEN: usize>(&self, protocol: u16) -> Option<Known<LEN>> {
        if self.start + LEN > self.end {
            return None;
        }
        let known = Known::<LEN>(self.start);
        let [p0, p1, ..]: [u8; 4] = known.load(ETHERNET_LEN - 2)?;
        (u16::from_ne_bytes([p0, p1]) == protocol).then_some(known)
    }
}

/// A frame of at least so many bytes.
pub(crate) struct Known<const LEN: usize>(usize);

impl<const LEN: usize> Bytes for Known<LEN> {
    #[inline(always)]
    fn load<T: Plain>(&self, at: u32) -> Option<T> {
        if at as usize + size_of::<T>() > LEN {
            return None;
        }
        // SAFETY: within the bytes that are there; the verifier checks the same.
        Some(unsafe { read_words(self.0 + at as usize) })
    }
}

/// Reads by the widest words there are. For an unaligned read, the compiler would read byte by
/// byte; the machines that the kernel lets read packets like this do not need that.
///
/// # Safety
///
/// As many bytes as `T` has can be read.
#[inline(always)]
unsafe fn read_words<T: Plain>(from: usize) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    let to: *mut u8 = value.as_mut_ptr().cast();
    let mut at = 0;
    // SAFETY: as required of the caller, and `value` has room for as many. The loops are unrolled:
    // all their bounds are constants.
    unsafe {
        while size_of::<T>() - at >= 4 {
            let word = ((from + at) as *const u32).read_volatile();
            to.add(at).cast::<u32>().write_unaligned(word);
            at += 4;
        }
        if size_of::<T>() - at >= 2 {
            let word = ((from + at) as *const u16).read_volatile();
            to.add(at).cast::<u16>().write_unaligned(word);
            at += 2;
        }
        if size_of::<T>() - at == 1 {
            to.add(at).write(((from + at) as *const u8).read_volatile());
        }
        value.assume_init()
    }
}
