//! The API server: pods, namespaces, nodes, Services, EndpointSlices and NetworkPolicies, listed
//! and watched.
//!
//! - [`access`]: how to reach it
//! - `reflect`: one kind of objects; `resource`: where the server has them
//! - `failure`: what goes wrong; `health`: what is said of that
//! - `foreign`: policies that whydrop does not judge
//!
//! A user who may list and watch these six kinds is enough. Nothing is ever written.

pub mod access;
mod failure;
mod foreign;
mod health;
mod reflect;
mod resource;

use std::{collections::HashSet, pin::pin, time::Duration};

use kube::{Client, Config};
use tokio::{
    sync::{mpsc::unbounded_channel, oneshot},
    task::{JoinSet, spawn_blocking},
    time::sleep,
};

use self::{
    access::{Access, Place},
    failure::Failure,
    health::Health,
    reflect::Reflector,
    resource::KINDS,
};
use crate::cluster::update::{Change, Sink};

/// How long a trace has others wait for the names that the API server knows. It is asked for as
/// long as it takes; only nobody waits for it any more.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// How long connecting may take, name resolution and TLS included.
const CONNECT: Duration = Duration::from_secs(10);

/// Follows the API server of the first place that is of use, until nobody listens. Nobody need wait
/// for it longer than `patience`.
pub async fn find_and_follow(places: Vec<Place>, sink: Sink, patience: Duration) {
    let (access, errors) = access::first(places);
    for error in errors {
        sink.tell(Change::Note(error.to_string()));
    }
    match access {
        Some(access) => follow(access, sink, patience).await,
        None => {
            sink.tell(Change::Settled);
        }
    }
}

/// Follows the API server until nobody listens. Nobody need wait for it longer than `patience`.
pub async fn follow(access: Access, sink: Sink, patience: Duration) {
    let server = format!(
        "the API server {} ({})",
        access.config.cluster_url, access.place
    );
    tokio::select! {
        () = sink.closed() => {}
        () = follow_all(access.config, &server, &sink, patience) => {}
    }
}

async fn follow_all(mut config: Config, server: &str, sink: &Sink, patience: Duration) {
    config.connect_timeout = Some(CONNECT);
    // Both have limits of their own, and watches are silent for long.
    config.read_timeout = None;
    config.default_retry = false;
    // A kubeconfig may name a program that gets the credentials: that takes its time.
    let client = match spawn_blocking(move || Client::try_from(config)).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => {
            let why = match Failure::from(error) {
                Failure::Unauthorized(why) | Failure::Unreachable(why) => why,
                other => format!("{other:?}"),
            };
            sink.tell(Change::Note(format!("{server} cannot be asked: {why}")));
            sink.tell(Change::Settled);
            return;
        }
        Err(_) => return,
    };
    let (states, mut heard) = unbounded_channel();
    let mut tasks = JoinSet::new();
    for kind in KINDS {
        let reflector = Reflector {
            client: client.clone(),
            kind,
            sink: sink.clone(),
            states: states.clone(),
            malformed: HashSet::new(),
        };
        tasks.spawn(reflector.run());
    }
    let (tried, mut tried_foreign) = oneshot::channel();
    tasks.spawn(foreign::run(client, sink.clone(), tried));
    let mut looked_for_foreign = false;

    let mut health = Health::new(server.to_owned());
    let mut overdue = pin!(sleep(patience));
    loop {
        let changes = tokio::select! {
            Some((kind, state)) = heard.recv() => health.heard(kind, state),
            _ = &mut tried_foreign, if !looked_for_foreign => {
                looked_for_foreign = true;
                health.heard_of_foreign()
            }
            () = &mut overdue, if !health.is_settled() => health.overdue(patience.as_secs()),
        };
        for change in changes {
            sink.tell(change);
        }
    }
}
