//! Objects that exist and could not be read: what depends on them is unknown.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{objects::ObjectName, view::Kind};

/// Objects that exist and could not be read.
#[derive(Debug, Clone, Default)]
pub(super) struct Unreadable {
    /// By kind and name, each with those of its addresses that could be read.
    objects: BTreeMap<(Kind, ObjectName), Vec<IpAddr>>,
    /// The same by address.
    at: BTreeSet<(IpAddr, Kind, ObjectName)>,
    /// Those that may have addresses and of which none could be read.
    unplaced: BTreeSet<(Kind, ObjectName)>,
}

impl Unreadable {
    /// Remembers one, or replaces what was known of it.
    pub(super) fn add(&mut self, kind: Kind, id: ObjectName, ips: Vec<IpAddr>) {
        self.remove(kind, &id);
        if ips.is_empty() && matches!(kind, Kind::Pod | Kind::Node | Kind::Service) {
            self.unplaced.insert((kind, id.clone()));
        }
        self.at.extend(ips.iter().map(|ip| (*ip, kind, id.clone())));
        self.objects.insert((kind, id), ips);
    }

    /// Forgets one, as it is gone or can be read by now.
    pub(super) fn remove(&mut self, kind: Kind, id: &ObjectName) {
        let key = (kind, id.clone());
        for ip in self.objects.remove(&key).unwrap_or_default() {
            self.at.remove(&(ip, kind, id.clone()));
        }
        self.unplaced.remove(&key);
    }

    /// The names of those of a kind.
    pub(super) fn of(&self, kind: Kind) -> impl Iterator<Item = &ObjectName> {
        self.objects
            .range((kind, ObjectName::default())..)
            .map(|((of, id), _)| (*of, id))
            .take_while(move |(of, _)| *of == kind)
            .map(|(_, id)| id)
    }

    /// One that has this address.
    pub(super) fn at(&self, ip: IpAddr) -> Option<(Kind, &ObjectName)> {
        let first = (ip, Kind::Pod, ObjectName::default());
        let (at, kind, id) = self.at.range(first..).next()?;
        (*at == ip).then_some((*kind, id))
    }

    /// One that may have any address.
    pub(super) fn anywhere(&self) -> Option<(Kind, &ObjectName)> {
        let (kind, id) = self.unplaced.first()?;
        Some((*kind, id))
    }

    /// All of them.
    pub(super) fn into_objects(self) -> impl Iterator<Item = (Kind, ObjectName, Vec<IpAddr>)> {
        let all = self.objects.into_iter();
        all.map(|((kind, id), ips)| (kind, id, ips))
    }
}
