//! Where a source sends its changes: bounded in every way.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::mpsc::Sender;

use super::limits::{HELD, NOTE, NOTES};
use crate::cluster::{
    objects::Labels,
    unreadable::UnreadableName,
    update::{Change, Source, Update},
    view::{Kind, Object},
};

/// Where a source sends its changes. A source that sends faster than the trace takes has to wait.
#[derive(Debug, Clone)]
pub(crate) struct Sink {
    source: Source,
    updates: Sender<Update>,
    ledger: Arc<Mutex<Ledger>>,
}

impl Sink {
    /// A sink of this source's.
    #[must_use]
    pub(crate) fn new(source: Source, updates: Sender<Update>) -> Self {
        Self {
            source,
            updates,
            ledger: Arc::default(),
        }
    }

    /// Sends a change; `false` once no one listens any more, and the source may end.
    pub(crate) async fn send(&self, change: Change) -> bool {
        for change in self.admit(change) {
            let source = self.source;
            if self.updates.send(Update { source, change }).await.is_err() {
                return false;
            }
        }
        !self.updates.is_closed()
    }

    /// The same from a thread that may block.
    pub(crate) fn send_blocking(&self, change: Change) -> bool {
        for change in self.admit(change) {
            let source = self.source;
            let update = Update { source, change };
            if self.updates.blocking_send(update).is_err() {
                return false;
            }
        }
        !self.updates.is_closed()
    }

    /// Returns once no one listens any more.
    pub(crate) async fn closed(&self) {
        self.updates.closed().await;
    }

    fn admit(&self, change: Change) -> Vec<Change> {
        let ledger = self.ledger.lock();
        let mut ledger = ledger.unwrap_or_else(PoisonError::into_inner);
        ledger.admit(change, self.source)
    }
}

/// What a source has had kept so far.
#[derive(Debug, Default)]
struct Ledger {
    /// Bytes of each object.
    held: HashMap<(Kind, UnreadableName), usize>,
    total: usize,
    notes: usize,
    /// Whether it has been said that there are too many objects.
    is_full: bool,
}

impl Ledger {
    /// What of a change is within the limits, and what is to be said of the rest.
    fn admit(&mut self, change: Change, source: Source) -> Vec<Change> {
        match change {
            Change::Note(text) => self.note(&text, source).into_iter().collect(),
            Change::All(kind, objects) => {
                let (kept, left_out) = self.keep_all(kind, objects);
                let mut changes = vec![Change::All(kind, kept)];
                if left_out {
                    changes.extend(self.overflow(kind, source));
                }
                changes
            }
            Change::AllHere(kind, objects) => {
                let (kept, _) = self.keep_all(kind, objects);
                vec![Change::AllHere(kind, kept)]
            }
            Change::Put(object) => {
                let (kind, id) = (object.kind(), object.id());
                let id = UnreadableName::from(&id);
                self.forget(kind, &id);
                match self.keep(kind, id, weight(&object)) {
                    true => vec![Change::Put(object)],
                    false => self.overflow(kind, source),
                }
            }
            Change::Gone(kind, id) => {
                self.forget(kind, &(&id).into());
                vec![Change::Gone(kind, id)]
            }
            Change::Unreadable(kind, id, ips) => {
                self.forget(kind, &id);
                let size = NAMED + id.len() + 32 * ips.len();
                match self.keep(kind, id.clone(), size) {
                    true => vec![Change::Unreadable(kind, id, ips)],
                    false => self.overflow(kind, source),
                }
            }
            other => vec![other],
        }
    }

    /// Replaces all objects of a kind; whether some had to be left out.
    fn keep_all(&mut self, kind: Kind, objects: Vec<Object>) -> (Vec<Object>, bool) {
        let total = &mut self.total;
        self.held.retain(|(of, _), size| {
            let stays = *of != kind;
            if !stays {
                *total = total.saturating_sub(*size);
            }
            stays
        });
        let count = objects.len();
        let kept: Vec<Object> = objects
            .into_iter()
            .filter(|object| self.keep(kind, (&object.id()).into(), weight(object)))
            .collect();
        let left_out = kept.len() < count;
        (kept, left_out)
    }

    fn keep(&mut self, kind: Kind, id: UnreadableName, size: usize) -> bool {
        if self.total.saturating_add(size) > HELD {
            return false;
        }
        self.total += size;
        self.held.insert((kind, id), size);
        true
    }

    fn forget(&mut self, kind: Kind, id: &UnreadableName) {
        let size = self.held.remove(&(kind, id.clone())).unwrap_or_default();
        self.total = self.total.saturating_sub(size);
    }

    fn overflow(&mut self, kind: Kind, source: Source) -> Vec<Change> {
        let mut changes = vec![Change::Incomplete(kind)];
        if !mem::replace(&mut self.is_full, true) {
            changes.push(Change::Note(format!(
                "{source} has more objects than fit into {} MiB: the rest is left out",
                HELD >> 20
            )));
        }
        changes
    }

