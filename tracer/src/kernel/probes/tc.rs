//! The classifiers at the interfaces, one for each direction.
//!
//! Where the kernel has TCX (since 6.6), the classifiers come first in its chain, and go with this
//! process however that ends. Before, they are filters of the clsact qdisc, which are removed in
//! order, and swept by the next start otherwise: see [`clsact`].
//!
//! TCX has its price: the kernel waits for an RCU grace period at each attachment and detachment,
//! some 10 ms, with the RTNL held. Interfaces that lead off the node therefore come first; and where
//! there are more than [`MANY`], programs of the same kind at two tracepoints look at the packets of
//! all interfaces, at a little more per packet and in no time at all.
//!
//! After the start, interfaces are attached to on a thread of its own ([`Follower`]): whatever else
//! holds the RTNL would hold up the trace. Where they come and go in numbers ([`Churn`]), each
//! attachment would also hold up those who make them, so the tracepoints take over.
//!
//! The kernel looks up interfaces in the namespace of the calling thread, so whatever is attached
//! together is attached by one thread in each namespace.

mod attachment;
mod churn;
mod clsact;
mod follower;
mod tcx;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::Result;
use aya::Ebpf;

pub(crate) use self::attachment::Attachment;
pub(crate) use self::churn::Churn;
pub(crate) use self::clsact::NAME as OUR_FILTER;
pub(crate) use self::follower::{Followed, Follower};
use self::{attachment::MANY, clsact::Clsact, tcx::Classifiers};
use crate::{
    net::{Change, Interface, netns::Namespace},
    words,
};

/// How many interfaces are named in a sentence.
const NAMED: usize = 5;

/// Namespace and number of an interface.
type Key = (u32, u32);

/// The classifiers at all interfaces.
pub(crate) struct TcProbes {
    namespaces: BTreeMap<u32, Namespace>,
    attachment: Attachment,
    /// The programs, unless the tracepoints do it all.
    classifiers: Option<Classifiers>,
    held: BTreeMap<Key, Held>,
    /// What is there and cannot be attached to: name and cause.
    failed: BTreeMap<Key, (String, String)>,
    /// Per namespace, if attached that way. Dropped after `held` is given back.
    clsact: BTreeMap<u32, Clsact>,
}

/// What keeps classifiers at one interface.
enum Held {
    /// Dropped, the kernel detaches.
    Tcx {
        _links: [OwnedFd; 2],
    },
    Clsact(clsact::Filters),
    /// The tracepoints see it.
    Everywhere,
}

impl TcProbes {
    /// Nothing attached yet.
    pub(crate) fn new(namespaces: &[Namespace], attachment: Attachment) -> Self {
        tcx::raise_descriptor_limit();
        Self {
            namespaces: namespaces
                .iter()
                .map(|namespace| (namespace.inode, namespace.clone()))
                .collect(),
            attachment,
            classifiers: None,
            held: BTreeMap::new(),
            failed: BTreeMap::new(),
            clsact: BTreeMap::new(),
        }
    }

    /// Takes the loaded classifiers, if it is they that are attached.
    ///
    /// # Errors
    ///
    /// They are not loaded.
    pub(super) fn equip(&mut self, ebpf: &mut Ebpf) -> Result<()> {
        if !matches!(
            self.attachment,
            Attachment::Tracepoints | Attachment::Nowhere
        ) {
            self.classifiers = Some(Classifiers::of(ebpf)?);
        }
        Ok(())
    }

