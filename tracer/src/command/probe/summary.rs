//! What a probe comes to.

use std::{collections::BTreeMap, time::SystemTime};

use crate::{
    model::{LayerReport, LayerResult, Summary, Verdict},
    probe::{layers::sureness, observed::Observed},
};

/// The summary: figures of the probe's own packets alone.
pub(super) fn of(found: &[LayerReport], observed: &Observed, node: Option<String>) -> Summary {
    let mut summary = Summary {
        ts: Some(SystemTime::now()),
        node,
        layers: found.iter().map(LayerReport::row).collect(),
        verdict: main(found).cloned(),
        ..Summary::default()
    };
    let mut attempts = BTreeMap::new();
    for attempt in observed.attempts() {
        *attempts.entry(attempt.outcome).or_default() += 1;
    }
    summary.attempts = attempts;
    for drop in observed.drops() {
        summary.drops += drop.count;
        summary.shown += drop.count;
    }
    for layer in found {
        if let Some(verdict) = &layer.verdict
            && summary
                .verdicts
                .iter()
                .all(|known| known.cause.as_ref() != Some(&verdict.cause()))
        {
            summary.tally(verdict, 1);
        }
    }
    summary
}

/// The surest verdict of a failing layer, the lowest of several.
fn main(found: &[LayerReport]) -> Option<&Verdict> {
    let failing = found
        .iter()
        .filter(|layer| layer.result == LayerResult::Failed);
    let verdicts = failing.rev().filter_map(|layer| layer.verdict.as_ref());
    verdicts.max_by_key(|verdict| sureness(Some(verdict)))
}
