//! The memory of this process: the kernel needs its share in the same control group.

/// Returns freed memory to the kernel. The C library keeps what was freed in small pieces; the start of
/// a trace frees ten times what the trace itself needs.
pub(crate) fn give_back() {
    // SAFETY: releases free memory of the heap only.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