    /// Attaches the classifiers to interfaces. What has gone since is no failure; others are
    /// reported by [`TcProbes::degraded`].
    pub(super) fn attach<'a>(&mut self, interfaces: impl IntoIterator<Item = &'a Interface>) {
        if self.attachment == Attachment::Nowhere {
            return;
        }
        let mut wanted: BTreeMap<u32, Vec<&Interface>> = BTreeMap::new();
        for interface in interfaces {
            let key = (interface.netns, interface.link.ifindex);
            if self.attachment == Attachment::Tracepoints {
                self.held.entry(key).or_insert(Held::Everywhere);
            } else if !self.held.contains_key(&key) {
                wanted.entry(interface.netns).or_default().push(interface);
            }
        }
        for (netns, mut interfaces) in wanted {
            interfaces.sort_by_key(|interface| !interface.is_uplink);
            let Some(namespace) = self.namespaces.get(&netns).cloned() else {
                continue;
            };
            let entered = namespace.enter(|| {
                for interface in &interfaces {
                    let result = self.attach_here(interface);
                    self.account(interface, result);
                }
            });
            if let Err(error) = entered
                && namespace.exists()
            {
                for interface in &interfaces {
                    self.account(interface, Err(io::Error::other(format!("{error:#}"))));
                }
            }
        }
    }

    /// Attaches to what is new, and lets go of what has gone.
    #[cfg(test)]
    pub(super) fn follow(&mut self, changes: &[Change]) {
        let present = self.let_go(changes);
        self.attach(present.into_values());
    }

    /// From now on the tracepoints see the packets of all interfaces. What is attached stays, and
    /// looks away: to detach it would cost as much as it did to attach it.
    fn everywhere(&mut self) {
        self.attachment = Attachment::Tracepoints;
        self.failed.clear();
    }

    /// Forgets the interfaces that have gone. Returns those of the changed ones that are present.
    fn let_go<'a>(&mut self, changes: &'a [Change]) -> BTreeMap<Key, &'a Interface> {
        // An interface can go and its number come back in one batch. Then the last change counts.
        let mut present: BTreeMap<Key, &Interface> = BTreeMap::new();
        let mut affected = BTreeSet::new();
        for change in changes {
            match change {
                Change::Appeared(interface) | Change::Changed(interface) => {
                    present.insert((interface.netns, interface.link.ifindex), interface);
                }
                Change::Gone { netns, ifindex } => {
                    let key = (*netns, *ifindex);
                    present.remove(&key);
                    self.held.remove(&key);
                    self.failed.remove(&key);
                    affected.insert(*netns);
                }
            }
        }
        // The lock in a namespace would keep it alive.
        let namespaces = &self.namespaces;
        self.clsact.retain(|netns, _| {
            !affected.contains(netns) || namespaces.get(netns).is_some_and(Namespace::exists)
        });
        present
    }

    /// How many interfaces the classifiers are at.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// How they are attached, as far as it is known.
    pub(crate) fn attachment(&self) -> Attachment {
        self.attachment
    }

    /// Where the classifiers should be and are not, as a sentence.
    pub(crate) fn degraded(&self) -> Option<String> {
        if self.failed.is_empty() {
            return None;
        }
        let all = self.failed.len() + self.held.len();
        let named = self.failed.values().take(NAMED);
        let mut named: Vec<_> = named
            .map(|(name, cause)| format!("{name}: {cause}"))
            .collect();
        if self.failed.len() > NAMED {
            named.push(format!("and {} more", self.failed.len() - NAMED));
        }
        Some(format!(
            "handshakes are not seen at {} of {} ({})",
            self.failed.len(),
            words::count(all as u64, "interface"),
            named.join("; ")
        ))
    }

    /// What this way of attaching does not show, as a sentence. Handshakes of TCP are all seen.
    pub(crate) fn unread(&self) -> Option<String> {
        (self.attachment == Attachment::Tracepoints).then(|| {
            format!(
                "TLS is followed only where the payload is in a packet's linear part: more than \
                 {MANY} interfaces are watched by tracepoints, which read no further"
            )
        })
    }

    /// Detaches from everything.
    pub(crate) fn detach(&mut self) {
        self.failed.clear();
        let mut filters: BTreeMap<u32, Vec<(u32, clsact::Filters)>> = BTreeMap::new();
        for ((netns, ifindex), held) in std::mem::take(&mut self.held) {
            if let Held::Clsact(held) = held {
                filters.entry(netns).or_default().push((ifindex, held));
            }
        }
        for (netns, clsact) in std::mem::take(&mut self.clsact) {
            // Inside already: its socket was opened there.
            for (ifindex, filters) in filters.remove(&netns).unwrap_or_default() {
                clsact.detach(ifindex, &filters);
            }
        }
    }

    /// Attaches in the namespace that this thread is in.
    fn attach_here(&mut self, interface: &Interface) -> io::Result<Held> {
        let Some(classifiers) = &self.classifiers else {
            return Err(io::Error::other("the programs are not loaded"));
        };
        if self.attachment != Attachment::Clsact {
            match tcx::attach(classifiers, interface.link.ifindex) {
                Ok(links) => {
                    self.attachment = Attachment::Tcx;
                    return Ok(Held::Tcx { _links: links });
                }
                // What a kernel without TCX says.
                Err(error)
                    if self.attachment == Attachment::Automatic
                        && error.raw_os_error() == Some(libc::EINVAL) =>
                {
                    self.attachment = Attachment::Clsact;
                }
                Err(error) => return Err(error),
            }
        }
        let clsact = match self.clsact.entry(interface.netns) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(unknown) => unknown.insert(Clsact::open()?),
        };
        let fds = classifiers.0.each_ref().map(OwnedFd::as_raw_fd);
        Ok(Held::Clsact(clsact.attach(interface.link.ifindex, fds)?))
    }

    fn account(&mut self, interface: &Interface, result: io::Result<Held>) {
        let key = (interface.netns, interface.link.ifindex);
        match result {
            Ok(held) => {
                self.failed.remove(&key);
                self.held.insert(key, held);
            }
            // It has gone between the message and now; another message will say so.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENXIO)) => {}
            Err(error) => {
                let named = (interface.link.name.clone(), error.to_string());
                self.failed.insert(key, named);
            }
        }
    }
}

impl Drop for TcProbes {
    fn drop(&mut self) {
        self.detach();
    }
}

#[cfg(test)]
mod tests;
