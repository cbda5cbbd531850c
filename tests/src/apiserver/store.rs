//! The objects of the replayed cluster, and who watches them.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{
    Notify,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

/// How requests are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As asked.
    Served,
    /// 403, since the ServiceAccount may not.
    Forbidden,
    /// 401, since the token has expired.
    Unauthorized,
    /// Not at all, until the manner changes.
    Silent,
    /// By a name without an end, in a list or in an event.
    EndlessName,
    /// By one page after the other.
    EndlessPages,
    /// By one event after the other, as fast as they are read; a list as it is.
    EndlessEvents,
    /// By the way to another server.
    Redirected,
    /// 503, since it has too much to do.
    Overloaded,
}

/// What is sent to a watcher.
pub(super) enum WatchMessage {
    /// A line of the stream.
    Line(Bytes),
    /// The connection breaks.
    Cut,
}

/// All objects of one kind.
struct Objects {
    list: Value,
    version: u64,
    /// What has happened, by version.
    events: Vec<(u64, Value)>,
    /// What happened before that is forgotten.
    oldest: u64,
    /// What was recorded and has not been replayed.
    recorded: Vec<Value>,
    watchers: Vec<UnboundedSender<WatchMessage>>,
    manner: Option<Manner>,
}

/// All objects.
pub(super) struct Store {
    kinds: BTreeMap<String, Objects>,
    manner: Manner,
    pages: BTreeMap<String, Value>,
    /// Wakes requests that got no answer yet, once answers have changed.
    pub(super) changed: Arc<Notify>,
    /// How many objects are listed at once at most.
    pub(super) page_size: usize,
}

macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../../testdata/apiserver/", $name))
    };
}

/// The kinds: their lists, and their watches as far as they were recorded.
const RECORDED: [(&str, &str, &str); 6] = [
    (
        "pods",
        recorded!("list-pods.json"),
        recorded!("watch-pods.jsonl"),
    ),
    ("namespaces", recorded!("list-namespaces.json"), ""),
    ("nodes", recorded!("list-nodes.json"), ""),
    ("services", recorded!("list-services.json"), ""),
    (
        "endpointslices",
        recorded!("list-endpointslices.json"),
        recorded!("watch-endpointslices.jsonl"),
    ),
    (
        "networkpolicies",
        recorded!("list-networkpolicies.json"),
        recorded!("watch-networkpolicies.jsonl"),
    ),
];

impl Store {
    /// The cluster as it was when the watches began.
    pub(super) fn recorded() -> Result<Self> {
        let kinds = RECORDED.iter().map(|(plural, list, watch)| {
            let objects = Objects::recorded(list, watch);
            Ok(((*plural).to_owned(), objects.with_context(|| *plural)?))
        });
        let groups = json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []});
        Ok(Self {
            kinds: kinds.collect::<Result<_>>()?,
            manner: Manner::Served,
            pages: BTreeMap::from([("/apis".to_owned(), groups)]),
            changed: Arc::default(),
            page_size: usize::MAX,
        })
    }

    pub(super) fn set_manner(&mut self, plural: &str, manner: Manner) {
        if let Some(objects) = self.kinds.get_mut(plural) {
            objects.manner = Some(manner);
        }
        self.changed.notify_waiters();
    }

    pub(super) fn set_manner_of_all(&mut self, manner: Manner) {
        self.manner = manner;
        for objects in self.kinds.values_mut() {
            objects.manner = None;
        }
        self.changed.notify_waiters();
    }

    /// How a request for a kind, or for anything else, is answered.
    pub(super) fn manner(&self, plural: &str) -> Manner {
        let own = self.kinds.get(plural).and_then(|objects| objects.manner);
        own.unwrap_or(self.manner)
    }

    pub(super) fn set_page(&mut self, path: &str, answer: Value) {
        self.pages.insert(path.to_owned(), answer);
    }

    pub(super) fn page(&self, path: &str) -> Option<&Value> {
        self.pages.get(path)
    }

    /// A list, or a page of it from the object of this number on.
    pub(super) fn list(&self, plural: &str, from: usize) -> Option<Value> {
        let objects = self.kinds.get(plural)?;
        let mut list = objects.list.clone();
        let items = list["items"].as_array_mut()?;
        let all = items.len();
        let page: Vec<Value> = items.drain(..).skip(from).take(self.page_size).collect();
        let end = from + page.len();
        list["items"] = page.into();
        list["metadata"] = json!({"resourceVersion": objects.version.to_string()});
        if end < all {
            list["metadata"]["continue"] = end.to_string().into();
        }
        Some(list)
    }

    /// What happens to a kind after a version, and goes on happening.
    pub(super) fn watch(&mut self, plural: &str, after: u64) -> Option<(Vec<Value>, Watcher)> {
        let objects = self.kinds.get_mut(plural)?;
        let (sender, receiver) = unbounded_channel();
        if after < objects.oldest {
            return Some((vec![expired()], receiver));
        }
        let since = objects.events.iter().filter(|(at, _)| *at > after);
        let since = since.map(|(_, event)| event.clone()).collect();
        objects.watchers.push(sender);
        Some((since, receiver))
    }

    pub(super) fn replay(&mut self, plural: &str) -> Result<usize> {
        let objects = self.kind(plural)?;
        let recorded = std::mem::take(&mut objects.recorded);
        let count = recorded.len();
        for event in recorded {
            objects.happen(event)?;
        }
        Ok(count)
    }

    pub(super) fn change(&mut self, plural: &str, what: &str, mut object: Value) -> Result<String> {
        let objects = self.kind(plural)?;
        let version = (objects.version + 1).to_string();
        object["metadata"]["resourceVersion"] = version.clone().into();
        objects.happen(json!({"type": what, "object": object}))?;
        Ok(version)
    }

    pub(super) fn bookmark(&mut self, plural: &str) -> Result<String> {
        // Versions are of the whole cluster: something else has happened in it.
        let objects = self.kind(plural)?;
        let version = (objects.version + 1).to_string();
        let object = json!({
            "kind": objects.item_kind(), "apiVersion": objects.list["apiVersion"],
            "metadata": {"resourceVersion": version},
        });
        objects.happen(json!({"type": "BOOKMARK", "object": object}))?;
        Ok(version)
    }

    pub(super) fn cut(&mut self, plural: &str) {
        for watcher in self
            .kinds
            .get_mut(plural)
            .map(|o| o.watchers.drain(..))
            .into_iter()
            .flatten()
        {
            watcher.send(WatchMessage::Cut).ok();
        }
    }

    pub(super) fn send(&mut self, plural: &str, bytes: &Bytes) -> Result<()> {
        let objects = self.kind(plural)?;
        objects
            .watchers
            .retain(|watcher| watcher.send(WatchMessage::Line(bytes.clone())).is_ok());
        Ok(())
    }

    pub(super) fn expire(&mut self, plural: &str) -> Result<()> {
        let objects = self.kind(plural)?;
        objects.version += 1;
        objects.oldest = objects.version;
        objects.events.clear();
        for watcher in objects.watchers.drain(..) {
            watcher.send(WatchMessage::Line(line(&expired()))).ok();
        }
        Ok(())
    }

    pub(super) fn object(&mut self, plural: &str, namespace: &str, name: &str) -> Result<Value> {
        let objects = self.kind(plural)?;
        let items = objects.list["items"].as_array().into_iter().flatten();
        let mut named = items.filter(|item| {
            item["metadata"]["name"] == name
                && item["metadata"]["namespace"].as_str().unwrap_or_default() == namespace
        });
        named
            .next()
            .cloned()
            .with_context(|| format!("no {plural} {namespace}/{name}"))
    }

    fn kind(&mut self, plural: &str) -> Result<&mut Objects> {
        self.kinds
            .get_mut(plural)
            .with_context(|| format!("no kind {plural}"))
    }
}

