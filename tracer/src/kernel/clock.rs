//! The kernel's clock.

use std::{fs, os::unix::fs::MetadataExt as _, sync::OnceLock, time::SystemTime};

use crate::model::Clock;

/// Measures the offset now. A later step of the wall clock is not followed: within one trace, the
/// times must stay in order.
pub(crate) fn now() -> Clock {
    Clock::new(SystemTime::now(), monotonic_nanos())
}

/// Nanoseconds of `CLOCK_MONOTONIC`, as `bpf_ktime_get_ns` gives them: those of the node, also in a
/// time namespace.
pub(crate) fn monotonic_nanos() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a valid place to write to. CLOCK_MONOTONIC exists on every Linux, so the
    // call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let here = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
    here.wrapping_add_signed(-offset())
}

/// By how many nanoseconds this time namespace is ahead of the node.
fn offset() -> i64 {
    static OFFSET: OnceLock<i64> = OnceLock::new();
    *OFFSET.get_or_init(|| {
        // `PROC_TIME_INIT_INO` of include/linux/proc_ns.h. The offsets may be those of children.
        const INITIAL: u64 = 0xeffffffa;
        let own = fs::metadata("/proc/self/ns/time").map(|file| file.ino());
        if own.is_ok_and(|inode| inode == INITIAL) {
            return 0;
        }
        let offsets = fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
        parsed(&offsets).unwrap_or(0)
    })
}

/// The offset in `/proc/self/timens_offsets`: `monotonic SECONDS NANOSECONDS`.
fn parsed(offsets: &str) -> Option<i64> {
    let mut lines = offsets.lines().map(str::split_ascii_whitespace);
    let mut fields =
        lines.find_map(|mut fields| (fields.next() == Some("monotonic")).then_some(fields))?;
    let seconds: i64 = fields.next()?.parse().ok()?;
    let nanos: i64 = fields.next()?.parse().ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

#[test]
fn a_time_namespace_says_how_far_ahead_it_is() {
    let offsets = "monotonic      100000        5\nboottime       7         0\n";
    assert_eq!(parsed(offsets), Some(100_000_000_000_005));
    assert_eq!(parsed("monotonic  -2  500000000"), Some(-1_500_000_000));
    assert_eq!(parsed(""), None);
    assert_eq!(parsed("monotonic 9223372036854775807 0"), None);
}
