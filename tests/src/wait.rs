//! Waiting for what has no event to wait for.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How long anything that must happen may take. Generous: it is a bound for a broken run, never a
/// measure of a good one.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Asks `condition` again and again until it gives a value.
///
/// For kernel state that announces itself to nobody: programs that go away asynchronously,
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
