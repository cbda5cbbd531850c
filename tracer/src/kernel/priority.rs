//! The processor time of this process: whatever the node is for comes first.

/// A third of the usual share of a busy processor.
const NICE: libc::c_int = 5;

/// Leaves the processor to others where it is busy, for the rest of this thread. Threads and tools that
/// it starts inherit that. Not for a thread that takes a lock of the kernel's that others wait for.
pub(crate) fn be_nice() {
    // SAFETY: nothing is passed but numbers. 0 is the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}
