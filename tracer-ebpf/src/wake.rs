//! When userspace is woken for an event.
//!
//! A wake-up is an interrupt, which costs more than the event. For [`WAKE_PAUSE_MS`] after one,
//! further events leave it out: meanwhile userspace looks by itself.

use aya_ebpf::{
    bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    macros::map,
    maps::Array,
};
use tracer_common::event::WAKE_PAUSE_MS;

use crate::maps::EVENTS;

/// When userspace was woken, in nanoseconds of `CLOCK_MONOTONIC`.
#[map]
static WOKEN: Array<u64> = Array::with_max_entries(1, 0);

const PAUSE: i64 = WAKE_PAUSE_MS as i64 * 1_000_000;

/// Puts an event into the ring buffer, and wakes userspace if that is due. `false` if there is no room
/// for it.
#[inline(always)]
pub(crate) fn output(event: &[u8], now: u64) -> bool {
    let Some(woken) = WOKEN.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: the verifier checked the pointer. CPUs that race for it wake once more, at worst.
    let last = unsafe { woken.read_volatile() };
    // Another CPU's clock may be a little ahead.
    if now.wrapping_sub(last).cast_signed() < PAUSE {
        return EVENTS
            .output::<[u8]>(event, BPF_RB_NO_WAKEUP.into())
            .is_ok();
    }
    // Not left to the kernel, which does not wake a process that is still reading.
    let is_in = EVENTS
        .output::<[u8]>(event, BPF_RB_FORCE_WAKEUP.into())
        .is_ok();
    if is_in {
        // SAFETY: as above.
        unsafe { woken.write_volatile(now) };
    }
    is_in
}
