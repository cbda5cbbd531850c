//! Network namespaces by inode number, and their names.
//!
//! A namespace's name is that of `ip netns`, or else of the first process found in it. Names are
//! kept when a namespace vanishes: its drops may still be on their way. Inode numbers are reused
//! within minutes, so a name found later replaces an older one.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::model::{Netns, NetnsName};

const NAMED: &str = "/run/netns";

/// Names of namespaces, as far as they were ever seen.
#[derive(Debug, Default)]
pub struct NetnsNames {
    names: HashMap<u32, NetnsName>,
    /// Namespaces without a name: a storm of drops in one that has gone must not search all
    /// processes again and again.
    nameless: HashSet<u32>,
}

impl NetnsNames {
    /// Looks at what is there now.
    pub fn read() -> Self {
        let mut names = Self::default();
        names.refresh();
        names
    }

    /// Looks again, and keeps what has gone since.
    pub fn refresh(&mut self) {
        for (inode, name) in processes() {
            self.names.insert(inode, name);
        }
        // whydrop runs in the host's namespace; so do many processes that say less.
        if let Ok(own) = inode(Path::new("/proc/self/ns/net")) {
            self.names.insert(own, NetnsName::Own);
        }
        self.refresh_named();
    }

    /// Looks at the named ones only, which is quick.
    pub fn refresh_named(&mut self) {
        for (inode, name) in named() {
            self.names.insert(inode, NetnsName::Named(name));
        }
    }

    /// The namespace's name, if it was ever seen. An unknown one is looked for once more, and once
    /// only.
    pub fn find(&mut self, inode: u32) -> Option<&NetnsName> {
        if !self.names.contains_key(&inode) && self.nameless.insert(inode) {
            self.refresh();
        }
        self.names.get(&inode)
    }

    /// The namespace, as a fix has it.
    pub fn place(&mut self, inode: Option<u32>) -> Netns {
        let Some(inode) = inode else {
            return Netns::Unresolved;
        };
        self.find(inode)
            .map_or(Netns::Nameless(inode), |name| Netns::Known(name.clone()))
    }
}

/// The path of a namespace given as a name of `ip netns`, or as a path.
pub fn path(name_or_path: &str) -> PathBuf {
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
/// There is no such namespace, or the path is none. The error lists the names there are.
pub fn resolve(name_or_path: &str) -> Result<u32> {
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
pub fn inode(path: &Path) -> Result<u32> {
    /// Magic number of nsfs in statfs(2) (include/uapi/linux/magic.h).
    const NSFS_MAGIC: u64 = 0x6e73_6673;
    let metadata = fs::metadata(path).with_context(|| path.display().to_string())?;
    let c_path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())?;
    // SAFETY: all-zero is a value of the plain struct `statfs`.
    let mut stats: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path is a C string, and `stats` a valid place to write to.
    let found = unsafe { libc::statfs(c_path.as_ptr(), &raw mut stats) };
    if found != 0 || stats.f_type as u64 != NSFS_MAGIC {
        bail!("{} is not a namespace", path.display());
    }
    u32::try_from(metadata.ino()).context("inode number out of range")
}

fn named() -> impl Iterator<Item = (u32, String)> {
    let entries = fs::read_dir(NAMED).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        Some((
            inode(&entry.path()).ok()?,
            entry.file_name().to_string_lossy().into_owned(),
        ))
    })
}

/// One process of each namespace.
fn processes() -> HashMap<u32, NetnsName> {
    let mut found = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(metadata) = fs::metadata(entry.path().join("ns/net")) else {
            continue;
        };
        let Ok(inode) = u32::try_from(metadata.ino()) else {
            continue;
        };
        found.entry(inode).or_insert_with(|| {
            let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            NetnsName::Process {
                comm: comm.trim_end().to_owned(),
                pid,
            }
        });
    }
    found
}