/// What is sent to a watcher, as it comes.
pub(super) type Watcher = UnboundedReceiver<WatchMessage>;

impl Objects {
    /// As the watch began: what it sent before its first bookmark; without a watch, the list.
    fn recorded(list: &str, watch: &str) -> Result<Self> {
        let mut list: Value = serde_json::from_str(list)?;
        let mut events = Vec::new();
        for line in watch.lines() {
            events.push(serde_json::from_str::<Value>(line)?);
        }
        let begun = events.iter().position(|event| event["type"] == "BOOKMARK");
        let recorded = begun.map_or(Vec::new(), |begun| events.split_off(begun + 1));
        if let Some(bookmark) = events.pop() {
            list["metadata"] = bookmark["object"]["metadata"].clone();
            let items = events.into_iter().map(|mut event| event["object"].take());
            list["items"] = items.collect();
        }
        let version = version(&list)?;
        Ok(Self {
            list,
            version,
            events: Vec::new(),
            oldest: version,
            recorded,
            watchers: Vec::new(),
            manner: None,
        })
    }

    fn item_kind(&self) -> &str {
        let kind = self.list["kind"].as_str().unwrap_or_default();
        kind.strip_suffix("List").unwrap_or(kind)
    }

    fn happen(&mut self, mut event: Value) -> Result<()> {
        self.version = version(&event["object"])?;
        let kind = self.item_kind().to_owned();
        let version = self.list["apiVersion"].clone();
        let object = &mut event["object"];
        // Events say what they are; items of a list need not.
        object["kind"] = kind.into();
        object["apiVersion"] = version;
        let key = |object: &Value| {
            let metadata = &object["metadata"];
            (metadata["namespace"].clone(), metadata["name"].clone())
        };
        let id = key(object);
        if event["type"] != "BOOKMARK"
            && let Some(items) = self.list["items"].as_array_mut()
        {
            items.retain(|item| key(item) != id);
            if event["type"] != "DELETED" {
                items.push(event["object"].clone());
            }
        }
        self.watchers
            .retain(|watcher| watcher.send(WatchMessage::Line(line(&event))).is_ok());
        self.events.push((self.version, event));
        Ok(())
    }
}

fn version(object: &Value) -> Result<u64> {
    let version = object["metadata"]["resourceVersion"].as_str();
    Ok(version.context("no version")?.parse()?)
}

fn expired() -> Value {
    json!({"type": "ERROR", "object": {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version", "reason": "Expired", "code": 410,
    }})
}

/// An event as a line of a stream.
pub(super) fn line(event: &Value) -> Bytes {
    format!("{event}\n").into()
}
