//! What is known of the cluster before anything is sent.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Result, bail};
use tokio::time::timeout;

use crate::{
    cli::options::{ProbeConfig, Proto},
    cluster::{
        live::Cluster,
        source::Sources,
        update::{Change, Source, Update},
    },
    engine::FilterNames,
    sink,
};

/// How long names are waited for.
const LIMIT: Duration = Duration::from_secs(10);
/// How long the rest is waited for: what policies there are, say.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is known of the cluster.
pub(super) struct Known {
    pub(super) cluster: Cluster,
    /// The updates that it was learned from, which the trace learns from, too.
    pub(super) updates: Vec<Update>,
}

impl Known {
    /// Takes an update; `silent` are the sources that have not reported all yet.
    fn take(&mut self, update: Update, silent: &mut BTreeSet<Source>) {
        match &update.change {
            Change::Settled => {
                silent.remove(&update.source);
            }
            Change::Note(note) => return sink::note(note),
            _ => {}
        }
        self.cluster.apply(update.clone(), SystemTime::now());
        self.updates.push(update);
    }
}

/// Waits until all sources have reported what they have, or for as long as that is worth it.
///
/// # Errors
///
/// A name does not exist, or no source knows its addresses.
pub(super) async fn known(config: &ProbeConfig, sources: &mut Sources) -> Result<Known> {
    let begun = Instant::now();
    let mut names = FilterNames::of(config.to.endpoint(), config.from.as_ref(), Proto::Tcp);
    let mut known = Known {
        cluster: Cluster::default(),
        updates: Vec::new(),
    };
    let mut silent: BTreeSet<Source> = sources.started.iter().copied().collect();
    loop {
        for update in sources.ready() {
            known.take(update, &mut silent);
        }
        names.follow(&known.cluster, &mut Vec::new());
        let limit = if names.is_resolved() { PATIENCE } else { LIMIT };
        let left = limit.saturating_sub(begun.elapsed());
        if silent.is_empty() || left.is_zero() {
            break;
        }
        if let Ok(update) = timeout(left, sources.next()).await {
            known.take(update, &mut silent);
        }
    }
    let silent: Vec<Source> = silent.into_iter().collect();
    if let Some(refusal) = names.refusal(&known.cluster, &sources.started, &silent) {
        bail!(refusal);
    }
    Ok(known)
}
