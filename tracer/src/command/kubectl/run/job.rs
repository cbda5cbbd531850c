//! The Job of a node.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use tokio::task::{AbortHandle, JoinHandle};

use super::super::{leftovers, manifest::Session, stream::Program, upload::Upload};
use crate::{cluster::source::api::client::Client, sink};

/// A Job of a node.
pub(super) struct Job {
    pub(super) name: String,
    /// Its pod, once its container runs.
    pub(super) pod: Option<String>,
    /// When it was created.
    pub(super) since: Instant,
    /// What delays it was said.
    pub(super) is_delayed: bool,
    /// Its image cannot be pulled, and another way in was offered.
    pub(super) is_offered: bool,
    /// What its pod is to get by its standard input.
    pub(super) program: Option<Program>,
    /// Images that can be tried next.
    pub(super) ways: VecDeque<String>,
    /// How far that is.
    pub(super) upload: Upload,
    /// The sign of life that its trace gets.
    pub(super) beat: Option<AbortHandle>,
    /// Its deletion, once that was asked for.
    pub(super) deletion: Option<JoinHandle<()>>,
}

impl Job {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            pod: None,
            since: Instant::now(),
            is_delayed: false,
            is_offered: false,
            program: None,
            upload: Upload::new(false),
            ways: VecDeque::new(),
            beat: None,
            deletion: None,
        }
    }

    /// Whether its pod takes the program right now.
    pub(super) fn is_uploading(&self) -> bool {
        self.pod.is_some() && self.upload.is_on_its_way()
    }

    /// Lets its trace have no more signs of life.
    pub(super) fn quiet(&mut self) {
        if let Some(beat) = self.beat.take() {
            beat.abort();
        }
    }

    /// Has it deleted, once.
    pub(super) fn delete(&mut self, client: &Arc<Client>, session: &Session) {
        if self.deletion.is_none() {
            let (client, session) = (Arc::clone(client), session.clone());
            let name = self.name.clone();
            let deletion = async move { deleted(&client, &session, &name).await };
            self.deletion = Some(tokio::spawn(deletion));
        }
    }
}

/// Deletes a Job, or says why it is still there.
async fn deleted(client: &Client, session: &Session, job: &str) {
    let deleted = leftovers::delete(client, session, job).await;
    if let Err(error) = deleted {
        sink::note(&format!(
            "cannot delete Job {job}: {error}; `kubectl delete job -n {0} {job}` does, or the cluster does \
             after its end",
            session.namespace
        ));
    }
}
