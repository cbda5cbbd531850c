//! A network namespace to work in.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::kernel::netns;

/// Of the process, not of the thread: threads that entered another namespace do not matter.
const OWN: &str = "/proc/self/ns/net";

/// A network namespace, by its path. It is opened when needed and not held, so that it can go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Inode number: the identity of the namespace.
    pub inode: u32,
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
    pub fn of(names: &[String]) -> Result<Vec<Self>> {
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
    pub fn own() -> Result<Self> {
        Ok(Self {
            inode: netns::resolve(OWN)?,
            path: PathBuf::from(OWN),
            own: true,
        })
    }

    /// The namespace with this name of `ip netns`, or with this path.
    ///
    /// # Errors
    ///
    /// There is no such namespace.
    pub fn named(name_or_path: &str) -> Result<Self> {
        let inode = netns::resolve(name_or_path)?;
        let own = Self::own()?;
        Ok(if inode == own.inode {
            own
        } else {
            Self {
                inode,
                path: netns::path(name_or_path),
                own: false,
            }
        })
    }

    /// Where it was found.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path still leads to it. This process's own always exists.
    pub fn exists(&self) -> bool {
        self.own
            || self
                .path
                .metadata()
                .is_ok_and(|metadata| metadata.ino() == u64::from(self.inode))
    }

    /// Does something inside the namespace: here if it is our own, and else in a thread that enters
    /// it and ends, because a thread that could not go back would be in the wrong one for good.
    ///
    /// # Errors
    ///
    /// The namespace has gone, or may not be entered.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        if self.own {
            return Ok(work());
        }
        thread::scope(|scope| {
            let inside = || -> Result<T> {
                self.set()?;
                Ok(work())
            };
            let thread = thread::Builder::new()
                .name("netns".to_owned())
                .spawn_scoped(scope, inside)?;
            thread
                .join()
                .map_err(|_| anyhow!("the thread in the namespace panicked"))?
        })
        .with_context(|| format!("cannot enter the network namespace {}", self.path.display()))
    }

    /// Moves this thread into the namespace.
    fn set(&self) -> Result<()> {
        let file = File::open(&self.path)?;
        // The path may lead to another one by now.
        if file.metadata()?.ino() != u64::from(self.inode) {
            bail!("it has been replaced");
        }
        // SAFETY: the descriptor is open, and setns(2) does not touch memory.
        if unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
            return Err(io::Error::last_os_error().into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
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
