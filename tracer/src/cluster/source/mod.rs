//! The sources of cluster knowledge, on a thread of their own.
//!
//! Tracing starts at once and waits for none of them. Reading a big cluster takes whole
//! milliseconds, which the events of a trace do not have: hence the thread.

mod cri;
mod file;

use std::thread;

use tokio::{
    runtime::Builder,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use self::cri::Sockets;
use super::update::{Change, Sink, Source, Update};
use crate::config::ClusterConfig;

/// The sources of a trace, and what they tell.
pub struct Sources {
    /// Those that were started. Each says [`Change::Settled`] once.
    pub started: Vec<Source>,
    updates: UnboundedReceiver<Update>,
}

impl Sources {
    /// Starts whatever the options name or this node has.
    ///
    /// # Errors
    ///
    /// No thread can be had, or a socket was given that is none.
    pub fn start(config: &ClusterConfig) -> std::io::Result<Self> {
        let (sender, updates) = unbounded_channel();
        let mut started = Vec::new();
        if !config.files.is_empty() {
            started.push(Source::File);
        }
        let cri = match config.no_kube {
            true => None,
            false => Sockets::find(config.cri_socket.as_deref())?,
        };
        if cri.is_some() {
            started.push(Source::Cri);
        }
        if !started.is_empty() {
            let config = config.clone();
            thread::Builder::new()
                .name("cluster".to_owned())
                .spawn(move || run(&config, cri, &sender))?;
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

fn run(config: &ClusterConfig, cri: Option<Sockets>, updates: &UnboundedSender<Update>) {
    let sink = |source| Sink::new(source, updates.clone());
    if !config.files.is_empty() {
        file::run(&config.files, &sink(Source::File));
    }
    // What answers over sockets, all of it on this one thread.
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            sink(Source::Cri).tell(Change::Note(format!(
                "the container runtime cannot be asked: {error}"
            )));
            return;
        }
    };
    runtime.block_on(async {
        if let Some(sockets) = cri {
            cri::run(sockets, sink(Source::Cri)).await;
        }
    });
}
