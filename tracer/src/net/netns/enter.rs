//! The way into a network namespace.
//!
//! A thread can be in another network namespace than its process (setns(2)). A thread that could not
//! go back would be in the wrong one for good; so only fresh threads enter, work, and end.

use std::{fs, fs::File, os::unix::fs::MetadataExt as _, path::Path, thread};

use anyhow::{Context as _, Result, anyhow};
use nix::sched::{CloneFlags, setns};

use super::{NetnsRef, find};

/// The namespace of this thread.
pub(super) const HERE: &str = "/proc/thread-self/ns/net";

impl NetnsRef {
    /// Does something in a thread inside the namespace, and waits for it. The work gets the inode
    /// number of the namespace it is in.
    ///
    /// # Errors
    ///
    /// There is no such namespace, or it may not be entered (that takes `CAP_SYS_ADMIN`).
    pub(crate) fn visit<T: Send>(&self, work: impl FnOnce(u32) -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let thread = thread::Builder::new()
                .name("netns".to_owned())
                .spawn_scoped(scope, || this_thread(self).map(work))
                .context("cannot start a thread")?;
            thread
                .join()
                .map_err(|_| anyhow!("the thread in the namespace panicked"))?
        })
        .with_context(|| self.to_string())
    }
}

/// Moves this thread into the namespace, and returns that one's inode number.
pub(super) fn this_thread(netns: &NetnsRef) -> Result<u32> {
    let namespace = match netns {
        NetnsRef::Own => find::open(Path::new(HERE))?,
        NetnsRef::Path(path) => find::open(path)?,
        NetnsRef::Inode(inode) => find::by_inode(*inode)?,
    };
    let inode = inode(&namespace)?;
    // A thread that is inside already needs no privilege.
    if fs::metadata(HERE).context(HERE)?.ino() != u64::from(inode) {
        setns(&namespace, CloneFlags::CLONE_NEWNET).context("cannot enter it")?;
    }
    Ok(inode)
}

pub(super) fn inode(namespace: &File) -> Result<u32> {
    let inode = namespace.metadata()?.ino();
    u32::try_from(inode).with_context(|| format!("inode number {inode} is out of range"))
}
