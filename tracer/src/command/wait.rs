//! Before the trace starts: the names of the filter become addresses.

use std::{
    collections::BTreeSet,
    iter,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use tokio::time::timeout;

use crate::engine::{filter_names::Named, session::Session};
use crate::{
    cluster::{
        source::Sources,
        update::{Change, Source},
    },
    kernel::probes::Probes,
    sink,
};

/// How long names are waited for.
const LIMIT: Duration = Duration::from_secs(10);
/// After how long the user is told what is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Takes what the sources tell until every name is known, or no source has more to tell. Then the
/// filter is in force. Without a name there is nothing to wait for.
///
/// # Errors
///
/// A name does not exist, or nobody can say where it is.
pub(crate) async fn for_names(
    named: &mut Named<'_>,
    session: &mut Session<'_>,
    sources: &mut Sources,
    probes: &mut Probes,
) -> Result<()> {
    let begun = Instant::now();
    let mut impatient = false;
    let mut silent: BTreeSet<Source> = sources.started.iter().copied().collect();
    let mut next = None;
    loop {
        for update in next
            .take()
            .into_iter()
            .chain(iter::from_fn(|| sources.ready()))
        {
            if matches!(update.change, Change::Settled) {
                silent.remove(&update.source);
            }
            session.learned(update);
        }
        let changes = named.look(&session.cluster);
        probes.change_members(changes.put, changes.gone)?;
        let waited = begun.elapsed();
        if named.is_resolved() || silent.is_empty() || waited >= LIMIT {
            break;
        }
        if !impatient && waited >= PATIENCE {
            impatient = true;
            let whom = words(&silent);
            sink::note(&format!("waiting for {whom} to tell of {}", named.names()));
        }
        let until = if impatient { LIMIT } else { PATIENCE };
        next = timeout(until.saturating_sub(waited), sources.next())
            .await
            .ok();
    }
    let silent: Vec<Source> = silent.into_iter().collect();
    if let Some(refusal) = named.refusal(&session.cluster, &sources.started, &silent) {
        session.tell_notes();
        bail!(refusal);
    }
    for caveat in named.caveats() {
        session.note(caveat);
    }
    Ok(())
}

fn words(sources: &BTreeSet<Source>) -> String {
    let words: Vec<_> = sources.iter().map(ToString::to_string).collect();
    words.join(" and ")
}
