//! Room for new attempts: how many are kept, for how long, and which one goes first.

use std::collections::VecDeque;

use tracer_common::{share::Share, tuple::Tuple};

use super::Table;
use crate::{
    decode::sighting::AttemptKey,
    engine::{Nanos, SECOND},
};

/// How long an outcome may still be corrected, as long as Linux retries a SYN by
/// default, and a little more.
const CORRECTABLE: Nanos = 150 * SECOND;
/// How many of the oldest attempts are looked at for one to evict: a flood must not make each SYN search
/// them all.
const OLDEST: usize = 64;
/// SYNs without a place that are remembered, so that each counts once however many hops it has.
const RECENT: usize = 16;

/// SYNs that found no room.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    /// How many.
    pub(super) count: u64,
    /// The last of them.
    recent: VecDeque<AttemptKey>,
}

impl LeftOut {
    /// Counts a SYN that is not followed, unless an earlier hop of it was counted.
    pub(super) fn add(&mut self, key: &AttemptKey) {
        if self.recent.contains(key) {
            return;
        }
        self.count += 1;
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(key.clone());
    }

    /// Takes back that an attempt is not followed: another packet of it has found room.
    pub(super) fn take_back(&mut self, key: &AttemptKey) {
        let known = self.recent.iter().position(|known| known == key);
        if let Some(at) = known {
            self.recent.remove(at);
            self.count -= 1;
        }
    }
}

impl Table {
    /// Removes what cannot be corrected any more.
    pub(super) fn forget_old(&mut self, now: Nanos) {
        while let Some(key) = self.order.front() {
            match self.attempts.get(key) {
                Some(attempt) if attempt.first_at.saturating_add(CORRECTABLE) > now => break,
                _ => {
                    let key = key.clone();
                    self.order.pop_front();
                    self.remove(&key, now);
                }
            }
        }
    }

    /// Makes room for an attempt with this flow: evicts the oldest attempt that was reported, or one of
    /// a network that holds far more attempts than the new one's. Returns whether it made room.
    pub(super) fn make_room(&mut self, flow: &Tuple, now: Nanos) -> bool {
        if self.attempts.len() < self.capacity {
            return true;
        }
        self.forget_old(now);
        let reported = self.order.iter().take(OLDEST).position(|key| {
            self.attempts
                .get(key)
                .is_none_or(|attempt| attempt.reported.is_some())
        });
        if let Some(at) = reported
            && let Some(key) = self.order.remove(at)
        {
            self.remove(&key, now);
        }
        if self.attempts.len() >= self.capacity {
            self.evict_for(Share::of(flow), now);
        }
        self.attempts.len() < self.capacity
    }

    /// Evicts an attempt whose share has taken far more than that of a newcomer.
    fn evict_for(&mut self, share: u32, now: Nanos) {
        let oldest = self.order.iter().take(OLDEST);
        let held = oldest.map(|key| self.attempts.get(key).map_or(share, |held| held.share));
        if let Some(at) = self.shares.largest(held, share)
            && let Some(key) = self.order.remove(at)
        {
            self.left_out.add(&key);
            self.remove(&key, now);
        }
    }
}
