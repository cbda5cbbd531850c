//! Which socket is the container runtime's.

use std::{
    io,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

/// Where runtimes have their sockets, in the order in which they are tried.
const USUAL: [&str; 3] = [
    "containerd/containerd.sock",
    "crio/crio.sock",
    "k3s/containerd/containerd.sock",
];

/// `/var/run` is another name for `/run` nearly everywhere.
const ROOTS: [&str; 2] = ["/run", "/var/run"];

/// The sockets to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cluster::source) enum Sockets {
    /// The user's.
    Given(PathBuf),
    /// Those that were found; at least one.
    Found(Vec<PathBuf>),
}

impl Sockets {
    /// The given one; without it, those that this node has. `None` if it has none.
    ///
    /// # Errors
    ///
    /// The given one is no socket.
    pub(in crate::cluster::source) fn find(given: Option<&Path>) -> io::Result<Option<Self>> {
        let Some(given) = given else {
            return Ok(Self::found(&ROOTS));
        };
        let text = given.to_string_lossy();
        // As the kubelet and crictl write it.
        let path = Path::new(text.strip_prefix("unix://").unwrap_or(&text));
        let wrong = |why: String| {
            let way_out = "give the socket of containerd or CRI-O, or leave the option out";
            let text = format!("--cri-socket {}: {why}: {way_out}", path.display());
            io::Error::new(io::ErrorKind::InvalidInput, text)
        };
        let metadata = path.metadata().map_err(|error| wrong(error.to_string()))?;
        if !metadata.file_type().is_socket() {
            return Err(wrong("it is not a socket".to_owned()));
        }
        Ok(Some(Self::Given(path.to_owned())))
    }

    fn found(roots: &[&str]) -> Option<Self> {
        let mut found = Vec::new();
        let mut seen = Vec::new();
        for name in USUAL {
            for root in roots {
                let path = Path::new(root).join(name);
                let is_socket = |path: &Path| {
                    path.metadata()
                        .is_ok_and(|metadata| metadata.file_type().is_socket())
                };
                let Ok(real) = path.canonicalize() else {
                    continue;
                };
                if is_socket(&path) && !seen.contains(&real) {
                    seen.push(real);
                    found.push(path);
                }
            }
        }
        (!found.is_empty()).then_some(Self::Found(found))
    }

    pub(super) fn paths(&self) -> &[PathBuf] {
        match self {
            Self::Given(path) => std::slice::from_ref(path),
            Self::Found(paths) => paths,
        }
    }

    /// Whether what is no container runtime deserves a word: other programs have sockets of these
    /// names, Docker's containerd among them.
    pub(super) fn were_asked_for(&self) -> bool {
        matches!(self, Self::Given(_))
    }
}

#[cfg(test)]
mod tests;
