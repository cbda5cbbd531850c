//! What ends a trace from outside.

use std::{future::pending, io, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

/// The signals that end a trace.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` where it is ignored.
    hangup: Option<Signal>,
}

impl Signals {
    /// From here on, signals end the trace in order, and not the process at once.
    pub(super) fn new() -> io::Result<Self> {
        // SIGHUP comes when the terminal or the connection to the node is gone; without a handler, it
        // ends the process. Under `nohup` it is ignored, and the trace goes on.
        let ends = !is_ignored(libc::SIGHUP);
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: ends.then(|| signal(SignalKind::hangup())).transpose()?,
        })
    }

    /// Waits for any of them.
    pub(super) async fn any(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => drop(hangup.recv().await),
                None => pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = hangup => {}
        }
    }
}

/// Whether a signal is ignored, as the parent process may have it.
fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: all-zero is a value of the plain struct `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: without a new action this only writes the present one to `action`.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// Waits for as long as the trace is to take; forever if it is to go on.
pub(super) async fn after(duration: Option<Duration>) {
    match duration {
        Some(duration) => sleep(duration).await,
        None => pending().await,
    }
}
