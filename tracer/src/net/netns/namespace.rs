//! A network namespace to watch.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use super::{NetnsRef, find};

/// Of the process, not of the thread: threads that entered another namespace do not matter.
const OWN: &str = "/proc/self/ns/net";

/// A network namespace, by its path. It is opened when needed and not held, so that it can go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Namespace {
    /// Inode number: the identity of the namespace.
    pub(crate) inode: u32,
    path: PathBuf,
    own: bool,
}

impl Namespace {
    /// The namespaces of `--netns` (names of `ip netns`, or paths), each once; this process's own
    /// if there are none.
    ///
    /// # Errors
    ///
    /// One of them does not exist.
    pub(crate) fn of(names: &[String]) -> Result<Vec<Self>> {
        if names.is_empty() {
            return Ok(vec![Self::own()?]);
        }
        let mut found: Vec<Self> = Vec::new();
        for name in names {
            let namespace = Self::named(name)?;
            if found.iter().all(|known| known.inode != namespace.inode) {
                found.push(namespace);
            }
        }
        Ok(found)
    }

    /// This process's own namespace.
    ///
    /// # Errors
    ///
    /// `/proc` is not mounted.
    pub(crate) fn own() -> Result<Self> {
        Ok(Self {
            inode: find::resolve(OWN)?,
            path: PathBuf::from(OWN),
            own: true,
        })
    }

    /// The namespace with this name of `ip netns`, or with this path.
    ///
    /// # Errors
    ///
    /// There is no such namespace.
    pub(crate) fn named(name_or_path: &str) -> Result<Self> {
        let inode = find::resolve(name_or_path)?;
        let own = Self::own()?;
        Ok(if inode == own.inode {
            own
        } else {
            Self {
                inode,
                path: find::path(name_or_path),
                own: false,
            }
        })
    }

    /// Where it was found.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path still leads to it. This process's own always exists.
    pub(crate) fn exists(&self) -> bool {
        self.own
            || self
                .path
                .metadata()
                .is_ok_and(|metadata| metadata.ino() == u64::from(self.inode))
    }

    /// Does something inside the namespace: here if it is our own, and else in a thread that enters
    /// it and ends.
    ///
    /// # Errors
    ///
    /// The namespace has gone, or may not be entered.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        if self.own {
            return Ok(work());
        }
        let netns = NetnsRef::Path(self.path.clone());
        netns.visit(|inode| {
            // The path may lead to another one by now.
            if inode != self.inode {
                bail!("{netns} has been replaced");
            }
            Ok(work())
        })?
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn ones_own_namespace_by_any_path_is_ones_own() {
        let own = Namespace::own().unwrap();
        let path = format!("/proc/{}/ns/net", std::process::id());
        assert_eq!(Namespace::named(&path).unwrap(), own);
        assert_eq!(Namespace::of(&[path.clone(), path]).unwrap().len(), 1);
        assert_eq!(Namespace::of(&[]).unwrap()[0], own);
        assert!(own.exists());
        let here = thread::current().id();
        assert_eq!(own.enter(|| thread::current().id()).unwrap(), here);
    }

    #[test]
    fn a_missing_namespace_is_named() {
        let error = Namespace::named("no-such-namespace").unwrap_err();
        assert!(error.to_string().contains("no-such-namespace"), "{error}");
    }
}
