//! What both sides of whydrop share.
//!
//! The kernel programs and the loader are compiled separately, for different targets, from this one
//! source, so that neither can misread the other:
//!
//! - [`event`]: what travels through the ring buffer and the counting map
//! - [`layout`]: where the running kernel keeps the fields that the programs read
//! - [`filter`]: which connection is looked at
//! - [`packet`]: the one packet parser; the kernel side filters with it, userspace decodes with it
//! - [`tunnel`]: the kinds of tunnels, in one table
//! - [`address`], [`mod@tuple`]: what the others speak in
//!
//! Invariant: no I/O, no allocation, no dependency on either side. All of it is tested on the host.
#![cfg_attr(not(test), no_std)]

pub mod address;
pub mod event;
pub mod filter;
pub mod layout;
pub mod packet;
pub mod share;
pub mod tunnel;
pub mod tuple;

#[cfg(feature = "user")]
mod pod;

/// Reads a value that the loader may have replaced after compilation.
///
/// Statics in `.rodata` look constant to the compiler; only a volatile read sees what the loader
/// wrote there. To the verifier it is a constant again, so an unused branch costs nothing.
#[inline(always)]
pub(crate) fn patched<T: Copy>(value: &T) -> T {
    // SAFETY: a reference is always valid for a read of its own type.
    unsafe { core::ptr::read_volatile(value) }
}
