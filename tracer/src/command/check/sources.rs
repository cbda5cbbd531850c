//! What the sources of cluster objects give, and what they refuse.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;
use tokio::{runtime, time::timeout};

use crate::{
    cluster::{
        source::{ClusterConfig, Sources},
        update::{Change, Source},
        view::Kind,
    },
    kernel::preflight::{Finding, State},
};

/// How long all sources together may take.
const PATIENCE: Duration = Duration::from_secs(6);

/// The kinds that names, Services and policies come from.
const KINDS: [Kind; 6] = [
    Kind::Pod,
    Kind::Namespace,
    Kind::Node,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::NetworkPolicy,
];

/// What one trace would know of the cluster.
#[derive(Default)]
struct Answers {
    /// The kinds that are known in whole.
    kinds: BTreeSet<Kind>,
    /// The sources that gave anything.
    sources: BTreeSet<Source>,
    notes: Vec<String>,
}

/// Asks the sources that a trace would ask.
///
/// # Errors
///
/// A given path is not a socket, or the kubeconfig is unusable.
pub(super) fn ask(config: &ClusterConfig) -> Result<Finding> {
    let mut sources = Sources::start(config)?;
    if sources.started.is_empty() {
        let found = match config.no_kube {
            true => "not asked (--no-kube)",
            false => {
                "none: no kubeconfig, no service account and no CRI socket found; pods have no names"
            }
        };
        return Ok(finding(State::Unused, found.to_owned()));
    }
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let answers = runtime.block_on(async {
        let mut answers = Answers::default();
        let mut open: BTreeSet<Source> = sources.started.iter().copied().collect();
        // What has come by then is what is known.
        let _ = timeout(PATIENCE, async {
            while !open.is_empty() {
                let update = sources.next().await;
                if let Change::Settled = update.change {
                    open.remove(&update.source);
                }
                answers.take(update.source, update.change);
            }
        })
        .await;
        answers
    });
    Ok(answers.finding())
}

impl Answers {
    fn take(&mut self, source: Source, change: Change) {
        match change {
            Change::All(kind, _) => {
                self.kinds.insert(kind);
                self.sources.insert(source);
            }
            Change::AllHere(..) => {
                self.sources.insert(source);
            }
            Change::Note(note) => self.notes.push(note),
            _ => {}
        }
    }

    fn finding(self) -> Finding {
        let from: Vec<_> = self.sources.iter().map(ToString::to_string).collect();
        let names = |known: bool| {
            let kinds = KINDS
                .iter()
                .filter(|kind| self.kinds.contains(kind) == known);
            let names: Vec<_> = kinds.map(ToString::to_string).collect();
            names.join(", ")
        };
        let (known, unknown) = (names(true), names(false));
        let mut parts = Vec::new();
        if !from.is_empty() {
            parts.push(format!("from {}", from.join(" and ")));
        }
        if !known.is_empty() {
            parts.push(format!("known: {known}"));
        }
        if !unknown.is_empty() {
            parts.push(format!("not known: {unknown}"));
        }
        parts.extend(self.notes);
        let state = match unknown.is_empty() {
            true => State::Present,
            false => State::Missing,
        };
        finding(state, parts.join("; "))
    }
}

fn finding(state: State, found: String) -> Finding {
    Finding {
        name: "cluster objects".to_owned(),
        state,
        found,
        cost: "verdicts name no pods, Services or NetworkPolicies of the kinds that are not known",
        fix: "use a kubeconfig that may list and watch these kinds (--kubeconfig), or a CRI socket \
              (--cri-socket)",
        hides: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_may_not_be_listed_are_named() {
        let mut answers = Answers::default();
        for kind in KINDS
            .into_iter()
            .filter(|kind| *kind != Kind::NetworkPolicy)
        {
            answers.take(Source::Api, Change::All(kind, Vec::new()));
        }
        answers.take(
            Source::Api,
            Change::Note("the API server forbids it".to_owned()),
        );
        let found = answers.finding();
        assert_eq!(found.state, State::Missing);
        assert_eq!(
            found.found,
            "from the API server; known: Pod, Namespace, Node, Service, EndpointSlice; not known: \
             NetworkPolicy; the API server forbids it"
        );
    }

    #[test]
    fn no_source_is_no_fault() {
        let config = ClusterConfig {
            no_kube: true,
            ..ClusterConfig::default()
        };
        let found = ask(&config).unwrap();
        assert_eq!(
            (found.state, found.found.as_str()),
            (State::Unused, "not asked (--no-kube)")
        );
    }
}
