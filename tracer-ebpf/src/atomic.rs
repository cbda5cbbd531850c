//! Atomic addition, which BPF has as one instruction (`BPF_ATOMIC | BPF_ADD`).

use core::intrinsics::{AtomicOrdering, atomic_xadd};

/// Adds one. The result is not asked for: fetching it needs a newer instruction (5.12).
///
/// # Safety
///
/// `counter` is valid and aligned to eight bytes.
#[inline(always)]
pub(crate) unsafe fn increment(counter: *mut u64) {
    // SAFETY: as required of the caller.
    let _: u64 = unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, 1) };
}
