//! The sources of cluster knowledge, on a thread of their own.
//!
//! Tracing starts at once and waits for none of them. Reading a big cluster takes whole
//! milliseconds, which the events of a trace do not have: hence the thread.

pub(crate) mod api;
mod config;
#[cfg(feature = "trace")]
mod cri;
mod file;
pub(crate) mod limits;
pub(crate) mod sink;

use std::{io, thread};

use tokio::{
    runtime,
    sync::mpsc::{Receiver, Sender, channel},
    task::JoinSet,
};

use self::api::access::{self, AccessError, Place};
pub(crate) use self::config::ClusterConfig;
#[cfg(feature = "trace")]
use self::cri::Sockets;
use self::{limits::UPDATES, sink::Sink};
use super::update::{Source, Update};

/// The sources of a trace, and what they report.
pub(crate) struct Sources {
    /// Those that were started. Each sends [`super::update::Change::Settled`] once.
    pub(crate) started: Vec<Source>,
    updates: Receiver<Update>,
}

impl Drop for Sources {
    /// The thread ends with the process; its child processes must not outlive it.
    fn drop(&mut self) {
        self.updates.close();
        access::kill_plugins();
    }
}

/// Why the sources cannot be started as the options have it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// No thread can be started, or `--cri-socket` does not name a socket.
    #[error(transparent)]
    System(#[from] io::Error),
    /// The file of `--kubeconfig` is unusable.
    #[error(transparent)]
    Kubeconfig(#[from] AccessError),
}

/// Where to look.
struct Places {
    config: ClusterConfig,
    #[cfg(feature = "trace")]
    cri: Option<Sockets>,
    api: Vec<Place>,
}

impl Sources {
    /// Starts whatever the options name or this node has.
    ///
    /// # Errors
    ///
    /// No thread can be started, a given path is not a socket, or the kubeconfig is unusable.
    pub(crate) fn start(config: &ClusterConfig) -> Result<Self, StartError> {
        let (sender, updates) = channel(UPDATES);
        let places = Places {
            config: config.clone(),
            #[cfg(feature = "trace")]
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
            #[cfg(feature = "trace")]
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

    /// What has been reported so far, without waiting: one after the other, and no more than were
    /// on their way.
    pub(crate) fn ready(&mut self) -> impl Iterator<Item = Update> + '_ {
        std::iter::from_fn(|| self.updates.try_recv().ok()).take(UPDATES)
    }

    /// The next thing reported; never if there are no sources, or all have ended.
    pub(crate) async fn next(&mut self) -> Update {
        match self.updates.recv().await {
            Some(update) => update,
            None => std::future::pending().await,
        }
    }
}

/// Those that answer over sockets take turns on this one thread; files are read on others, as a pipe
/// may give nothing for long.
async fn run(places: Places, updates: &Sender<Update>) {
    let sink = |source| Sink::new(source, updates.clone());
    let mut sources = JoinSet::new();
    if !places.config.files.is_empty() {
        sources.spawn(file::run(places.config.files, sink(Source::File)));
    }
    #[cfg(feature = "trace")]
    if let Some(sockets) = places.cri {
        sources.spawn(cri::run(sockets, sink(Source::Cri)));
    }
    if !places.api.is_empty() {
        sources.spawn(api::find_and_follow(
            places.api,
            sink(Source::Api),
            api::PATIENCE,
        ));
    }
    while let Some(ended) = sources.join_next().await {
        if ended.is_err() {
            log::error!("a source of cluster objects has ended by a fault of whydrop's");
        }
    }
}