    fn note(&mut self, text: &str, source: Source) -> Option<Change> {
        self.notes += 1;
        if self.notes > NOTES {
            let last = self.notes == NOTES + 1;
            let sentence = format!("{source} has more to complain of, which is left out");
            return last.then_some(Change::Note(sentence));
        }
        let mut chars = text.chars();
        let mut short: String = chars.by_ref().take(NOTE).collect();
        if chars.next().is_some() {
            short += " …";
        }
        Some(Change::Note(short))
    }
}

/// Bytes of a name and of what keeps it.
const NAMED: usize = 200;
/// Bytes of a label beside its text.
const LABEL: usize = 100;
/// Bytes of an address, a port, a peer of a rule.
const PART: usize = 100;

/// About how many bytes an object takes.
fn weight(object: &Object) -> usize {
    let texts = |labels: &Labels| -> usize {
        let sizes = labels
            .iter()
            .map(|(key, value)| LABEL + key.len() + value.len());
        sizes.sum()
    };
    NAMED
        + match object {
            Object::Pod(pod) => {
                let parts = pod.ips.len() + pod.host_ips.len() + pod.ports.len();
                let images: usize = pod.images.iter().map(String::len).sum();
                800 + texts(&pod.labels) + PART * (parts + pod.container_ports.len()) + images
            }
            Object::Namespace(_, labels) => texts(labels),
            Object::Node(node) => PART * (node.ips.len() + node.pod_nets.len()),
            Object::Service(service) => {
                let parts = service.ips().count() + service.ports.len();
                PART * parts + texts(&service.selector)
            }
            Object::EndpointSlice(slice) => PART * (slice.backends.len() + slice.ports.len()),
            Object::Policy(policy) => {
                let rules = [&policy.ingress, &policy.egress];
                let rules = rules.into_iter().flatten().flatten();
                let parts = rules.map(|rule| 1 + rule.ports.len() + 4 * rule.peers.len());
                PART * (1 + parts.sum::<usize>())
            }
        }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::cluster::objects::{ObjectName, Pod};

    fn pod(name: &str, label: &str) -> Object {
        let labels = [("l".to_owned(), label.to_owned())];
        Object::from(Pod {
            id: ObjectName::new("shop", name),
            labels: labels.into(),
            ..Pod::default()
        })
    }

    fn all_of(receiver: &mut mpsc::Receiver<Update>) -> Vec<Change> {
        std::iter::from_fn(|| receiver.try_recv().ok())
            .map(|update| update.change)
            .collect()
    }

    #[tokio::test]
    async fn objects_are_taken_until_there_is_no_room_and_that_is_said_once() {
        let (sender, mut receiver) = mpsc::channel(64);
        let sink = Sink::new(Source::Api, sender);
        let large = "x".repeat(HELD / 4);
        for name in ["a", "b", "c", "d", "e"] {
            sink.send(Change::Put(Box::new(pod(name, &large)))).await;
        }
        let changes = all_of(&mut receiver);
        assert!(matches!(
            changes.as_slice(),
            [
                Change::Put(_),
                Change::Put(_),
                Change::Put(_),
                Change::Incomplete(Kind::Pod),
                Change::Note(_),
                Change::Incomplete(Kind::Pod)
            ]
        ));
        // What goes makes room.
        sink.send(Change::Gone(Kind::Pod, ObjectName::new("shop", "a")))
            .await;
        sink.send(Change::Put(Box::new(pod("f", &large)))).await;
        let changes = all_of(&mut receiver);
        assert!(matches!(
            changes.as_slice(),
            [Change::Gone(..), Change::Put(_)]
        ));
        sink.send(Change::All(Kind::Pod, vec![pod("g", "x")])).await;
        sink.send(Change::Put(Box::new(pod("h", &large)))).await;
        let changes = all_of(&mut receiver);
        assert!(matches!(
            changes.as_slice(),
            [Change::All(..), Change::Put(_)]
        ));
    }

    /// Otherwise, what it sends would pile up here.
    #[tokio::test]
    async fn a_source_that_is_faster_than_its_reader_waits() {
        let (sender, mut receiver) = mpsc::channel(2);
        let sink = Sink::new(Source::Api, sender);
        let put = |name: &str| Change::Put(Box::new(pod(name, "x")));
        for name in ["a", "b"] {
            sink.send(put(name)).await;
        }
        let mut third = Box::pin(sink.send(put("c")));
        tokio::select! {
            biased;
            _ = &mut third => panic!("there is no room"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(all_of(&mut receiver).len(), 2);
        assert!(third.await);
        assert_eq!(all_of(&mut receiver).len(), 1);
    }

    #[tokio::test]
    async fn notes_are_short_and_few() {
        let (sender, mut receiver) = mpsc::channel(2 * NOTES);
        let sink = Sink::new(Source::Cri, sender);
        for _ in 0..NOTES + 10 {
            sink.send(Change::Note("y".repeat(50_000))).await;
        }
        let notes = all_of(&mut receiver);
        assert_eq!(notes.len(), NOTES + 1);
        for note in notes {
            assert!(matches!(note, Change::Note(text) if text.chars().count() <= NOTE + 2));
        }
    }
}
