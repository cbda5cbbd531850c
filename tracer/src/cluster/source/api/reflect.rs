//! All objects of one kind: listed, then watched, for as long as anybody listens.

use std::{collections::HashSet, pin::pin, time::Duration};

use futures_util::TryStreamExt as _;
use kube::{
    Client,
    api::{ListParams, Request, WatchEvent, WatchParams},
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use tokio::{
    sync::mpsc::UnboundedSender,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{failure::Failure, resource};
use crate::cluster::{
    item::{Body, Item, Remnant, printable},
    objects::ObjectName,
    update::{Change, Sink},
    view::{Kind, Object},
};

/// How many objects are asked for at once. A page of pods is a few megabytes.
const PAGE: u32 = 500;
/// How long one page, or the begin of a watch, may take.
const ANSWER: Duration = Duration::from_secs(15);
/// After how many seconds the API server is to end a watch, and it is begun anew where it ended: a
/// connection that has died without a word is not believed in for longer.
const WATCH: u32 = 120;
/// How much later than that it may end it.
const SLACK: Duration = Duration::from_secs(15);
/// How long to wait before asking again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// How it stands with a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Listed, or watched again.
    Known,
    /// Could not be had. It is tried again.
    Failed(Verb, Failure),
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    List,
    Watch,
}

/// One kind, followed.
pub(super) struct Reflector {
    pub(super) client: Client,
    pub(super) kind: Kind,
    pub(super) sink: Sink,
    /// Hears how it stands.
    pub(super) states: UnboundedSender<(Kind, State)>,
    /// The objects of which it was said that they are left out.
    pub(super) malformed: HashSet<ObjectName>,
}

/// One page of a list.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(default)]
    metadata: PageMetadata,
    #[serde(default, borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMetadata {
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    next: Option<String>,
}

impl Reflector {
    /// Lists and watches, without end.
    pub(super) async fn run(mut self) {
        let mut retry = Retry::default();
        loop {
            match self.list().await {
                Ok(version) => {
                    self.tell_state(State::Known);
                    self.watch_from(version, &mut retry).await;
                }
                Err(Failure::Expired) => {}
                Err(failure) => self.tell_state(State::Failed(Verb::List, failure)),
            }
            sleep(retry.next()).await;
        }
    }

    /// Lists all objects; the version they are of.
    async fn list(&mut self) -> Result<String, Failure> {
        let request = Request::new(resource::path(self.kind));
        let listed = (resource::version(self.kind), self.kind.to_string());
        let mut params = ListParams::default().limit(PAGE);
        let mut objects = Vec::new();
        let mut unreadable = Vec::new();
        let version = loop {
            let request = request.list(&params).map_err(kube::Error::BuildRequest)?;
            let text = timeout(ANSWER, self.client.request_text(request))
                .await
                .map_err(|_| Failure::silent(ANSWER))??;
            let page: Page<'_> = serde_json::from_str(&text)
                .map_err(|error| Failure::Refused(format!("its list is none: {error}")))?;
            for text in page.items.unwrap_or_default() {
                match self.read(Body::Text(text), Some(&listed)) {
                    Ok(object) => objects.push(object),
                    Err(remnant) => unreadable.push(remnant),
                }
            }
            match page.metadata.next.filter(|next| !next.is_empty()) {
                Some(next) => params = params.continue_token(&next),
                None => break page.metadata.resource_version.unwrap_or_default(),
            }
        };
        self.sink.tell(Change::All(self.kind, objects));
        for remnant in unreadable {
            self.tell_unreadable(remnant);
        }
        Ok(version)
    }

    /// Watches from a version on, resuming where a watch ends, until that is too long ago.
    async fn watch_from(&mut self, mut version: String, retry: &mut Retry) {
        loop {
            match self.watch(&mut version, retry).await {
                Ok(()) => {}
                Err(Failure::Expired) => return,
                Err(failure) => self.tell_state(State::Failed(Verb::Watch, failure)),
            }
            sleep(retry.next()).await;
        }
    }

    /// Watches once. `version` is the last one heard of.
    async fn watch(&mut self, version: &mut String, retry: &mut Retry) -> Result<(), Failure> {
        let end = Instant::now() + Duration::from_secs(WATCH.into()) + SLACK;
        let request = Request::new(resource::path(self.kind))
            .watch(&WatchParams::default().timeout(WATCH), version)
            .map_err(kube::Error::BuildRequest)?;
        let events = timeout(ANSWER, self.client.request_events::<Value>(request))
            .await
            .map_err(|_| Failure::silent(ANSWER))??;
        self.tell_state(State::Known);
        let mut events = pin!(events);
        // An end, a cut and a silence all mean the same: ask again, from here.
        while let Ok(event) = timeout_at(end, events.try_next()).await {
            let (object, gone) = match event {
                Ok(Some(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                    (object, false)
                }
                Ok(Some(WatchEvent::Deleted(object))) => (object, true),
                Ok(Some(WatchEvent::Bookmark(bookmark))) => {
                    retry.reset();
                    *version = bookmark.metadata.resource_version;
                    continue;
                }
                Ok(Some(WatchEvent::Error(status))) => return Err(Failure::from_status(&status)),
                // What it was cannot be known: from here on, something would be missing.
                Err(error @ kube::Error::SerdeError(_)) => {
                    self.tell_state(State::Failed(Verb::Watch, error.into()));
                    return Err(Failure::Expired);
                }
                Ok(None) | Err(_) => break,
            };
            retry.reset();
            if let Some(new) = object["metadata"]["resourceVersion"].as_str() {
                new.clone_into(version);
            }
            if gone {
                self.gone(&object);
            } else {
                self.put(object);
            }
        }
        Ok(())
    }

    fn put(&mut self, object: Value) {
        match self.read(Body::Tree(object), None) {
            Ok(object) => {
                self.malformed.remove(&object.id());
                self.sink.tell(Change::Put(Box::new(object)));
            }
            // What it was before, it is no longer.
            Err(remnant) => self.tell_unreadable(remnant),
        }
    }

    fn gone(&mut self, object: &Value) {
        let metadata = &object["metadata"];
        let text = |key: &str| metadata[key].as_str().unwrap_or_default();
        let id = ObjectName::new(text("namespace"), text("name"));
        self.malformed.remove(&id);
        self.sink.tell(Change::Gone(self.kind, id));
    }

    /// Reads an object, or says once that it is left out.
    fn read(
        &mut self,
        body: Body<'_>,
        listed: Option<&(String, String)>,
    ) -> Result<Object, Remnant> {
        let item = Item {
            line: 0,
            listed: listed.cloned(),
            mixed_list: None,
            body,
        };
        let malformed = match item.object(self.kind) {
            Ok(object) => return Ok(object),
            Err(malformed) => malformed,
        };
        let remnant = item.remnant(self.kind);
        if self.malformed.insert(remnant.id.clone()) {
            self.sink.tell(Change::Note(format!(
                "{} {} of the API server is left out: {}",
                self.kind,
                remnant.id,
                printable(&malformed.message),
            )));
        }
        Err(remnant)
    }

    fn tell_unreadable(&self, remnant: Remnant) {
        let Remnant { id, ips } = remnant;
        self.sink.tell(Change::Unreadable(self.kind, id, ips));
    }

    fn tell_state(&self, state: State) {
        self.states.send((self.kind, state)).ok();
    }
}

/// How long to wait before asking again: twice as long each time.
struct Retry(Duration);

impl Default for Retry {
    fn default() -> Self {
        Self(RETRY.0)
    }
}

impl Retry {
    fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(RETRY.1);
        now
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}
