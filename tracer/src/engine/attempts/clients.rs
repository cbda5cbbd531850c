//! Which of several clients asks. Ids of DNS are few, and each client chooses its own: two may ask the
//! same question by the same id at the same time.
//!
//! A query is another client's unless its source, or its source before NAT, is known from a hop of the
//! attempt.

use tracer_common::tuple::Tuple;

use super::table::Table;
use crate::decode::sighting::{AttemptKey, Part, Sighting};

/// How many clients that ask the same question by the same id are followed separately.
const CLIENTS: u8 = 8;

impl Table {
    /// The key of the attempt that a sighting is about; for a query, also one that is not followed yet.
    pub(super) fn key_of(&self, sighting: &Sighting) -> Option<AttemptKey> {
        let original = sighting.original;
        match &sighting.part {
            Part::Opens(key, _) => {
                let clients = [Some(sighting.flow), original];
                let known = self.of_client(key, clients);
                Some(known.unwrap_or_else(|| self.of_new_client(key)))
            }
            Part::Answers(key, _) => {
                let clients = [Some(sighting.flow.reversed()), original];
                self.of_client_or_only_one(key, clients)
            }
            Part::Rejects(key, rejection) => {
                let clients = [Some(rejection.quoted), original];
                self.of_client_or_only_one(key.as_ref()?, clients)
            }
            Part::Refuses(key, _) | Part::Settles(key, _) => Some(key.clone()),
        }
    }

    /// The attempt whose client sends by one of these flows. For TCP, the number is enough.
    pub(super) fn of_client(
        &self,
        key: &AttemptKey,
        clients: [Option<Tuple>; 2],
    ) -> Option<AttemptKey> {
        let AttemptKey::Dns { .. } = key else {
            return Some(key.clone());
        };
        let is_its = |key: &AttemptKey| {
            let attempt = self.get(key);
            attempt.is_some_and(|attempt| attempt.is_from_any(clients))
        };
        all_clients(key).find(is_its)
    }

    /// The same, or the only attempt of that number: NAT may hide the client from its answer. Of
    /// several, it cannot be known which one it is for.
    fn of_client_or_only_one(
        &self,
        key: &AttemptKey,
        clients: [Option<Tuple>; 2],
    ) -> Option<AttemptKey> {
        self.of_client(key, clients).or_else(|| {
            let mut followed = all_clients(key).filter(|key| self.get(key).is_some());
            let first = followed.next()?;
            followed.next().is_none().then_some(first)
        })
    }

    /// A key for one client more. The last one makes room if there are too many.
    fn of_new_client(&self, key: &AttemptKey) -> AttemptKey {
        let mut free = all_clients(key).filter(|key| self.get(key).is_none());
        free.next().unwrap_or_else(|| key.with_client(CLIENTS - 1))
    }
}

fn all_clients(key: &AttemptKey) -> impl Iterator<Item = AttemptKey> + '_ {
    (0..CLIENTS).map(|client| key.with_client(client))
}
