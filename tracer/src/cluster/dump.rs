//! Cluster objects from files: what `kubectl get -o json` and `-o yaml` write, single objects, and
//! several of them one after the other.
//!
//! A file that cannot be parsed is an error. One object in it that makes no sense is left out,
//! with a note: the rest is still of use.

mod json;
mod text;
mod yaml;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{
    foreign::{ForeignKind, selects_pods},
    item::{Head, Item, printable},
    objects::Labels,
    view::{Kind, View},
    workload::{Workload, WorkloadKind},
};

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DumpError {
    /// It cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// It is neither JSON nor YAML.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// It is, but no object of a cluster is in it.
    #[error(
        "{}: no Kubernetes object is in it; expected what `kubectl get pods,services,\
         endpointslices,networkpolicies,namespaces,nodes -A -o json` writes",
        path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// A view, and what could not be taken into it, a sentence each.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// The view.
    pub(crate) view: View,
    /// What was left out.
    pub(crate) notes: Vec<String>,
    /// What answers depend on that no file says.
    pub(crate) assumptions: Vec<String>,
    /// The kinds in each list of the file that is being read, by the list's number.
    lists: BTreeMap<usize, BTreeSet<Kind>>,
    /// A file that looks like a whole cluster without policies.
    without_policies: Option<PathBuf>,
}

/// Numbers things.
#[derive(Default)]
struct Numbered(usize);

impl Numbered {
    fn next(&mut self) -> usize {
        self.0 += 1;
        self.0
    }
}

/// What is wrong in a text, and at which line.
#[derive(Debug)]
struct SyntaxError {
    line: usize,
    message: String,
}

/// Reads files into one view; an object in a later one replaces its namesake.
///
/// # Errors
///
/// A file cannot be read or parsed, or holds nothing of a cluster.
pub(crate) fn load(paths: &[impl AsRef<Path>]) -> Result<Loaded, DumpError> {
    let mut loaded = Loaded::default();
    for path in paths.iter().map(AsRef::as_ref) {
        loaded.read_file(path)?;
    }
    loaded.finish();
    Ok(loaded)
}

impl Loaded {
    /// Reads one file more.
    ///
    /// # Errors
    ///
    /// It cannot be read or parsed, or holds nothing of a cluster. What came before the mistake is
    /// taken.
    pub(crate) fn read_file(&mut self, path: &Path) -> Result<(), DumpError> {
        let text = text::read(path).map_err(|error| DumpError::Read {
            path: path.to_owned(),
            error,
        })?;
        self.read(path, &text)
    }

