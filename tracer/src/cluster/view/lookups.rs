//! What a view is asked: objects by name, by address and by what they belong to.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{Kind, View};
use crate::cluster::{
    objects::{EndpointSlice, Node, ObjectName, Pod, Service},
    plugin::Plugin,
    policy::{Policy, Protocol},
    selector::Known,
    unreadable::UnreadableName,
};

impl View {
    /// A pod by name.
    #[must_use]
    pub(crate) fn pod(&self, id: &ObjectName) -> Option<&Pod> {
        self.pods.get(id)
    }

    /// All pods, by name.
    pub(crate) fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values()
    }

    /// The pods of a namespace.
    pub(crate) fn pods_in<'v>(&'v self, namespace: &str) -> impl Iterator<Item = &'v Pod> {
        in_namespace(&self.pods, namespace)
    }

    /// The pods that have an address and have not ended.
    pub(crate) fn claimants(&self, ip: IpAddr) -> impl Iterator<Item = &Pod> {
        at(&self.claims, ip).filter_map(|id| self.pods.get(id))
    }

    /// The pods that run on the node that has an address.
    pub(crate) fn hosted_at(&self, ip: IpAddr) -> impl Iterator<Item = &Pod> {
        at(&self.hosted, ip).filter_map(|id| self.pods.get(id))
    }

    /// The Services that have an address.
    pub(crate) fn services_at(&self, ip: IpAddr) -> impl Iterator<Item = &Service> {
        at(&self.service_ips, ip).filter_map(|id| self.services.get(id))
    }

    /// Whether there is a namespace of this name.
    #[must_use]
    pub(crate) fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.contains_key(name)
    }

    /// What is known of a namespace's labels.
    #[must_use]
    pub(crate) fn namespace<'a>(&'a self, name: &'a str) -> Known<'a> {
        Known::Namespace(name, self.namespaces.get(name))
    }

    /// The network plugins whose pods run here.
    #[must_use]
    pub(crate) fn plugins(&self) -> BTreeSet<Plugin> {
        self.plugins.values().copied().collect()
    }

    /// The one plugin that enforces NetworkPolicies, where the pods show exactly one.
    #[must_use]
    pub(crate) fn enforcer(&self) -> Option<Plugin> {
        let mut enforcers = self.plugins().into_iter().filter(|one| one.enforces());
        enforcers.next().filter(|_| enforcers.next().is_none())
    }

    /// All nodes.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// A Service by name.
    #[must_use]
    pub(crate) fn service(&self, id: &ObjectName) -> Option<&Service> {
        self.services.get(id)
    }

    /// The Service whose NodePort this is: no two share one of a protocol.
    #[must_use]
    pub(crate) fn service_at_node_port(&self, port: u16, protocol: Protocol) -> Option<&Service> {
        let has_it = |service: &&Service| {
            let mut ports = service.ports.iter();
            ports.any(|one| one.node_port == Some(port) && one.protocol == protocol)
        };
        self.services().find(has_it)
    }

    /// All Services.
    pub(crate) fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// The slices with the endpoints of a Service.
    pub(crate) fn slices_of<'a>(
        &'a self,
        service: &'a ObjectName,
    ) -> impl Iterator<Item = &'a EndpointSlice> {
        in_namespace(&self.slices, &service.namespace)
            .filter(|slice| slice.service.as_ref() == Some(&service.name))
    }

    /// The NetworkPolicies of a namespace.
    pub(crate) fn policies_in<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Policy> {
        in_namespace(&self.policies, namespace)
    }

    /// A NetworkPolicy by name.
    #[must_use]
    pub(crate) fn policy(&self, id: &ObjectName) -> Option<&Policy> {
        self.policies.get(id)
    }

    /// The objects of a kind that could not be read and are in a namespace, or may be.
    pub(crate) fn unreadable_in<'a>(
        &'a self,
        kind: Kind,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a UnreadableName> {
        let all = self.unreadable.of(kind);
        all.filter(move |id| id.may_be_in(namespace))
    }

    /// An object that has this address, and could not be read.
    #[must_use]
    pub(crate) fn unreadable_at(&self, ip: IpAddr) -> Option<(Kind, &UnreadableName)> {
        self.unreadable.at(ip)
    }

    /// An object that may have any address, as it could not be read.
    #[must_use]
    pub(crate) fn unreadable_anywhere(&self) -> Option<(Kind, &UnreadableName)> {
        self.unreadable.anywhere()
    }

    /// An object that could not be read, and has this name, or may have it.
    #[must_use]
    pub(crate) fn unreadable_as(&self, kind: Kind, id: &ObjectName) -> Option<&UnreadableName> {
        let exact = UnreadableName::from(id);
        let all = self.unreadable.of(kind).filter(|one| one.may_be(id));
        all.min_by_key(|one| (**one != exact, one.is_nameless()))
    }

    /// The pods whose names are most like this one, best first.
    #[must_use]
    pub(crate) fn nearest_pods(&self, id: &ObjectName, count: usize) -> Vec<&ObjectName> {
        nearest(self.pods.keys(), id, count)
    }

    /// The Services whose names are most like this one, best first.
    #[must_use]
    pub(crate) fn nearest_services(&self, id: &ObjectName, count: usize) -> Vec<&ObjectName> {
        nearest(self.services.keys(), id, count)
    }
}

fn nearest<'a>(
    names: impl Iterator<Item = &'a ObjectName>,
    id: &ObjectName,
    count: usize,
) -> Vec<&'a ObjectName> {
    let wanted = id.to_string();
    let likeness = |other: &ObjectName| {
        // The right name in the wrong namespace is the likeliest mistake.
        let namesake = other.name == id.name || other.name.starts_with(&id.name);
        let distance = strsim::damerau_levenshtein(&wanted, &other.to_string());
        (!namesake, distance)
    };
    let mut all: Vec<_> = names.map(|other| (likeness(other), other)).collect();
    all.sort();
    all.into_iter()
        .take(count)
        .map(|(_, other)| other)
        .collect()
}

/// The names that belong to an address.
fn at(index: &BTreeSet<(IpAddr, ObjectName)>, ip: IpAddr) -> impl Iterator<Item = &ObjectName> {
    index
        .range((ip, ObjectName::default())..)
        .take_while(move |(owned, _)| *owned == ip)
        .map(|(_, id)| id)
}

/// The part of a map that is in one namespace.
fn in_namespace<'v, T>(
    map: &'v BTreeMap<ObjectName, T>,
    namespace: &str,
) -> impl Iterator<Item = &'v T> {
    map.range(ObjectName::new(namespace, "")..)
        .take_while(move |(id, _)| id.namespace == namespace)
        .map(|(_, object)| object)
}
