//! Before the trace starts: the names of the filter become addresses.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use tokio::time::timeout;

use super::shell::Shell;
use crate::{
    cluster::{
        source::Sources,
        update::{Change, Source, Update},
    },
    engine::Input,
    sink,
};

/// How long names are waited for.
const LIMIT: Duration = Duration::from_secs(10);
/// After how long the user learns what the trace waits for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Takes what the sources report until every name is known, or no source has more. Then the
/// filter is in force. Without a name there is nothing to wait for.
///
/// # Errors
///
/// A name does not exist, or no source knows its addresses.
pub(super) async fn for_names(shell: &mut Shell, sources: &mut Sources) -> Result<()> {
    let begun = Instant::now();
    let mut impatient = false;
    let mut silent: BTreeSet<Source> = sources.started.iter().copied().collect();
    let mut next = None;
    loop {
        let updates = next.take().into_iter();
        let updates: Vec<Update> = updates.chain(sources.ready()).collect();
        for update in &updates {
            if matches!(update.change, Change::Settled) {
                silent.remove(&update.source);
            }
        }
        shell.feed(Input::Cluster(updates))?;
        let names = shell.engine.names();
        let waited = begun.elapsed();
        if names.is_resolved() || silent.is_empty() || waited >= LIMIT {
            break;
        }
        if !impatient && waited >= PATIENCE {
            impatient = true;
            let whom = words(&silent);
            sink::note(&format!("waiting for {whom} to list {}", names.names()));
        }
        let until = if impatient { LIMIT } else { PATIENCE };
        next = timeout(until.saturating_sub(waited), sources.next())
            .await
            .ok();
    }
    let silent: Vec<Source> = silent.into_iter().collect();
    if let Some(refusal) = shell.engine.refusal(&sources.started, &silent) {
        shell.flush_notes();
        bail!(refusal);
    }
    for caveat in shell.engine.start() {
        shell.note(caveat);
    }
    Ok(())
}

fn words(sources: &BTreeSet<Source>) -> String {
    let words: Vec<_> = sources.iter().map(ToString::to_string).collect();
    words.join(" and ")
}
