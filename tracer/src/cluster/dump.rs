//! Cluster objects from files: what `kubectl get -o json` and `-o yaml` write, single objects, and
//! several of them one after the other.
//!
//! A file that cannot be parsed is an error. One object in it that makes no sense is left out,
//! with a note: the rest is still of use.

mod json;
mod yaml;

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    item::{Item, printable},
    view::{Kind, View},
};

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
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
pub struct Loaded {
    /// The view.
    pub view: View,
    /// What was left out.
    pub notes: Vec<String>,
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
pub fn load(paths: &[impl AsRef<Path>]) -> Result<Loaded, DumpError> {
    let mut loaded = Loaded::default();
    for path in paths.iter().map(AsRef::as_ref) {
        loaded.read_file(path)?;
    }
    Ok(loaded)
}

impl Loaded {
    /// Reads one file more.
    ///
    /// # Errors
    ///
    /// It cannot be read or parsed, or holds nothing of a cluster. What came before the mistake is
    /// taken.
    pub fn read_file(&mut self, path: &Path) -> Result<(), DumpError> {
        let bytes = fs::read(path).map_err(|error| DumpError::Read {
            path: path.to_owned(),
            error,
        })?;
        // What is not UTF-8 is in no field that is read, or makes it improper.
        let text = String::from_utf8_lossy(&bytes);
        self.read(path, &text)
    }

    /// Reads the text of one file. `path` is for what is said of it.
    ///
    /// # Errors
    ///
    /// It cannot be parsed, or holds nothing of a cluster.
    pub fn read(&mut self, path: &Path, text: &str) -> Result<(), DumpError> {
        let text = text.trim_start_matches('\u{feff}');
        let mut found = 0;
        let mut sink = |item: Item<'_>| {
            found += 1;
            self.take(path, &item);
        };
        let result = match text.trim_start().as_bytes().first() {
            Some(b'{' | b'[') => json::read(text, &mut sink),
            _ => yaml::read(text, &mut sink),
        };
        match result {
            Err(SyntaxError { line, message }) => Err(DumpError::Syntax {
                path: path.to_owned(),
                line,
                message,
            }),
            Ok(()) if found == 0 => Err(DumpError::Empty {
                path: path.to_owned(),
            }),
            Ok(()) => Ok(()),
        }
    }

    fn take(&mut self, path: &Path, item: &Item<'_>) {
        let Some(head) = item.head() else {
            let place = format!("{}:{}", path.display(), item.line);
            self.notes
                .push(format!("{place}: left out, as it is no Kubernetes object"));
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
        let Some(kind) = Kind::from_api(&head.kind).filter(|kind| kind.group() == group) else {
            if is_foreign_policy(&head.kind, group) {
                self.view
                    .add_foreign_policy(&format!("{} ({group})", head.kind));
            }
            return;
        };
        match item.object(kind) {
            Ok(object) => self.view.insert(object),
            Err(wrong) => {
                let id = head.id();
                let line = wrong.line.unwrap_or(item.line);
                self.notes.push(format!(
                    "{}:{line}: {kind} {} is left out: {}",
                    path.display(),
                    printable(&id.to_string()),
                    printable(&wrong.message),
                ));
                self.view.declare(kind);
                if kind == Kind::NetworkPolicy {
                    self.view.add_unreadable_policy(id);
                }
            }
        }
    }
}

/// Whether it is a kind that decides about traffic as well: the CNI plugins' own, and the
/// cluster-wide ones.
pub(super) fn is_foreign_policy(kind: &str, group: &str) -> bool {
    let known = [
        "cilium.io",
        "projectcalico.org",
        "antrea.io",
        "policy.networking.k8s.io",
    ];
    kind.ends_with("NetworkPolicy") && known.iter().any(|known| group.ends_with(known))
}

#[cfg(test)]
mod tests;
