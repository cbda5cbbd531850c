//! Questions to the node that are open.

use std::collections::HashMap;

use super::effect::Effect;
use crate::{
    decode::{connect::ConnectKind, sighting::AttemptKey},
    node::{facts::Subject, query::Query},
};

/// Identifies a question among all of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct QueryId(u64);

/// What an answer is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The drops that are alike.
    Drops(Subject),
    /// Drops that were judged without the rules of this namespace, by its inode number.
    Rules(u32),
    /// An attempt that may be judged by its silence later.
    Baseline(AttemptKey),
    /// The same: the way that the node has for its packet.
    EarlyWalk(AttemptKey),
    /// An attempt whose time is up.
    Silence(AttemptKey),
    /// An attempt that has stalled.
    Stall(AttemptKey),
    /// Connects that failed alike.
    Connect(ConnectKind),
    /// What servers have not read at the end.
    Unread,
}

/// The open questions of a trace.
#[derive(Debug, Default)]
pub(crate) struct Queries {
    asked: u64,
    open: HashMap<QueryId, Purpose>,
}

impl Queries {
    /// Asks something.
    pub(crate) fn ask(&mut self, purpose: Purpose, query: Query, effects: &mut Vec<Effect>) {
        self.asked += 1;
        let id = QueryId(self.asked);
        self.open.insert(id, purpose);
        effects.push(Effect::Ask(id, query));
    }

    /// Closes a question that was answered.
    pub(crate) fn close(&mut self, id: QueryId) -> Option<Purpose> {
        self.open.remove(&id)
    }

    /// How many questions about drops are open.
    pub(crate) fn about_drops(&self) -> usize {
        let purposes = self.open.values();
        purposes
            .filter(|purpose| matches!(purpose, Purpose::Drops(_)))
            .count()
    }

    /// The attempts that wait to be judged by their silence.
    pub(crate) fn silent_attempts(&self) -> impl Iterator<Item = AttemptKey> + '_ {
        self.open.values().filter_map(|purpose| match purpose {
            Purpose::Silence(key) => Some(key.clone()),
            _ => None,
        })
    }

    /// The attempts that have stalled, and wait for what the node says of that.
    pub(crate) fn stalled_attempts(&self) -> impl Iterator<Item = AttemptKey> + '_ {
        self.open.values().filter_map(|purpose| match purpose {
            Purpose::Stall(key) => Some(key.clone()),
            _ => None,
        })
    }

    /// Whether the node is asked already why this attempt stalls.
    pub(crate) fn asks_about_stall(&self, key: &AttemptKey) -> bool {
        let mut open = self.open.values();
        open.any(|purpose| matches!(purpose, Purpose::Stall(of) if of == key))
    }

    /// Whether a question about failed connects is open.
    pub(crate) fn about_connects(&self) -> bool {
        let mut open = self.open.values();
        open.any(|purpose| matches!(purpose, Purpose::Connect(_)))
    }

    /// Whether the last look at the node is still open.
    pub(crate) fn about_the_end(&self) -> bool {
        let mut open = self.open.values();
        open.any(|purpose| matches!(purpose, Purpose::Unread))
    }

    /// How many questions about attempts are open.
    pub(crate) fn about_attempts(&self) -> usize {
        let of_others =
            |purpose: &&Purpose| matches!(purpose, Purpose::Rules(_) | Purpose::Connect(_));
        let others = self.open.values().filter(of_others).count();
        self.open.len() - self.about_drops() - others
    }
}
