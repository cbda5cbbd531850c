//! The sources of cluster knowledge, on a thread of their own.
//!
//! Tracing starts at once and waits for none of them. Reading a big cluster takes whole
//! milliseconds, which the events of a trace do not have: hence the thread.

mod file;

use std::{path::PathBuf, thread};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::update::{Sink, Source, Update};
use crate::config::ClusterConfig;

/// The sources of a trace, and what they tell.
pub struct Sources {
    /// Those that were started. Each says [`super::update::Change::Settled`] once.
    pub started: Vec<Source>,
    updates: UnboundedReceiver<Update>,
}

impl Sources {
    /// Starts whatever the options name or this node has.
    ///
    /// # Errors
    ///
    /// No thread can be had.
    pub fn start(config: &ClusterConfig) -> std::io::Result<Self> {
        let (sender, updates) = unbounded_channel();
        let mut started = Vec::new();
        if !config.files.is_empty() {
            started.push(Source::File);
        }
        if !started.is_empty() {
            let config = config.clone();
            thread::Builder::new()
                .name("cluster".to_owned())
                .spawn(move || run(&config, &sender))?;
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

fn run(config: &ClusterConfig, updates: &UnboundedSender<Update>) {
    let files: &[PathBuf] = &config.files;
    if !files.is_empty() {
        file::run(files, &Sink::new(Source::File, updates.clone()));
    }
}
