//! Waiting for what has no event to wait for.

use std::{
    env,
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How long anything that must happen may take. Generous: it is a bound for a broken run, never a
/// measure of a good one. On a slow machine, `WHYDROP_TEST_SLOW` says how many times slower it is.
///
/// # Panics
///
/// Panics if that is not a number.
pub fn deadline() -> Duration {
    static SLOWNESS: LazyLock<u32> = LazyLock::new(|| {
        env::var("WHYDROP_TEST_SLOW").map_or(1, |factor| {
            factor.parse().expect("WHYDROP_TEST_SLOW is a number")
        })
    });
    Duration::from_secs(20) * *SLOWNESS
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
        if start.elapsed() > deadline() {
            bail!("gave up waiting for {what} after {:?}", deadline());
        }
        thread::sleep(Duration::from_millis(5));
    }
}
