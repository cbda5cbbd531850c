//! Attempts that something is due for, in about the order in which it is.

use std::collections::VecDeque;

use crate::{decode::sighting::AttemptKey, engine::Nanos};

/// A queue of deadlines. All of them are set by the same delay after what they wait for, so each new
/// one comes last.
#[derive(Debug, Default)]
pub(super) struct Deadlines(VecDeque<(Nanos, AttemptKey)>);

impl Deadlines {
    pub(super) fn set(&mut self, at: Nanos, key: AttemptKey) {
        self.0.push_back((at, key));
    }

    pub(super) fn contains(&self, key: &AttemptKey) -> bool {
        self.0.iter().any(|(_, waiting)| waiting == key)
    }

    /// Takes out all that is due.
    pub(super) fn due(&mut self, now: Nanos) -> Vec<AttemptKey> {
        let mut due = Vec::new();
        while let Some((_, key)) = self.0.pop_front_if(|(at, _)| *at <= now) {
            due.push(key);
        }
        due
    }
}
