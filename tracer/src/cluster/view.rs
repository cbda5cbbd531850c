//! The objects of a cluster together, found by name and by address.

mod lookups;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

pub(crate) use super::kind::{Kind, Object};
use super::{
    foreign::ForeignKind,
    objects::{EndpointSlice, Labels, Node, ObjectName, Pod, Service},
    plugin::Plugin,
    policy::Policy,
    unreadable::{Unreadable, UnreadableName},
    workload::Workload,
};

/// What is known of a cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    known: BTreeSet<Kind>,
    /// Kinds of which only a part is kept.
    incomplete: BTreeSet<Kind>,
    pods: BTreeMap<ObjectName, Pod>,
    /// The pods that claim an address, ended ones left out.
    claims: BTreeSet<(IpAddr, ObjectName)>,
    /// The pods that run on the node of an address.
    hosted: BTreeSet<(IpAddr, ObjectName)>,
    namespaces: BTreeMap<String, Labels>,
    nodes: BTreeMap<String, Node>,
    services: BTreeMap<ObjectName, Service>,
    service_ips: BTreeSet<(IpAddr, ObjectName)>,
    slices: BTreeMap<ObjectName, EndpointSlice>,
    policies: BTreeMap<ObjectName, Policy>,
    /// The pods that run a network plugin.
    plugins: BTreeMap<ObjectName, Plugin>,
    unreadable: Unreadable,
    /// The labels by which workloads select their pods.
    pub(super) workload_labels: BTreeMap<Workload, Labels>,
    foreign: BTreeMap<ForeignKind, usize>,
}

/// A view, taken apart.
pub(super) struct Parts {
    /// The objects of each kind that is known.
    pub(super) objects: BTreeMap<Kind, Vec<Object>>,
    /// Objects that exist and could not be read.
    pub(super) unreadable: Unreadable,
    /// The labels by which workloads select their pods.
    pub(super) workload_labels: BTreeMap<Workload, Labels>,
    /// How many objects there are of each kind that also decides about traffic.
    pub(super) foreign: BTreeMap<ForeignKind, usize>,
}

impl View {
    /// Adds an object, or replaces the one of its name. Its kind is known from then on.
    pub(crate) fn insert(&mut self, object: Object) {
        self.unreadable
            .remove(object.kind(), &(&object.id()).into());
        match object {
            Object::Pod(pod) => {
                self.declare(Kind::Pod);
                self.insert_pod(*pod);
            }
            Object::Namespace(name, labels) => {
                self.declare(Kind::Namespace);
                self.namespaces.insert(name, labels);
            }
            Object::Node(node) => {
                self.declare(Kind::Node);
                self.nodes.insert(node.name.clone(), node);
            }
            Object::Service(service) => {
                self.declare(Kind::Service);
                self.remove_service(&service.id);
                let ips = service.ips().map(|ip| (ip, service.id.clone()));
                self.service_ips.extend(ips);
                self.services.insert(service.id.clone(), service);
            }
            Object::EndpointSlice(slice) => {
                self.declare(Kind::EndpointSlice);
                self.slices.insert(slice.id.clone(), slice);
            }
            Object::Policy(policy) => {
                self.declare(Kind::NetworkPolicy);
                self.policies.insert(policy.id.clone(), policy);
            }
        }
    }

    /// Removes an object. Its kind stays known.
    pub(crate) fn remove(&mut self, kind: Kind, id: &ObjectName) {
        self.unreadable.remove(kind, &id.into());
        self.remove_readable(kind, id);
    }

    /// Removes all objects of a kind that could not be read.
    pub(super) fn remove_unreadable(&mut self, kind: Kind) {
        self.unreadable.remove_all(kind);
    }

    fn remove_readable(&mut self, kind: Kind, id: &ObjectName) {
        match kind {
            Kind::Pod => self.remove_pod(id),
            Kind::Namespace => {
                self.namespaces.remove(&id.name);
            }
            Kind::Node => {
                self.nodes.remove(&id.name);
            }
            Kind::Service => self.remove_service(id),
            Kind::EndpointSlice => {
                self.slices.remove(id);
            }
            Kind::NetworkPolicy => {
                self.policies.remove(id);
            }
        }
    }

