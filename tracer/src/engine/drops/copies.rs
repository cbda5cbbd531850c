//! Copies that a bridge floods: it has forgotten where a MAC address is, and sends the frame to all its
//! ports. Every other namespace drops its copy, while the packet reaches its destination.
//!
//! So such a drop waits for a moment: where the packet was answered, it is noise.

use super::PendingDrop;
use crate::engine::{MILLISECOND, Nanos};

/// How long a drop waits for an answer to its packet.
const WAITS: Nanos = 300 * MILLISECOND;
/// Drops that wait.
const CAPACITY: usize = 1024;

/// The drops that wait, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    held: Vec<(Nanos, PendingDrop)>,
}

impl Copies {
    /// Takes a drop. Returns it if it need not wait.
    pub(crate) fn hold(&mut self, drop: PendingDrop, now: Nanos) -> Option<PendingDrop> {
        if !drop.drop.facts.reason.is("OTHERHOST") || self.held.len() >= CAPACITY {
            return Some(drop);
        }
        self.held.push((now.saturating_add(WAITS), drop));
        None
    }

    /// Takes out the drops that have waited long enough.
    pub(crate) fn due(&mut self, now: Nanos) -> Vec<PendingDrop> {
        let due = self.held.extract_if(.., |(until, _)| *until <= now);
        due.map(|(_, drop)| drop).collect()
    }
}
