//! The interfaces that are known, and how messages change them.
//!
//! Messages come in batches. What a batch changed is reported once per interface, by comparison with
//! what was known before: a pair that came and went within one batch is not worth a word.

use std::collections::{BTreeMap, BTreeSet};

use super::{Change, Interface, address::AddressEvent, link::LinkEvent, uplink};

/// All interfaces of the watched namespaces.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    namespaces: BTreeMap<u32, Table>,
}

impl Inventory {
    /// All interfaces.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Interface> + '_ {
        self.namespaces
            .values()
            .flat_map(|table| table.interfaces.values())
    }

    pub(super) fn table(&mut self, netns: u32) -> &mut Table {
        self.namespaces.entry(netns).or_insert_with(|| Table {
            netns,
            ..Table::default()
        })
    }

    /// Forgets a namespace that has gone.
    pub(super) fn remove(&mut self, netns: u32) -> Vec<Change> {
        let Some(table) = self.namespaces.remove(&netns) else {
            return Vec::new();
        };
        let gone = table.interfaces.into_keys();
        gone.map(|ifindex| Change::Gone { netns, ifindex })
            .collect()
    }
}

/// The interfaces of one namespace.
#[derive(Debug, Default)]
pub(super) struct Table {
    netns: u32,
    interfaces: BTreeMap<u32, Interface>,
    /// Interfaces that routes with a gateway leave through.
    gateways: BTreeSet<u32>,
    /// What the batch touched, as it was before: `None` if it was not there.
    before: BTreeMap<u32, Option<Interface>>,
    /// What the batch deleted, even if it is there again. It has lost its probes.
    deleted: BTreeSet<u32>,
}

impl Table {
    /// Takes one message about a link.
    pub(super) fn link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Present(link) => {
                let link = *link;
                let ifindex = link.ifindex;
                self.touch(ifindex);
                let netns = self.netns;
                let new = match self.interfaces.remove(&ifindex) {
                    Some(known) => Interface { link, ..known },
                    None => Interface {
                        netns,
                        link,
                        addresses: Vec::new(),
                        is_uplink: false,
                    },
                };
                self.interfaces.insert(ifindex, new);
            }
            LinkEvent::Gone(ifindex) => {
                self.touch(ifindex);
                if self.interfaces.remove(&ifindex).is_some() {
                    self.deleted.insert(ifindex);
                }
                self.gateways.remove(&ifindex);
            }
        }
    }

    /// Takes one message about an address.
    pub(super) fn address(&mut self, event: AddressEvent) {
        let (AddressEvent::Present(own) | AddressEvent::Gone(own)) = event;
        self.touch(own.ifindex);
        let Some(interface) = self.interfaces.get_mut(&own.ifindex) else {
            return;
        };
        let is_present = matches!(event, AddressEvent::Present(_));
        match interface.addresses.binary_search(&own.address) {
            Err(place) if is_present => interface.addresses.insert(place, own.address),
            Ok(place) if !is_present => drop(interface.addresses.remove(place)),
            _ => {}
        }
    }

    /// Takes a new listing of everything.
    pub(super) fn replace(&mut self, links: Vec<LinkEvent>, addresses: Vec<AddressEvent>) {
        let known: Vec<_> = self.interfaces.keys().copied().collect();
        for ifindex in known {
            self.touch(ifindex);
        }
        let old = std::mem::take(&mut self.interfaces);
        for event in links {
            self.link(event);
        }
        for event in addresses {
            self.address(event);
        }
        for (ifindex, interface) in &mut self.interfaces {
            if let Some(old) = old.get(ifindex) {
                interface.is_uplink = old.is_uplink;
                // The number alone does not say that it is the same one.
                let (old, new) = (&old.link, &interface.link);
                if (&old.kind, &old.mac) != (&new.kind, &new.mac) {
                    self.deleted.insert(*ifindex);
                }
            }
        }
    }

    /// Takes a new list of the interfaces that routes with a gateway leave through.
    pub(super) fn gateways(&mut self, gateways: BTreeSet<u32>) {
        self.gateways = gateways;
    }

    /// Ends a batch: what has changed.
    pub(super) fn finish(&mut self) -> Vec<Change> {
        self.mark_uplinks();
        let netns = self.netns;
        let mut changes = Vec::new();
        for (ifindex, before) in std::mem::take(&mut self.before) {
            let now = self.interfaces.get(&ifindex);
            let deleted = self.deleted.contains(&ifindex);
            match (before, now) {
                (Some(before), Some(now)) if !deleted => {
                    if before != *now {
                        changes.push(Change::Changed(now.clone()));
                    }
                }
                (before, now) => {
                    changes.extend(before.map(|_| Change::Gone { netns, ifindex }));
                    changes.extend(now.cloned().map(Change::Appeared));
                }
            }
        }
        self.deleted.clear();
        changes
    }

    fn mark_uplinks(&mut self) {
        let uplinks = uplink::uplinks(&self.interfaces, &self.gateways);
        let different: Vec<_> = self
            .interfaces
            .values()
            .filter(|interface| interface.is_uplink != uplinks.contains(&interface.link.ifindex))
            .map(|interface| interface.link.ifindex)
            .collect();
        for ifindex in different {
            self.touch(ifindex);
            if let Some(interface) = self.interfaces.get_mut(&ifindex) {
                interface.is_uplink = !interface.is_uplink;
            }
        }
    }

    /// Remembers what an interface was before this batch.
    fn touch(&mut self, ifindex: u32) {
        let known = &self.interfaces;
        self.before
            .entry(ifindex)
            .or_insert_with(|| known.get(&ifindex).cloned());
    }
}

#[cfg(test)]
#[path = "inventory/tests.rs"]
pub(super) mod tests;
