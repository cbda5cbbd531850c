//! What ends a trace from outside.

use std::{future::pending, io, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

/// The signals that end a trace.
pub(super) struct Signals([Signal; 3]);

impl Signals {
    /// Signals end the trace in order from here on, and not the process at once.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            // The terminal or the connection to the node is gone: without this, that would kill us.
            signal(SignalKind::hangup())?,
        ]))
    }

    /// Waits for any of them.
    pub(super) async fn any(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Waits for as long as the trace is to take; forever if it is to go on.
pub(super) async fn after(duration: Option<Duration>) {
    match duration {
        Some(duration) => sleep(duration).await,
        None => pending().await,
    }
}
