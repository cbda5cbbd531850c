//! Ends a trace whose output is blocked, but not closed: by a pager that waits, or a stopped
//! terminal. A write there blocks until its reader goes on, and with it the handling of a signal.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use tokio::time::sleep;

use super::ending::Signals;
use crate::sink;

/// How long a single write may take once the trace is to end.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a shell says of a process that SIGTERM has ended: 128 and its number.
const STATUS: i32 = 128 + libc::SIGTERM;

/// Begun and ended writes: odd while one waits.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// Does one write, which is watched.
pub(crate) fn watched<T>(write: impl FnOnce() -> T) -> T {
    WRITES.fetch_add(1, Ordering::Relaxed);
    let written = write();
    WRITES.fetch_add(1, Ordering::Relaxed);
    written
}

/// Ends the process if, after a signal, a write goes on for [`PATIENCE`]. The kernel detaches what
/// goes with its process; what does not is removed at the next start.
///
/// # Errors
///
/// The thread that watches cannot be started.
pub(crate) fn watch() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let watch = async {
        let Ok(mut signals) = Signals::new() else {
            // Without a signal, a slow reader is no problem.
            return;
        };
        signals.any().await;
        let mut before = 0;
        loop {
            let now = WRITES.load(Ordering::Relaxed);
            if now % 2 == 1 && now == before {
                sink::note("nothing reads the output; this trace ends without its summary");
                // SAFETY: no destructor may run while the other thread is writing.
                unsafe { libc::_exit(STATUS) };
            }
            before = now;
            sleep(PATIENCE).await;
        }
    };
    thread::Builder::new()
        .name("watchdog".to_owned())
        .spawn(move || runtime.block_on(watch))
        .map(drop)
}
