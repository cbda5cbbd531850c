//! Ctrl-C and its like, for programs that have something to clean up.

use std::thread;

use anyhow::Result;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

/// Calls `interrupted` (on a thread of its own) for every signal that asks the process to end,
/// which from now on does not end it.
pub fn on_interrupt(interrupted: impl Fn() + Send + 'static) -> Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    thread::spawn(move || signals.forever().for_each(|_| interrupted()));
    Ok(())
}