    /// Reads the text of one file. `path` is for what is said of it.
    ///
    /// # Errors
    ///
    /// It cannot be parsed, or holds nothing of a cluster.
    pub(crate) fn read(&mut self, path: &Path, text: &str) -> Result<(), DumpError> {
        let text = text.trim_start_matches('\u{feff}');
        let (text, skipped) = text::behind_warnings(text);
        let mut found = 0;
        self.lists.clear();
        let mut sink = |mut item: Item<'_>| {
            found += 1;
            item.line += skipped;
            self.take(path, &item);
        };
        let result = match text.trim_start().as_bytes().first() {
            Some(b'{' | b'[') => json::read(text, &mut sink),
            _ => yaml::read(text, &mut sink),
        };
        if self.lists.values().any(is_whole_cluster) {
            self.without_policies = Some(path.to_owned());
        }
        match result {
            Err(SyntaxError { line, message }) => Err(DumpError::Syntax {
                path: path.to_owned(),
                line: line + skipped,
                message: printable(&message),
            }),
            Ok(()) if found == 0 => Err(DumpError::Empty {
                path: path.to_owned(),
            }),
            Ok(()) => Ok(()),
        }
    }

    /// After the last file: distinguishes "there is none" from "it was not asked for", as far as
    /// possible.
    pub(crate) fn finish(&mut self) {
        let Some(path) = self.without_policies.take() else {
            return;
        };
        if self.view.knows(Kind::NetworkPolicy) {
            return;
        }
        self.view.declare(Kind::NetworkPolicy);
        self.assumptions.push(format!(
            "{} holds no NetworkPolicy: taken for a cluster without any, as it looks like the \
             output of the documented command; if networkpolicies were not asked for, this answer \
             is wrong",
            path.display()
        ));
    }

    fn take(&mut self, path: &Path, item: &Item<'_>) {
        let Some(head) = item.head() else {
            let place = format!("{}:{}", path.display(), item.line);
            self.notes.push(format!(
                "{place}: left out, as it is not a Kubernetes object"
            ));
            // It may have been one.
            if item.tree().is_some_and(|tree| tree.is_object()) {
                let remnant = item.remnant(Kind::Pod);
                self.view.add_unreadable(Kind::Pod, remnant.id, remnant.ips);
            }
            return;
        };
        let (group, _) = head.api_version.rsplit_once('/').unwrap_or_default();
        if let Some(listed) = head.kind.strip_suffix("List").and_then(Kind::from_api) {
            // A list of one kind, perhaps an empty one; its items come by themselves.
            if listed.group() == group {
                self.view.declare(listed);
            }
            return;
        }
        if let Some(kind) = Kind::from_api(&head.kind).filter(|kind| kind.group() == group) {
            return self.take_object(path, item, kind);
        }
        if head.kind == "NetworkPolicy" && group == "extensions" {
            let why = "extensions/v1beta1 was removed in Kubernetes 1.16: write \
                       networking.k8s.io/v1";
            return self.leave_out(path, item, Kind::NetworkPolicy, item.line, why);
        }
        self.take_other(item, &head, group);
    }

    fn take_object(&mut self, path: &Path, item: &Item<'_>, kind: Kind) {
        self.count_in_list(item, kind);
        match item.object(kind) {
            Ok(object) => self.view.insert(object),
            Err(wrong) => {
                let line = wrong.line.unwrap_or(item.line);
                self.leave_out(path, item, kind, line, &wrong.message);
            }
        }
    }

    fn leave_out(&mut self, path: &Path, item: &Item<'_>, kind: Kind, line: usize, why: &str) {
        self.count_in_list(item, kind);
        let remnant = item.remnant(kind);
        self.notes.push(format!(
            "{}:{line}: {kind} {} is left out: {}",
            path.display(),
            remnant.id,
            printable(why),
        ));
        self.view.declare(kind);
        self.view.add_unreadable(kind, remnant.id, remnant.ips);
    }

    fn count_in_list(&mut self, item: &Item<'_>, kind: Kind) {
        if let Some(list) = item.mixed_list {
            self.lists.entry(list).or_default().insert(kind);
        }
    }

    /// An object of another kind, which may say how pods are selected, or decide about traffic.
    fn take_other(&mut self, item: &Item<'_>, head: &Head, group: &str) {
        let workload = WorkloadKind::from_api(&head.kind);
        if let Some(kind) = workload.filter(|_| group == WorkloadKind::GROUP) {
            let tree = item.tree().unwrap_or_default();
            let labels = &tree["spec"]["selector"]["matchLabels"];
            if let Ok(labels) = serde_json::from_value::<Labels>(labels.clone())
                && let Ok(labels) = super::convert::labels(Some(labels))
            {
                let id = head.id();
                self.view.add_workload(Workload { kind, id }, labels);
            }
            return;
        }
        let suspected = || {
            ForeignKind::suspected(&head.kind, group)
                .filter(|_| item.tree().is_some_and(|tree| selects_pods(&tree)))
        };
        if let Some(foreign) = ForeignKind::known(&head.kind, group).or_else(suspected) {
            self.view.add_foreign_policy(foreign);
        }
    }
}

/// Whether a list has what every cluster has, and no policies: the command that lists all six
/// kinds writes that if there are none.
fn is_whole_cluster(kinds: &BTreeSet<Kind>) -> bool {
    let has = |kind| kinds.contains(&kind);
    [Kind::Pod, Kind::Namespace, Kind::Node]
        .into_iter()
        .all(has)
        && (has(Kind::EndpointSlice) || has(Kind::Service))
        && !has(Kind::NetworkPolicy)
}

/// The one document of a YAML text.
pub(super) fn tree(text: &str) -> Option<serde_json::Value> {
    yaml::only(text)
}

/// The documents of a YAML text.
#[cfg(test)]
pub(crate) fn trees(text: &str) -> Vec<serde_json::Value> {
    yaml::trees(text)
}

#[cfg(test)]
pub(crate) const LARGEST_JSON: u64 = text::LARGEST;
#[cfg(test)]
pub(crate) const LARGEST_YAML: usize = yaml::LARGEST;

#[cfg(test)]
mod tests;
