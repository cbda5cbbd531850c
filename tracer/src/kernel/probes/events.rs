//! The ring buffer as an asynchronous source of events.

use anyhow::{Context as _, Result};
use aya::maps::{MapData, RingBuf};
use bytes::Bytes;
use tokio::io::{Interest, unix::AsyncFd};

/// How many records are taken before others get their turn; a storm must not starve the timers.
const BATCH: usize = 256;

/// The events of the kernel programs, in the order in which they were reserved.
pub struct EventStream {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl EventStream {
    pub(super) fn new(ring: RingBuf<MapData>) -> Result<Self> {
        // SAFETY: the ring buffer keeps its descriptor open for as long as it lives.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .context("cannot poll the ring buffer")?;
        Ok(Self { ring })
    }

    /// Waits for records and takes a batch of them. Dropping the future loses none.
    ///
    /// # Errors
    ///
    /// The ring buffer cannot be polled any more.
    pub async fn next(&mut self) -> Result<Vec<Bytes>> {
        let mut guard = self
            .ring
            .readable_mut()
            .await
            .context("cannot poll the ring buffer")?;
        let records = drain(guard.get_inner_mut());
        if records.len() < BATCH {
            guard.clear_ready();
        }
        Ok(records)
    }

    /// Takes what is there, without waiting; empty if nothing is.
    pub fn take_ready(&mut self) -> Vec<Bytes> {
        drain(self.ring.get_mut())
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
