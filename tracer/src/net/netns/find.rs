//! Where namespaces are found: by name, by path, by inode number, and in processes.

use std::{
    collections::BTreeSet,
    fs,
    fs::File,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use nix::sys::statfs;

use super::enter;

/// Where `ip netns` and the container runtimes name namespaces.
const NAMED: &str = "/run/netns";
/// Where Docker does.
const DOCKER: &str = "/run/docker/netns";

/// Opens a namespace. As long as it is open, it does not go away, and its number stays its own.
pub(super) fn open(path: &Path) -> Result<File> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    // A name under /run/netns whose namespace has gone is a plain file.
    let filesystem = statfs::fstatfs(&file).with_context(|| path.display().to_string())?;
    if filesystem.filesystem_type() != statfs::NSFS_MAGIC {
        bail!("{} is not a namespace", path.display());
    }
    Ok(file)
}

/// Opens the namespace with this inode number.
pub(super) fn by_inode(wanted: u32) -> Result<File> {
    paths()
        .filter(|path| inode_of(path) == Some(wanted))
        // Between looking and opening, the path may have come to mean another one.
        .filter_map(|path| open(&path).ok())
        .find(|namespace| enter::inode(namespace).is_ok_and(|inode| inode == wanted))
        .context("not found: it has gone, or neither a name nor a visible process leads to it")
}

/// Inode numbers of all network namespaces that have a name or a process.
pub(crate) fn all() -> BTreeSet<u32> {
    paths().filter_map(|path| inode_of(&path)).collect()
}

/// Paths that may lead to a namespace; mostly, several lead to the same one.
fn paths() -> impl Iterator<Item = PathBuf> {
    let named = [NAMED, DOCKER].into_iter().flat_map(entries);
    let processes = processes().map(|(_, process)| process.join("ns/net"));
    std::iter::once(PathBuf::from(enter::HERE))
        .chain(named)
        .chain(processes)
}

pub(super) fn inode_of(path: &Path) -> Option<u32> {
    u32::try_from(fs::metadata(path).ok()?.ino()).ok()
}

/// The inode numbers and names of the named ones.
pub(super) fn named() -> impl Iterator<Item = (u32, String)> {
    entries(NAMED).filter_map(|path| {
        let name = path.file_name()?.to_string_lossy().into_owned();
        Some((inode(&path).ok()?, name))
    })
}

/// The processes there are, and the directory of each.
pub(super) fn processes() -> impl Iterator<Item = (u32, PathBuf)> {
    entries("/proc").filter_map(|path| {
        let pid = path.file_name()?.to_str()?.parse().ok()?;
        Some((pid, path))
    })
}

/// The processes in a namespace.
pub(crate) fn processes_in(inode: u32) -> impl Iterator<Item = u32> {
    let inside =
        processes().filter(move |(_, process)| inode_of(&process.join("ns/net")) == Some(inode));
    inside.map(|(pid, _)| pid)
}

fn entries(directory: &str) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

/// The path of a namespace given as a name of `ip netns`, or as a path.
pub(super) fn path(name_or_path: &str) -> PathBuf {
    if name_or_path.contains('/') {
        PathBuf::from(name_or_path)
    } else {
        Path::new(NAMED).join(name_or_path)
    }
}

/// The inode number of a namespace given as a name of `ip netns`, or as a path.
///
/// # Errors
///
/// There is no such namespace, or the path does not name one. The error lists the existing names.
pub(crate) fn resolve(name_or_path: &str) -> Result<u32> {
    let path = path(name_or_path);
    inode(&path).with_context(|| {
        let mut known: Vec<_> = named().map(|(_, name)| name).collect();
        known.sort();
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        format!(
            "no network namespace '{name_or_path}' (named ones here: {known}; a path such as \
             /proc/PID/ns/net works too)"
        )
    })
}

/// The inode number of the namespace that is mounted there.
///
/// # Errors
///
/// There is nothing, or something else.
pub(crate) fn inode(path: &Path) -> Result<u32> {
    enter::inode(&open(path)?)
}
