//! The API server: pods, namespaces, nodes, Services, EndpointSlices and NetworkPolicies, listed
//! and watched.
//!
//! - [`access`]: how to reach it; `session`: one request, with limits; `server`: credentials that stay good
//! - `reflect`: one kind of objects; `resource`: where the server has them
//! - [`client`]: requests that change something, for `kubectl whydrop` alone; `stdin`: what a container reads
//! - `failure`: what goes wrong; `health`: what is said of that
//! - `foreign`: policies that whydrop does not judge
//!
//! A user who may list and watch these six kinds is enough. A trace writes nothing.

pub(crate) mod access;
pub(crate) mod client;
mod failure;
mod foreign;
mod health;
mod reflect;
mod resource;
mod server;
mod session;
mod stdin;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, pin::pin, time::Duration};

use tokio::{
    sync::{Notify, mpsc::unbounded_channel, oneshot},
    task::JoinSet,
    time::sleep,
};

use self::{
    access::{Access, Place},
    failure::Failure,
    health::Health,
    reflect::{Reflector, State},
    resource::KINDS,
    session::{Opened, open},
};
use crate::cluster::{source::sink::Sink, update::Change};

/// How long a trace has others wait for the names that the API server knows. It is asked for as
/// long as it takes; only no one waits for it any more.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// How long what happens to several kinds is waited for, to be said together.
const TOGETHER: Duration = Duration::from_millis(200);
/// How long to wait before credentials are asked for again, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(300));

/// Follows the API server of the first place that is of use, until no one listens. No one need wait
/// for it longer than `patience`.
pub(crate) async fn find_and_follow(places: Vec<Place>, sink: Sink, patience: Duration) {
    let (access, errors) = access::first(places);
    for error in errors {
        sink.send(Change::Note(error.to_string())).await;
    }
    match access {
        Some(access) => follow(access, sink, patience).await,
        None => {
            sink.send(Change::Settled).await;
        }
    }
}

/// Follows the API server until no one listens. No one need wait for it longer than `patience`.
pub(crate) async fn follow(access: Access, sink: Sink, patience: Duration) {
    tokio::select! {
        () = sink.closed() => {}
        () = follow_all(&access, &sink, patience) => {}
    }
}

async fn follow_all(access: &Access, sink: &Sink, patience: Duration) {
    let name = format!("the API server {}", access.name());
    let Some(opened) = open_in_time(access, &name, sink, patience).await else {
        return;
    };
    let (server, keeper) = opened.keep();
    let refused = Notify::new();
    let (states, mut changed_states) = unbounded_channel();
    let mut tasks = JoinSet::new();
    for kind in KINDS {
        let reflector = Reflector {
            server: server.clone(),
            kind,
            sink: sink.clone(),
            states: states.clone(),
            malformed: HashSet::new(),
        };
        tasks.spawn(reflector.run());
    }
    let (tried, mut tried_foreign) = oneshot::channel();
    tasks.spawn(foreign::run(server, sink.clone(), tried));
    let mut looked_for_foreign = false;

    let mut health = Health::new(name);
    let mut overdue = pin!(sleep(patience));
    let mut keeping = pin!(keeper.run(access, &refused));
    loop {
        let changes = tokio::select! {
            Some((kind, state)) = changed_states.recv() => {
                if matches!(state, State::Failed(_, Failure::Unauthorized(_))) && access.issues() {
                    refused.notify_one();
                }
                health.set_state(kind, state)
            }
            _ = &mut tried_foreign, if !looked_for_foreign => {
                looked_for_foreign = true;
                health.looked_for_foreign()
            }
            () = &mut overdue, if !health.is_settled() => health.overdue(patience.as_secs()),
            () = sleep(TOGETHER), if health.is_collecting() => health.collected(),
            () = &mut keeping => Vec::new(),
        };
        for change in changes {
            sink.send(change).await;
        }
    }
}

/// Gets credentials, as often as it takes; no one need wait for them longer than `patience`. `None`
/// where they will never do.
async fn open_in_time(
    access: &Access,
    name: &str,
    sink: &Sink,
    patience: Duration,
) -> Option<Opened> {
    let mut opening = Box::pin(open(access));
    let first = tokio::select! {
        first = &mut opening => first,
        () = sleep(patience) => {
            let late = format!(
                "{name}: the credentials have not come within {} s: until they do, cluster objects \
                 come from other sources, if any",
                patience.as_secs()
            );
            sink.send(Change::Note(late)).await;
            sink.send(Change::Settled).await;
            opening.await
        }
    };
    let mut pause = AGAIN.0;
    let mut result = first;
    let mut said = false;
    loop {
        let why = match result {
            Ok(opened) => return Some(opened),
            Err(why) => why,
        };
        if !std::mem::replace(&mut said, true) {
            sink.send(Change::Note(format!("{name} cannot be asked: {why}")))
                .await;
            sink.send(Change::Settled).await;
        }
        // Files do not change by waiting.
        if !access.issues() {
            return None;
        }
        sleep(pause).await;
        pause = (pause * 2).min(AGAIN.1);
        result = open(access).await;
    }
}
