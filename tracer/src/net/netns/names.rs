//! Names of network namespaces, by inode number.
//!
//! A namespace's name is that of `ip netns`, or else of the first process found in it. Names are
//! kept when a namespace vanishes: its drops may still be on their way. Inode numbers are reused
//! within minutes, so a name found later replaces an older one.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
};

use super::find;
use crate::model::{Netns, NetnsName};

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
        if let Ok(own) = find::inode(Path::new("/proc/self/ns/net")) {
            self.names.insert(own, NetnsName::Own);
        }
        self.refresh_named();
    }

    /// Looks at the named ones only, which is quick.
    pub fn refresh_named(&mut self) {
        for (inode, name) in find::named() {
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

/// One process of each namespace.
fn processes() -> HashMap<u32, NetnsName> {
    let mut found = HashMap::new();
    for (pid, process) in find::processes() {
        let Some(inode) = find::inode_of(&process.join("ns/net")) else {
            continue;
        };
        found.entry(inode).or_insert_with(|| {
            let comm = fs::read_to_string(process.join("comm")).unwrap_or_default();
            NetnsName::Process {
                comm: comm.trim_end().to_owned(),
                pid,
            }
        });
    }
    found
}
