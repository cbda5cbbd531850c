//! Objects that exist and could not be read: what depends on them is unknown.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use super::{objects::ObjectName, view::Kind};

/// The name of an object that could not be read, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct UnreadableName {
    /// The namespace; empty for an object that has none.
    namespace: Option<String>,
    /// The name, safe to print.
    name: Option<String>,
}

impl UnreadableName {
    pub(super) fn new(namespace: Option<String>, name: Option<String>) -> Self {
        Self { namespace, name }
    }

    /// The whole name, if it is known.
    pub(super) fn whole(&self) -> Option<ObjectName> {
        Some(ObjectName::new(self.namespace.clone()?, self.name.clone()?))
    }

    /// Whether the object is in a namespace, or may be.
    pub(crate) fn may_be_in(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|of| of == namespace)
    }

    /// Whether the object has this name, or may have it.
    pub(crate) fn may_be(&self, id: &ObjectName) -> bool {
        self.may_be_in(&id.namespace) && self.name.as_ref().is_none_or(|name| *name == id.name)
    }

    /// Whether not even its name is known.
    pub(crate) fn is_nameless(&self) -> bool {
        self.name.is_none()
    }

    /// Bytes of what is known of it.
    pub(super) fn len(&self) -> usize {
        let parts = [&self.namespace, &self.name];
        parts.into_iter().flatten().map(String::len).sum()
    }
}

impl From<&ObjectName> for UnreadableName {
    fn from(id: &ObjectName) -> Self {
        Self::new(Some(id.namespace.clone()), Some(id.name.clone()))
    }
}

impl fmt::Display for UnreadableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = self.namespace.as_deref().unwrap_or("(unknown namespace)");
        let name = self.name.as_deref().unwrap_or("(without a name)");
        write!(f, "{namespace}/{name}")
    }
}

/// Objects that exist and could not be read.
#[derive(Debug, Clone, Default)]
pub(super) struct Unreadable {
    /// By kind and name, each with those of its addresses that could be read.
    objects: BTreeMap<(Kind, UnreadableName), Vec<IpAddr>>,
    /// The same by address.
    at: BTreeSet<(IpAddr, Kind, UnreadableName)>,
    /// Those that may have addresses and of which none could be read.
    unplaced: BTreeSet<(Kind, UnreadableName)>,
}

impl Unreadable {
    /// Remembers one, or replaces what was known of it.
    pub(super) fn add(&mut self, kind: Kind, id: UnreadableName, ips: Vec<IpAddr>) {
        self.remove(kind, &id);
        if ips.is_empty() && matches!(kind, Kind::Pod | Kind::Node | Kind::Service) {
            self.unplaced.insert((kind, id.clone()));
        }
        self.at.extend(ips.iter().map(|ip| (*ip, kind, id.clone())));
        self.objects.insert((kind, id), ips);
    }

    /// Forgets one, as it is gone or can be read by now.
    pub(super) fn remove(&mut self, kind: Kind, id: &UnreadableName) {
        if self.objects.is_empty() {
            return;
        }
        let key = (kind, id.clone());
        for ip in self.objects.remove(&key).unwrap_or_default() {
            self.at.remove(&(ip, kind, id.clone()));
        }
        self.unplaced.remove(&key);
    }

    /// Forgets all of a kind.
    pub(super) fn remove_all(&mut self, kind: Kind) {
        let names: Vec<_> = self.of(kind).cloned().collect();
        for id in &names {
            self.remove(kind, id);
        }
    }

    /// The names of those of a kind.
    pub(super) fn of(&self, kind: Kind) -> impl Iterator<Item = &UnreadableName> {
        self.objects
            .range((kind, UnreadableName::default())..)
            .map(|((of, id), _)| (*of, id))
            .take_while(move |(of, _)| *of == kind)
            .map(|(_, id)| id)
    }

    /// One that has this address.
    pub(super) fn at(&self, ip: IpAddr) -> Option<(Kind, &UnreadableName)> {
        let first = (ip, Kind::Pod, UnreadableName::default());
        let (at, kind, id) = self.at.range(first..).next()?;
        (*at == ip).then_some((*kind, id))
    }

    /// One that may have any address.
    pub(super) fn anywhere(&self) -> Option<(Kind, &UnreadableName)> {
        let (kind, id) = self.unplaced.first()?;
        Some((*kind, id))
    }

    /// All of them.
    pub(super) fn into_objects(self) -> impl Iterator<Item = (Kind, UnreadableName, Vec<IpAddr>)> {
        let all = self.objects.into_iter();
        all.map(|((kind, id), ips)| (kind, id, ips))
    }
}
