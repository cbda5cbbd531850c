//! When userspace is woken for an event.
//!
//! A wake-up is an interrupt, which costs more than the event. Within a millisecond of one, further
//! events leave it out: userspace looks again two milliseconds after it was woken, by
//! [`tracer_common::event::LOOK_AGAIN_MS`].

use aya_ebpf::{
    bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    macros::map,
    maps::Array,
};

/// When userspace was woken, in nanoseconds of `CLOCK_MONOTONIC`.
#[map]
static WOKEN: Array<u64> = Array::with_max_entries(1, 0);

const PAUSE: u64 = 1_000_000;

/// The flags that an event is submitted with. CPUs that race for it wake once more, at worst.
#[inline(always)]
pub(crate) fn flags(now: u64) -> u64 {
    let Some(woken) = WOKEN.get_ptr_mut(0) else {
        return BPF_RB_FORCE_WAKEUP.into();
    };
    // SAFETY: the verifier checked the pointer.
    unsafe {
        // Another CPU's clock may be a little ahead.
        if now.wrapping_sub(woken.read_volatile()).cast_signed() < PAUSE.cast_signed() {
            return BPF_RB_NO_WAKEUP.into();
        }
        woken.write_volatile(now);
    }
    // Not left to the kernel, which wakes nobody who is still reading.
    BPF_RB_FORCE_WAKEUP.into()
}
