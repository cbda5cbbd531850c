//! A view that follows its sources, and remembers whose addresses were.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::SystemTime,
};

use super::{
    history::{History, Holder},
    objects::{ObjectName, Pod},
    update::{Change, Source, Update},
    view::{Kind, Object, View},
};

/// What is known of the cluster while a trace runs.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    view: View,
    history: History,
    /// The best source that listed a kind.
    best: BTreeMap<Kind, Source>,
    /// The pods that run on this node, as reported by the container runtime.
    here: BTreeMap<ObjectName, Pod>,
    /// The pods that no other source has reported.
    only_here: BTreeSet<ObjectName>,
}

impl Cluster {
    /// What is known now.
    #[must_use]
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// The source whose objects of a kind these are; `None` where none has listed them.
    #[must_use]
    pub(crate) fn source(&self, kind: Kind) -> Option<Source> {
        self.best.get(&kind).copied()
    }

    /// Who had an address then, among the pods with a network namespace of their own.
    #[must_use]
    pub(crate) fn holder(&self, ip: IpAddr, then: SystemTime) -> Option<Holder> {
        self.history.holder(ip.to_canonical(), then)
    }

    /// The pod that had an address before the one that had it then, and until when.
    #[must_use]
    pub(crate) fn predecessor(
        &self,
        ip: IpAddr,
        then: SystemTime,
    ) -> Option<(Arc<Pod>, SystemTime)> {
        self.history.predecessor(ip.to_canonical(), then)
    }

    /// The pod of this node whose network namespace it is.
    #[must_use]
    pub(crate) fn pod_of_netns(&self, inode: u32) -> Option<&Pod> {
        self.here
            .values()
            .find(|pod| {
                let netns = pod.sandbox.as_ref().and_then(|sandbox| sandbox.netns);
                !pod.host_network && netns == Some(inode)
            })
            .map(|pod| self.view.pod(&pod.id).unwrap_or(pod))
    }

    /// Takes an update, received at `now`. Updates of a kind from a lesser source than the one that
    /// listed it are ignored.
    pub(crate) fn apply(&mut self, update: Update, now: SystemTime) {
        let Update { source, change } = update;
        match change {
            Change::All(kind, objects) if self.accepts(source, kind) => {
                self.best.insert(kind, source);
                self.view.declare(kind);
                self.view.set_incomplete(kind, false);
                let listed: BTreeSet<ObjectName> = objects.iter().map(Object::id).collect();
                for id in self.view.names(kind) {
                    if !listed.contains(&id) {
                        self.gone(kind, &id, now);
                    }
                }
                self.view.remove_unreadable(kind);
                for object in objects {
                    self.put(object, now);
                }
            }
            Change::AllHere(Kind::Pod, objects) => {
                let listed: BTreeSet<ObjectName> = objects.iter().map(Object::id).collect();
                let known: Vec<ObjectName> = self.here.keys().cloned().collect();
                for id in known.iter().filter(|id| !listed.contains(*id)) {
                    self.gone_here(id, now);
                }
                for object in objects {
                    self.put_here(object, now);
                }
            }
            Change::Put(object) if source == Source::Cri => self.put_here(*object, now),
            Change::Gone(_, id) if source == Source::Cri => self.gone_here(&id, now),
            Change::Put(object) if self.accepts(source, object.kind()) => self.put(*object, now),
            Change::Gone(kind, id) if self.accepts(source, kind) => self.gone(kind, &id, now),
            Change::Unreadable(kind, id, ips) if self.accepts(source, kind) => {
                if let Some(id) = id.whole() {
                    self.gone(kind, &id, now);
                }
                self.view.add_unreadable(kind, id, ips);
            }
            Change::Incomplete(kind) if self.accepts(source, kind) => {
                self.view.set_incomplete(kind, true);
            }
            Change::Workload(workload, labels) => self.view.add_workload(workload, labels),
            Change::ForeignPolicies(kind, count) => self.view.set_foreign_policies(kind, count),
            _ => {}
        }
    }

    fn accepts(&self, source: Source, kind: Kind) -> bool {
        self.best.get(&kind).is_none_or(|best| source >= *best)
    }

    fn put(&mut self, object: Object, now: SystemTime) {
        match object {
            Object::Pod(pod) => {
                self.only_here.remove(&pod.id);
                let pod = match self.here.get(&pod.id) {
                    Some(here) => merged(*pod, here),
                    None => *pod,
                };
                self.put_pod(pod, now);
            }
            object => self.view.insert(object),
        }
    }

    fn put_pod(&mut self, pod: Pod, now: SystemTime) {
        self.history.put(&pod, now);
        let knew_pods = self.view.knows(Kind::Pod);
        self.view.insert(Object::from(pod));
        // The pods of one node are not the cluster's.
        if !knew_pods && !self.best.contains_key(&Kind::Pod) {
            self.view.forget_kind(Kind::Pod);
        }
    }

    fn gone(&mut self, kind: Kind, id: &ObjectName, now: SystemTime) {
        if kind == Kind::Pod {
            // The API server forgets a pod after its sandbox has ended, not before.
            self.history.remove(id, now);
            self.only_here.remove(id);
        }
        self.view.remove(kind, id);
    }

    fn put_here(&mut self, object: Object, now: SystemTime) {
        let Object::Pod(here) = object else {
            return;
        };
        let here = *here;
        self.here.insert(here.id.clone(), here.clone());
        match self.view.pod(&here.id) {
            Some(known) if !self.only_here.contains(&here.id) && !supersedes(&here, known) => {
                let pod = merged(known.clone(), &here);
                self.put_pod(pod, now);
            }
            _ => {
                self.only_here.insert(here.id.clone());
                self.put_pod(here, now);
            }
        }
    }

    fn gone_here(&mut self, id: &ObjectName, now: SystemTime) {
        self.here.remove(id);
        if self.only_here.remove(id) {
            self.history.remove(id, now);
            self.view.remove(Kind::Pod, id);
        } else if let Some(mut pod) = self.view.pod(id).cloned() {
            pod.sandbox = None;
            self.put_pod(pod, now);
        }
    }
}

/// A pod as a source reports it, with what the container runtime adds.
fn merged(mut pod: Pod, here: &Pod) -> Pod {
    if supersedes(here, &pod) {
        return here.clone();
    }
    if pod.uid.is_none() || here.uid.is_none() || pod.uid == here.uid {
        pod.sandbox.clone_from(&here.sandbox);
        if pod.ips.is_empty() {
            pod.ips.clone_from(&here.ips);
        }
    }
    pod
}

/// Whether the container runtime runs a younger namesake of a pod: the source of `pod` does not
/// know that yet.
fn supersedes(here: &Pod, pod: &Pod) -> bool {
    here.uid.is_some() && pod.uid.is_some() && here.uid != pod.uid && here.created > pod.created
}

#[cfg(test)]
mod tests;
