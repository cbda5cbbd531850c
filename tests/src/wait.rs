//! Waiting for what has no event to wait for.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How long anything that must happen may take. Generous: it is a bound for a broken run, never a
/// measure of a good one. Who builds the tests for a slow machine says how many times slower it
/// is.
pub const DEADLINE: Duration = Duration::from_secs(20 * slowness(option_env!("WHYDROP_TEST_SLOW")));

const fn slowness(said: Option<&str>) -> u64 {
    match said {
        None => 1,
        Some(factor) => match u64::from_str_radix(factor, 10) {
            Ok(factor) => factor,
            Err(_) => panic!("WHYDROP_TEST_SLOW is not a number"),
        },
    }
}

/// Asks `condition` again and again until it gives a value.
///
/// For kernel state whose changes are not announced: programs that go away asynchronously,
/// addresses that become usable. Whatever can be awaited is awaited instead.
pub fn poll_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if start.elapsed() > DEADLINE {
            bail!("gave up waiting for {what} after {DEADLINE:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}
