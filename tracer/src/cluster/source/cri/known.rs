//! The sandboxes that have been reported.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use crate::cluster::{
    objects::{ObjectName, Pod},
    update::Change,
    view::{Kind, Object},
};

/// The sandboxes that are ready, and which of them have been reported.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// By id.
    ready: BTreeMap<String, Ready>,
    /// The sandbox under which each pod was reported.
    reported: BTreeMap<ObjectName, String>,
    /// Those whose status the runtime would not give: asked again, but reported only once.
    refused: BTreeSet<String>,
}

#[derive(Debug)]
struct Ready {
    pod: Pod,
    /// Decides between two sandboxes of one pod, of which the older is about to end.
    created: i64,
}

impl Known {
    /// Removes those that are not listed; returns those that are not known yet.
    pub(super) fn keep(&mut self, listed: Vec<String>) -> Vec<String> {
        let listed: BTreeSet<String> = listed.into_iter().collect();
        self.ready.retain(|id, _| listed.contains(id));
        self.refused.retain(|id| listed.contains(id));
        let unknown = listed.into_iter().filter(|id| !self.ready.contains_key(id));
        unknown.collect()
    }

    /// Learns of a sandbox, created at some time in nanoseconds since the epoch.
    pub(super) fn learn(&mut self, id: String, pod: Pod, created: i64) {
        self.refused.remove(&id);
        self.ready.insert(id, Ready { pod, created });
    }

    /// Notes that a sandbox has no readable status; `true` for the first time.
    pub(super) fn refuse(&mut self, id: &str) -> bool {
        self.refused.insert(id.to_owned())
    }

    /// Every pod, as if none had been reported before.
    pub(super) fn all(&mut self) -> Change {
        self.reported = self.current();
        let pods = self.reported.values().filter_map(|id| self.ready.get(id));
        let objects = pods.map(|ready| Object::from(ready.pod.clone()));
        Change::AllHere(Kind::Pod, objects.collect())
    }

    /// The changes since the last report.
    pub(super) fn changes(&mut self) -> Vec<Change> {
        let current = self.current();
        let before = mem::replace(&mut self.reported, current);
        let mut changes = Vec::new();
        for (name, id) in &before {
            // Also where another sandbox took its place: its properties, including its addresses, are obsolete.
            if self.reported.get(name) != Some(id) {
                changes.push(Change::Gone(Kind::Pod, name.clone()));
            }
        }
        for (name, id) in &self.reported {
            if before.get(name) != Some(id)
                && let Some(ready) = self.ready.get(id)
            {
                changes.push(Change::Put(Box::new(Object::from(ready.pod.clone()))));
            }
        }
        changes
    }

    /// The newest sandbox of each pod.
    fn current(&self) -> BTreeMap<ObjectName, String> {
        let mut by_age: Vec<_> = self.ready.iter().collect();
        by_age.sort_by_key(|(_, ready)| ready.created);
        let named = by_age
            .into_iter()
            .map(|(id, ready)| (ready.pod.id.clone(), id.clone()));
        named.collect()
    }
}

#[cfg(test)]
mod tests;
