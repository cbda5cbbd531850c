//! All objects of one kind: listed, then watched, until the receiver is gone.

use std::{collections::HashSet, time::Duration};

use kube::{
    api::{ListParams, Request, WatchParams},
    core::WatchEvent,
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use tokio::{
    sync::mpsc::UnboundedSender,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{failure::Failure, resource, server::Server};
use crate::cluster::{
    item::{Body, Item, Remnant, printable},
    objects::ObjectName,
    source::{limits::PAGES, sink::Sink},
    unreadable::UnreadableName,
    update::Change,
    view::{Kind, Object},
};

/// How many objects are asked for at once. A page of pods is a few megabytes. Where one is too
/// large, the next smaller size is tried.
const SIZES: [u32; 3] = [500, 50, 5];
/// How many objects that are left out are named.
const NAMED: usize = 20;
/// How long one page, or the begin of a watch, may take.
const ANSWER: Duration = Duration::from_secs(15);
/// After how many seconds the API server is to end a watch, which then resumes where it ended: a
/// connection that died silently is noticed by then at the latest.
const WATCH: u32 = 120;
/// How much later than that it may end it.
const SLACK: Duration = Duration::from_secs(15);
/// How long to wait before asking again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// The state of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Listed, or watched again.
    Known,
    /// It could not be read. It is retried.
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
    pub(super) server: Server,
    pub(super) kind: Kind,
    pub(super) sink: Sink,
    /// Gets each change of state.
    pub(super) states: UnboundedSender<(Kind, State)>,
    /// The objects of which it was said that they are left out.
    pub(super) malformed: HashSet<UnreadableName>,
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
                    self.report_state(State::Known);
                    self.watch_from(version, &mut retry).await;
                }
                Err(Failure::Expired) => {}
                Err(failure) => self.report_state(State::Failed(Verb::List, failure)),
            }
            sleep(retry.next()).await;
        }
    }

    /// Lists all objects; the version they are of.
    async fn list(&mut self) -> Result<String, Failure> {
        let mut result = Err(Failure::Expired);
        for size in SIZES {
            result = self.list_by(size).await;
            if !matches!(result, Err(Failure::TooLarge(_))) {
                break;
            }
        }
        result
    }

    /// Lists all objects, so many at once.
    async fn list_by(&mut self, size: u32) -> Result<String, Failure> {
        let request = Request::new(resource::path(self.kind));
        let listed = (resource::version(self.kind), self.kind.to_string());
        let mut params = ListParams::default().limit(size);
        let mut objects = Vec::new();
        let mut unreadable = Vec::new();
        let mut pages = 0;
        let version = loop {
            let request = request.list(&params).map_err(|_| Failure::Expired)?;
            let text = timeout(ANSWER, self.server.text(request))
                .await
                .map_err(|_| Failure::silent(ANSWER))??;
            let page: Page<'_> =
                serde_json::from_str(&text).map_err(|error| Failure::not_json(&error))?;
            for text in page.items.unwrap_or_default() {
                match self.read(Body::Text(text), Some(&listed)).await {
                    Ok(object) => objects.push(object),
                    Err(remnant) => unreadable.push(remnant),
                }
            }
            pages += 1;
            if pages >= PAGES {
                return Err(Failure::Refused(format!(
                    "its list has no end: {PAGES} pages"
                )));
            }
            match page.metadata.next.filter(|next| !next.is_empty()) {
                Some(next) => params = params.continue_token(&next),
                None => break page.metadata.resource_version.unwrap_or_default(),
            }
        };
        self.sink.send(Change::All(self.kind, objects)).await;
        for remnant in unreadable {
            self.report_unreadable(remnant).await;
        }
        Ok(version)
    }

    /// Watches from a version on, resuming where a watch ends, until that is too long ago.
    async fn watch_from(&mut self, mut version: String, retry: &mut Retry) {
        loop {
            match self.watch(&mut version, retry).await {
                Ok(()) => {}
                Err(Failure::Expired) => return,
                Err(failure) => self.report_state(State::Failed(Verb::Watch, failure)),
            }
            sleep(retry.next()).await;
        }
    }

    /// Watches once. `version` is the last known one.
    async fn watch(&mut self, version: &mut String, retry: &mut Retry) -> Result<(), Failure> {
        let end = Instant::now() + Duration::from_secs(WATCH.into()) + SLACK;
        let request = Request::new(resource::path(self.kind))
            .watch(&WatchParams::default().timeout(WATCH), version)
            .map_err(|_| Failure::Expired)?;
        let mut events = timeout(ANSWER, self.server.events(request))
            .await
            .map_err(|_| Failure::silent(ANSWER))??;
        self.report_state(State::Known);
        // An end, a cut and a silence all mean the same: ask again, from here.
        while let Ok(Some(event)) = timeout_at(end, events.next()).await {
            let (object, gone) = match event {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => (object, false),
                Ok(WatchEvent::Deleted(object)) => (object, true),
                Ok(WatchEvent::Bookmark(bookmark)) => {
                    retry.reset();
                    *version = bookmark.metadata.resource_version;
                    continue;
                }
                Ok(WatchEvent::Error(status)) => return Err(Failure::from_status(&status)),
                // What it was cannot be known: from here on, something would be missing.
                Err(failure) => {
                    self.report_state(State::Failed(Verb::Watch, failure));
                    return Err(Failure::Expired);
                }
            };
            retry.reset();
            if let Some(new) = object["metadata"]["resourceVersion"].as_str() {
                new.clone_into(version);
            }
            if gone {
                self.gone(&object).await;
            } else {
                self.put(object).await;
            }
        }
        Ok(())
    }

    async fn put(&mut self, object: Value) {
        match self.read(Body::Tree(object), None).await {
            Ok(object) => {
                self.malformed.remove(&(&object.id()).into());
                self.sink.send(Change::Put(Box::new(object))).await;
            }
            // What it was before, it is no longer.
            Err(remnant) => self.report_unreadable(remnant).await,
        }
    }

    async fn gone(&mut self, object: &Value) {
        let metadata = &object["metadata"];
        let text = |key: &str| metadata[key].as_str().unwrap_or_default();
        let id = ObjectName::new(text("namespace"), text("name"));
        self.malformed.remove(&(&id).into());
        self.sink.send(Change::Gone(self.kind, id)).await;
    }

    /// Reads an object, or says once that it is left out.
    async fn read(
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
        if self.malformed.len() < NAMED && self.malformed.insert(remnant.id.clone()) {
            let note = format!(
                "{} {} of the API server is left out: {}",
                self.kind,
                remnant.id,
                printable(&malformed.message),
            );
            self.sink.send(Change::Note(note)).await;
        }
        Err(remnant)
    }

    async fn report_unreadable(&self, remnant: Remnant) {
        let Remnant { id, ips } = remnant;
        let change = Change::Unreadable(self.kind, id, ips);
        self.sink.send(change).await;
    }

    fn report_state(&self, state: State) {
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
