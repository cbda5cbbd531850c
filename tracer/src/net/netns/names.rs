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
use crate::model::NetnsName;

/// Names of namespaces, as far as they were ever seen.
#[derive(Debug, Default)]
pub(crate) struct NetnsNames {
    names: HashMap<u32, NetnsName>,
    /// Namespaces without a name: a storm of drops in one that has gone must not search all
    /// processes again and again.
    nameless: HashSet<u32>,
    /// What is new since [`NetnsNames::take_news`].
    news: Vec<(u32, NetnsName)>,
}

impl NetnsNames {
    /// Looks at what is there now.
    pub(crate) fn read() -> Self {
        let mut names = Self::default();
        names.refresh();
        names
    }

    /// Looks again, and keeps what has gone since.
    pub(crate) fn refresh(&mut self) {
        let mut found = processes();
        // whydrop runs in the host's namespace; so do many processes that say less.
        if let Ok(own) = find::inode(Path::new("/proc/self/ns/net")) {
            found.insert(own, NetnsName::Own);
        }
        found.extend(named());
        self.add(found);
    }

    /// Looks at the named ones only, which is quick.
    pub(crate) fn refresh_named(&mut self) {
        self.add(named());
    }

    /// Looks for a namespace once more if it is not known, and once only.
    pub(crate) fn look_for(&mut self, inode: u32) {
        if !self.names.contains_key(&inode) && self.nameless.insert(inode) {
            self.refresh();
        }
    }

    /// The names that are new since the last call, in order.
    pub(crate) fn take_news(&mut self) -> Vec<(u32, NetnsName)> {
        std::mem::take(&mut self.news)
    }

    fn add(&mut self, found: impl IntoIterator<Item = (u32, NetnsName)>) {
        for (inode, name) in found {
            if self.names.get(&inode) != Some(&name) {
                self.names.insert(inode, name.clone());
                self.news.push((inode, name));
            }
        }
    }
}

fn named() -> impl Iterator<Item = (u32, NetnsName)> {
    find::named().map(|(inode, name)| (inode, NetnsName::Named(name)))
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
