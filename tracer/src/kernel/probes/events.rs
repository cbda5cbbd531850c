//! The ring buffer as an asynchronous source of events.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::maps::{MapData, RingBuf};
use bytes::Bytes;
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant, sleep_until},
};
use tracer_common::event::{LOOK_AGAIN_MS, WAKE_PAUSE_MS};

/// How many records are taken before others get their turn; a storm must not starve the timers.
const BATCH: usize = 256;

/// How long after a look at the ring buffer the next one is due.
const LOOK_AGAIN: Duration = Duration::from_millis(LOOK_AGAIN_MS);

/// How long this goes on after a wakeup: longer than the kernel programs send events without a
/// wakeup, by more than the clocks of both sides differ.
const LOOK_FOR: Duration = Duration::from_millis(WAKE_PAUSE_MS + 5);

/// The events of the kernel programs, in the order in which they were reserved.
pub(crate) struct EventStream {
    ring: AsyncFd<RingBuf<MapData>>,
    /// When to look for events that came without a wakeup.
    again: Option<Instant>,
    /// Until when there may be such events.
    until: Option<Instant>,
}

impl EventStream {
    pub(super) fn new(ring: RingBuf<MapData>) -> Result<Self> {
        // SAFETY: the ring buffer keeps its descriptor open for as long as it lives.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .context("cannot poll the ring buffer")?;
        Ok(Self {
            ring,
            again: None,
            until: None,
        })
    }

    /// Waits for records and takes a batch of them. Dropping the future loses none.
    ///
    /// # Errors
    ///
    /// The ring buffer cannot be polled any more.
    pub(crate) async fn next(&mut self) -> Result<Vec<Bytes>> {
        loop {
            let again = self.again;
            let pause = async {
                match again {
                    Some(again) => sleep_until(again).await,
                    None => std::future::pending().await,
                }
            };
            // Taken before a look, so that what comes after the last one wakes again.
            let (now, records) = tokio::select! {
                guard = self.ring.readable_mut() => {
                    let mut guard = guard.context("cannot poll the ring buffer")?;
                    let now = Instant::now();
                    let records = drain(guard.get_inner_mut());
                    if records.len() < BATCH {
                        guard.clear_ready();
                    }
                    self.until = Some(now + LOOK_FOR);
                    (now, records)
                }
                () = pause => (Instant::now(), drain(self.ring.get_mut())),
            };
            self.again = match records.len() {
                BATCH.. => Some(now),
                0 if self.until.is_none_or(|until| until < now) => None,
                _ => Some(now + LOOK_AGAIN),
            };
            if !records.is_empty() {
                return Ok(records);
            }
        }
    }

    /// Takes a batch of what is there, without waiting; empty if nothing is.
    pub(crate) fn take_ready(&mut self) -> Vec<Bytes> {
        drain(self.ring.get_mut())
    }

    /// Whether others may have been left behind by a look that took this batch.
    pub(crate) fn is_full(batch: &[Bytes]) -> bool {
        batch.len() >= BATCH
    }
}

fn drain(ring: &mut RingBuf<MapData>) -> Vec<Bytes> {
    let mut records = Vec::new();
    while records.len() < BATCH
        && let Some(record) = ring.next()
    {
        records.push(Bytes::copy_from_slice(&record));
    }
    records
}
