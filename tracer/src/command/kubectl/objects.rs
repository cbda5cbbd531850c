//! The cluster's objects, as the API server has them while the traces run.

use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};
use tokio::{
    sync::mpsc::{Receiver, channel},
    task::JoinHandle,
};

use crate::{
    cluster::{
        live::Cluster,
        source::{
            api::{self, access::Access},
            limits::UPDATES,
            sink::Sink,
        },
        update::{Change, Source, Update},
    },
    sink,
};

/// How long the API server has to list them.
const PATIENCE: Duration = Duration::from_secs(10);

/// The objects, followed.
pub(super) struct Objects {
    pub(super) cluster: Cluster,
    /// They have changed since that was last asked.
    is_changed: bool,
    updates: Receiver<Update>,
    source: JoinHandle<()>,
}

impl Drop for Objects {
    fn drop(&mut self) {
        self.source.abort();
    }
}

impl Objects {
    /// Lists them, and follows them from there on.
    ///
    /// # Errors
    ///
    /// Nothing was listed.
    pub(super) async fn list(access: Access) -> Result<Self> {
        let (sender, updates) = channel(UPDATES);
        let name = access.name();
        let sink = Sink::new(Source::Api, sender);
        let source = tokio::spawn(api::follow(access, sink, PATIENCE));
        let mut objects = Self {
            cluster: Cluster::default(),
            is_changed: false,
            updates,
            source,
        };
        let mut is_empty = true;
        while let Some(update) = objects.updates.recv().await {
            match update.change {
                Change::Settled => break,
                Change::Note(note) => sink::note(&note),
                _ => {
                    is_empty = false;
                    objects.cluster.apply(update, SystemTime::now());
                }
            }
        }
        if is_empty {
            bail!(
                "nothing is known of the cluster of {name}: check it with `kubectl get pods -A`, or choose \
                 another with --context or --kubeconfig"
            );
        }
        Ok(objects)
    }

    /// Whether they have changed since the last call.
    pub(super) fn have_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    /// Takes the next update, whenever it comes. Can be cancelled without loss.
    pub(super) async fn follow(&mut self) {
        match self.updates.recv().await {
            Some(update) => {
                if let Change::Note(note) = &update.change {
                    sink::note(note);
                }
                self.cluster.apply(update, SystemTime::now());
                self.is_changed = true;
            }
            None => std::future::pending().await,
        }
    }
}
