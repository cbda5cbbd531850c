//! The node as a model: every network namespace that can be entered, with its links and addresses,
//! and what else a question needs.
//!
//! [`World::read`] reads, in parallel and within a time limit; the questions are pure methods.
//! What could not be read is a gap and never a guess: a question that would need it is answered
//! by `None`, or names the gap.
//!
//! - [`Namespace`]: a network namespace; [`discover`] finds them
//! - [`link`]: what is in one
//! - `read`: visits them
//! - [`holders`]: who has an address, and what keeps others from reaching it
//! - [`segment`]: the link-layer paths between two links

#[cfg(test)]
pub(crate) mod build;
mod cache;
pub(crate) mod discover;
pub(crate) mod holders;
pub(crate) mod link;
mod read;
pub(crate) mod segment;
mod sentence;
pub(crate) mod settings;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::Path};

pub(crate) use self::{
    holders::{Between, Holder},
    link::{Kind, Link, LinkId},
    read::{Part, Parts},
    segment::Obstacle,
    settings::{Settings, bridge_setting},
};
use crate::model::{Netns, NetnsName, Site};
pub(crate) use crate::net::{
    Address, AddressFlags, BridgeFdbEntry as FdbEntry, FdbKind, Mac, PortState, Rule, RuleAction,
    Vlan,
};
use crate::net::{Neighbor, ProxyEntry, netns::NetnsRef};

/// All that was read of the node.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    /// The namespaces, by inode number.
    pub(crate) namespaces: BTreeMap<u32, Namespace>,
    /// What could not be read, a sentence each, without its end.
    pub(crate) gaps: Vec<String>,
}

/// A network namespace.
#[derive(Clone, Debug)]
pub(crate) struct Namespace {
    /// Inode number, its identity.
    pub(crate) inode: u32,
    /// Its name of `ip netns`, `host` for the one whydrop runs in, or a process in it.
    pub(crate) name: String,
    /// How to enter it.
    pub(crate) reference: NetnsRef,
    /// Its links, by number.
    pub(crate) links: BTreeMap<u32, Link>,
    /// Its own addresses.
    pub(crate) addresses: Vec<Address>,
    /// FDB entries of its bridges, if they were read.
    pub(crate) fdb: Option<Vec<FdbEntry>>,
    /// VLANs of its bridges and their ports, if they were read.
    pub(crate) vlans: Option<Vec<Vlan>>,
    /// Its ARP and ND entries, if they were read.
    pub(crate) neighbors: Option<Vec<Neighbor>>,
    /// The addresses that it answers for by an entry each, if they were read.
    pub(crate) proxy_entries: Option<Vec<ProxyEntry>>,
    /// Its policy rules in both families, if they were read.
    pub(crate) rules: Option<Vec<Rule>>,
    /// Its settings, if they were read.
    pub(crate) settings: Option<Settings>,
}

impl Namespace {
    /// How a command enters it.
    fn enterable(&self) -> Option<NetnsName> {
        let path = match &self.reference {
            NetnsRef::Own => return Some(NetnsName::Own),
            NetnsRef::Path(path) => path,
            NetnsRef::Inode(_) => return None,
        };
        if path.parent() == Some(Path::new("/run/netns")) {
            return Some(NetnsName::Named(path.file_name()?.to_str()?.to_owned()));
        }
        let pid = path.strip_prefix("/proc").ok()?.iter().next()?;
        Some(NetnsName::Process {
            comm: self.name.clone(),
            pid: pid.to_str()?.parse().ok()?,
        })
    }
}

impl World {
    /// Whether every namespace was read: only then does what is absent from the model show that the
    /// node does not have it.
    pub(crate) fn is_whole(&self) -> bool {
        self.gaps.is_empty()
    }

    /// What could not be read, in one sentence without its end; `None` if all was.
    pub(crate) fn gap(&self) -> Option<String> {
        let first = self.gaps.first()?;
        Some(match self.gaps.len() {
            1 => first.clone(),
            all => format!("{first}, and {} more like it", all - 1),
        })
    }

    /// The namespace with this inode number.
    pub(crate) fn namespace(&self, netns: u32) -> Option<&Namespace> {
        self.namespaces.get(&netns)
    }

    /// Where to make a change in a namespace.
    pub(crate) fn site(&self, netns: u32) -> Site {
        let name = self.namespace(netns).and_then(Namespace::enterable);
        Site::Namespace(name.map_or(Netns::Nameless(netns), Netns::Known))
    }

    /// The link, if it was read.
    pub(crate) fn link(&self, id: LinkId) -> Option<&Link> {
        self.namespaces.get(&id.netns)?.links.get(&id.ifindex)
    }

    /// All links of all namespaces.
    pub(crate) fn links(&self) -> impl Iterator<Item = &Link> + '_ {
        self.namespaces.values().flat_map(|one| one.links.values())
    }

    /// The link with this name.
    pub(crate) fn link_named(&self, netns: u32, name: &str) -> Option<&Link> {
        let mut links = self.namespaces.get(&netns)?.links.values();
        links.find(|link| link.name == name)
    }
}
