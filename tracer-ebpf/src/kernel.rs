//! Reading kernel memory at offsets that the loader resolved.

use aya_ebpf::{cty::c_void, helpers::bpf_probe_read_kernel};
use tracer_common::layout::Field;

/// Reads a field behind an untyped pointer. A pointer that leads nowhere gives `None`, not a fault.
#[inline(always)]
pub(crate) fn read<T>(base: u64, field: &Field) -> Option<T> {
    if base == 0 {
        return None;
    }
    read_at(base + field.offset()? as u64)
}

/// Reads a `T` at an address.
#[inline(always)]
pub(crate) fn read_at<T>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address itself, and fails on one that is not mapped.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}

/// A struct of which the verifier knows the type: it checks each load against the kernel's BTF, and
/// refuses the program if a load's offset is wrong. A pointer that leads nowhere reads as zero.
#[derive(Clone, Copy)]
pub(crate) struct Object(pub(crate) *const c_void);

impl Object {
    /// Loads a scalar field.
    #[inline(always)]
    pub(crate) fn load<T: Copy>(self, field: &Field) -> Option<T> {
        self.load_at(field.offset()?)
    }

    #[inline(always)]
    fn load_at<T: Copy>(self, offset: usize) -> Option<T> {
        // SAFETY: the verifier accepts the load only if it lies within the struct's field.
        Some(unsafe { self.0.cast::<u8>().add(offset).cast::<T>().read_volatile() })
    }

    /// Loads a field of sixteen bytes.
    #[inline(always)]
    pub(crate) fn load_16(self, field: &Field) -> Option<[u8; 16]> {
        let offset = field.offset()?;
        let halves: [u64; 2] = [self.load_at(offset)?, self.load_at(offset + 8)?];
        // SAFETY: both are sixteen bytes that take every value.
        Some(unsafe { core::mem::transmute::<[u64; 2], [u8; 16]>(halves) })
    }

    /// Follows a pointer to another struct; `None` if it is NULL.
    #[inline(always)]
    pub(crate) fn follow(self, field: &Field) -> Option<Self> {
        let pointer: *const c_void = self.load(field)?;
        (!pointer.is_null()).then_some(Self(pointer))
    }

    /// Loads a pointer as a number. To the verifier a pointer has a type: it forbids some arithmetic
    /// on it, and keeps apart all states that differ in an offset added to it, of which the parser
    /// has too many.
    #[inline(always)]
    pub(crate) fn number(self, field: &Field) -> u64 {
        let swapped = self.load::<u64>(field).unwrap_or(0).swap_bytes();
        // What comes out of a byte swap is no pointer. Volatile, lest the compiler undo both.
        // SAFETY: a reference is valid for a read of its own type.
        unsafe { core::ptr::read_volatile(&swapped) }.swap_bytes()
    }
}