    /// The names of all objects of a kind that could be read.
    #[must_use]
    pub(crate) fn names(&self, kind: Kind) -> Vec<ObjectName> {
        let cluster_wide = |name: &String| ObjectName::new("", name);
        match kind {
            Kind::Pod => self.pods.keys().cloned().collect(),
            Kind::Namespace => self.namespaces.keys().map(cluster_wide).collect(),
            Kind::Node => self.nodes.keys().map(cluster_wide).collect(),
            Kind::Service => self.services.keys().cloned().collect(),
            Kind::EndpointSlice => self.slices.keys().cloned().collect(),
            Kind::NetworkPolicy => self.policies.keys().cloned().collect(),
        }
    }

    /// All of it, taken apart.
    pub(super) fn into_parts(self) -> Parts {
        let mut objects: BTreeMap<Kind, Vec<Object>> =
            self.known.iter().map(|kind| (*kind, Vec::new())).collect();
        let namespaces = self.namespaces.into_iter();
        let all = (self.pods.into_values().map(Object::from))
            .chain(namespaces.map(|(name, labels)| Object::Namespace(name, labels)))
            .chain(self.nodes.into_values().map(Object::Node))
            .chain(self.services.into_values().map(Object::Service))
            .chain(self.slices.into_values().map(Object::EndpointSlice))
            .chain(self.policies.into_values().map(Object::Policy));
        for object in all {
            objects.entry(object.kind()).or_default().push(object);
        }
        Parts {
            objects,
            unreadable: self.unreadable,
            workload_labels: self.workload_labels,
            foreign: self.foreign,
        }
    }

    fn remove_pod(&mut self, id: &ObjectName) {
        self.plugins.remove(id);
        if let Some(old) = self.pods.remove(id) {
            for ip in old.ips {
                self.claims.remove(&(ip, old.id.clone()));
            }
            for ip in old.host_ips {
                self.hosted.remove(&(ip, old.id.clone()));
            }
        }
    }

    fn remove_service(&mut self, id: &ObjectName) {
        if let Some(old) = self.services.remove(id) {
            for ip in old.ips() {
                self.service_ips.remove(&(ip, old.id.clone()));
            }
        }
    }

    fn insert_pod(&mut self, pod: Pod) {
        self.remove_pod(&pod.id);
        if let Some(plugin) = Plugin::of(&pod) {
            self.plugins.insert(pod.id.clone(), plugin);
        }
        let hosted = pod.host_ips.iter().map(|ip| (*ip, pod.id.clone()));
        self.hosted.extend(hosted);
        if !pod.ended {
            let claims = pod.ips.iter().map(|ip| (*ip, pod.id.clone()));
            self.claims.extend(claims);
        }
        self.pods.insert(pod.id.clone(), pod);
    }

    /// From now on, an object of this kind that is not here does not exist.
    pub(crate) fn declare(&mut self, kind: Kind) {
        self.known.insert(kind);
    }

    /// What is here of this kind is not all there is.
    pub(super) fn forget_kind(&mut self, kind: Kind) {
        self.known.remove(&kind);
    }

    /// Whether objects of this kind are known at all: a kind that no source has reported is unknown,
    /// not empty.
    #[must_use]
    pub(crate) fn knows(&self, kind: Kind) -> bool {
        self.known.contains(&kind) && !self.incomplete.contains(&kind)
    }

    /// Says whether all objects of a kind are kept, or there are more.
    pub(super) fn set_incomplete(&mut self, kind: Kind, incomplete: bool) {
        match incomplete {
            true => self.incomplete.insert(kind),
            false => self.incomplete.remove(&kind),
        };
    }

    /// Remembers an object that exists and could not be read, and those of its addresses that
    /// could.
    pub(crate) fn add_unreadable(&mut self, kind: Kind, id: UnreadableName, ips: Vec<IpAddr>) {
        if let Some(id) = id.whole() {
            self.remove_readable(kind, &id);
        }
        self.unreadable.add(kind, id, ips);
    }

    /// Remembers by which labels a workload selects its pods.
    pub(crate) fn add_workload(&mut self, workload: Workload, labels: Labels) {
        self.workload_labels.insert(workload, labels);
    }

    /// Remembers an object of a kind that also decides about traffic, and is not judged here.
    pub(crate) fn add_foreign_policy(&mut self, kind: ForeignKind) {
        *self.foreign.entry(kind).or_default() += 1;
    }

    /// Says how many objects there are of a kind that also decides about traffic.
    pub(crate) fn set_foreign_policies(&mut self, kind: ForeignKind, count: usize) {
        self.foreign.insert(kind, count);
    }

    /// How many objects there are of each kind that also decides about traffic.
    #[must_use]
    pub(crate) fn foreign_policies(&self) -> &BTreeMap<ForeignKind, usize> {
        &self.foreign
    }
}
