//! Finds the network namespaces that can be entered: this one, the named ones, and those of
//! processes.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::{net::netns::NetnsRef, words};

/// Names of `ip netns` are there.
const NAMED: &str = "/run/netns";
/// Docker's names, which say less than the process in the namespace.
const DOCKER: &str = "/run/docker/netns";
/// Of the process, not of the thread: threads that entered another namespace do not matter.
const OWN: &str = "/proc/self/ns/net";

/// A namespace, before it is entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its inode number.
    pub(crate) inode: u32,
    /// Its name of `ip netns`, `host` for this process's own, or a process in it.
    pub(crate) name: String,
    /// How to enter it.
    pub(crate) reference: NetnsRef,
}

/// All of them, this process's own first.
pub(crate) fn all() -> Vec<Found> {
    let mut found = BTreeMap::new();
    let own = inode(Path::new(OWN));
    for path in entries(NAMED) {
        add(&mut found, own, path, file_name);
    }
    for path in entries("/proc") {
        if is_process(&path) {
            add(&mut found, own, path.join("ns/net"), |_| process(&path));
        }
    }
    for path in entries(DOCKER) {
        add(&mut found, own, path, file_name);
    }
    if let Some(inode) = own {
        found.entry(inode).or_insert_with(|| Found {
            inode,
            name: words::HOST.to_owned(),
            reference: NetnsRef::Own,
        });
    }
    let (mut first, rest): (Vec<_>, Vec<_>) = found
        .into_values()
        .partition(|found| Some(found.inode) == own);
    first.extend(rest);
    first
}

/// The first path that leads to a namespace gives it its name.
fn add(
    found: &mut BTreeMap<u32, Found>,
    own: Option<u32>,
    path: PathBuf,
    name: impl FnOnce(&Path) -> String,
) {
    let Some(inode) = inode(&path) else {
        return;
    };
    let is_own = Some(inode) == own;
    let is_named = path.starts_with(NAMED);
    if found.contains_key(&inode) || (is_own && !is_named) {
        return;
    }
    let name = name(&path);
    let reference = match is_own {
        true => NetnsRef::Own,
        false => NetnsRef::Path(path),
    };
    found.insert(
        inode,
        Found {
            inode,
            name,
            reference,
        },
    );
}

/// `None` if it is no namespace: while one is deleted, its name in `/run/netns` is an empty file.
fn inode(path: &Path) -> Option<u32> {
    let metadata = fs::metadata(path).ok()?;
    let of_namespaces = fs::metadata(OWN).ok().map(|own| own.dev());
    let is_namespace = of_namespaces.is_none_or(|device| device == metadata.dev());
    u32::try_from(metadata.ino()).ok().filter(|_| is_namespace)
}

fn entries(directory: &str) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn is_process(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `comm[pid]`
fn process(path: &Path) -> String {
    let comm = fs::read_to_string(path.join("comm")).unwrap_or_default();
    format!("{}[{}]", comm.trim_end(), file_name(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_own_comes_first_and_once() {
        let own = inode(Path::new(OWN)).unwrap();
        let found = all();
        assert_eq!(found[0].inode, own);
        assert_eq!(found[0].reference, NetnsRef::Own);
        assert!(found[1..].iter().all(|found| found.inode != own));
    }

    #[test]
    fn a_plain_file_is_no_namespace() {
        assert_eq!(inode(Path::new("/proc/self/exe")), None);
    }

    #[test]
    fn a_process_gives_a_name_where_there_is_no_other() {
        let mut found = BTreeMap::new();
        let path = PathBuf::from(OWN);
        add(&mut found, None, path.clone(), |_| "first".to_owned());
        add(&mut found, None, path, |_| "second".to_owned());
        let names: Vec<_> = found.values().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["first"]);
        let process = process(Path::new(&format!("/proc/{}", std::process::id())));
        assert!(process.ends_with(&format!("[{}]", std::process::id())));
    }
}
