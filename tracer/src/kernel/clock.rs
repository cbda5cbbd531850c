//! The kernel's clock.

use std::time::SystemTime;

use crate::model::Clock;

/// Measures the offset now. A later step of the wall clock is not followed: within one trace, the
/// times must stay in order.
pub(crate) fn now() -> Clock {
    Clock::new(SystemTime::now(), monotonic_nanos())
}

/// Nanoseconds of `CLOCK_MONOTONIC`, as `bpf_ktime_get_ns` gives them.
pub(crate) fn monotonic_nanos() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a valid place to write to. CLOCK_MONOTONIC exists on every Linux, so the
    // call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
