//! Reading kernel memory at offsets that the loader resolved.

use aya_ebpf::helpers::bpf_probe_read_kernel;
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
