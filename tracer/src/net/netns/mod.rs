//! Network namespaces.
//!
//! - [`NetnsRef`]: a namespace to enter, for a while
//! - [`Namespace`]: a namespace to watch
//! - [`in_netns`], [`in_netns_async`]: work inside one, within a time limit
//! - [`NetnsNames`]: names, by inode number

mod enter;
mod find;
mod limit;
mod names;
mod namespace;

use std::{fmt, path::PathBuf};

pub(crate) use self::{
    find::{all, inode, processes_in, resolve},
    limit::{Inside, enter, in_netns, in_netns_async},
    names::NetnsNames,
    namespace::Namespace,
};

/// Which network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NetnsRef {
    /// The one whydrop runs in.
    Own,
    /// The one at this path, such as `/run/netns/NAME` or `/proc/PID/ns/net`.
    Path(PathBuf),
    /// The one with this inode number, which is looked for when it is entered: in `/run/netns`,
    /// and in the processes there are.
    ///
    /// Inode numbers are reused once a namespace has gone. What is entered has this number now,
    /// and keeps it as long as the work lasts. Only [`Inside::cookie`] shows whether it is the one
    /// that had the number earlier.
    Inode(u32),
}

impl fmt::Display for NetnsRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => write!(f, "own network namespace"),
            Self::Path(path) => write!(f, "network namespace {}", path.display()),
            Self::Inode(inode) => write!(f, "network namespace {inode}"),
        }
    }
}
