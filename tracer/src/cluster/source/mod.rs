//! The sources of cluster knowledge, on a thread of their own.
//!
//! Tracing starts at once and waits for none of them. Reading a big cluster takes whole
//! milliseconds, which the events of a trace do not have: hence the thread.

pub mod api;
mod cri;
mod file;

use std::{io, thread};

use tokio::{
    runtime,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
};

use self::{
    api::access::{self, AccessError, Place},
    cri::Sockets,
};
use super::update::{Sink, Source, Update};
use crate::cli::options::ClusterConfig;

/// The sources of a trace, and what they tell.
pub struct Sources {
    /// Those that were started. Each says [`super::update::Change::Settled`] once.
    pub started: Vec<Source>,
    updates: UnboundedReceiver<Update>,
}

/// Why the sources cannot be started as the options have it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No thread can be had, or the socket of `--cri-socket` is none.
    #[error(transparent)]
    System(#[from] io::Error),
    /// The file of `--kubeconfig` is of no use.
    #[error(transparent)]
    Kubeconfig(#[from] AccessError),
}

/// Where to look.
struct Places {
    config: ClusterConfig,
    cri: Option<Sockets>,
    api: Vec<Place>,
}

impl Sources {
    /// Starts whatever the options name or this node has.
    ///
    /// # Errors
    ///
    /// No thread can be had, a socket was given that is none, or a kubeconfig that is of no use.
    pub fn start(config: &ClusterConfig) -> Result<Self, StartError> {
        let (sender, updates) = unbounded_channel();
        let places = Places {
            config: config.clone(),
            cri: match config.no_kube {
                true => None,
                false => Sockets::find(config.cri_socket.as_deref())?,
            },
            api: access::places(config),
        };
        // What the user has named must be of use; what was found need not be.
        if let [place @ Place::Option(_)] = places.api.as_slice() {
            place.clone().access()?;
        }
        let started: Vec<Source> = [
            (Source::File, !config.files.is_empty()),
            (Source::Cri, places.cri.is_some()),
            (Source::Api, !places.api.is_empty()),
        ]
        .into_iter()
        .filter_map(|(source, starts)| starts.then_some(source))
        .collect();
        if !started.is_empty() {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            thread::Builder::new()
                .name("cluster".to_owned())
                .spawn(move || runtime.block_on(run(places, &sender)))?;
        }
        Ok(Self { started, updates })
    }

    /// What has been told so far, without waiting.
    pub fn ready(&mut self) -> Option<Update> {
        self.updates.try_recv().ok()
    }

    /// The next thing told; never if there are no sources, or all have ended.
    pub async fn next(&mut self) -> Update {
        match self.updates.recv().await {
            Some(update) => update,
            None => std::future::pending().await,
        }
    }
}

/// Those that answer over sockets take turns on this one thread.
async fn run(places: Places, updates: &UnboundedSender<Update>) {
    let sink = |source| Sink::new(source, updates.clone());
    let Places { config, cri, api } = places;
    if !config.files.is_empty() {
        file::run(&config.files, &sink(Source::File));
    }
    let mut sources = JoinSet::new();
    if let Some(sockets) = cri {
        sources.spawn(cri::run(sockets, sink(Source::Cri)));
    }
    if !api.is_empty() {
        sources.spawn(api::find_and_follow(api, sink(Source::Api), api::PATIENCE));
    }
    sources.join_all().await;
}
