//! Kernel time to wall-clock time.

use std::time::{Duration, SystemTime};

/// The offset between `CLOCK_MONOTONIC`, which kernel programs read, and wall-clock time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Wall-clock time at monotonic zero.
    zero: SystemTime,
}

impl Clock {
    /// A clock by which both times are the same moment. `monotonic` is in nanoseconds of
    /// `CLOCK_MONOTONIC`.
    pub fn new(wall: SystemTime, monotonic: u64) -> Self {
        Self {
            zero: wall - Duration::from_nanos(monotonic),
        }
    }

    /// Wall-clock time of a kernel timestamp, in nanoseconds of `CLOCK_MONOTONIC`.
    pub fn wall(&self, nanos: u64) -> SystemTime {
        self.zero + Duration::from_nanos(nanos)
    }
}
