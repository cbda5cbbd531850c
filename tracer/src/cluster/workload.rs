//! What makes pods: the workload behind a pod, and the pods of a workload.

use std::fmt;

use super::{
    objects::{Labels, ObjectName, Pod},
    view::View,
};

/// The label by which a Deployment distinguishes the pods of its ReplicaSets.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// What made a pod, as the pod names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Controller {
    /// Its kind.
    pub(crate) kind: String,
    /// Its name, in the pod's namespace.
    pub(crate) name: String,
}

/// A kind of workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum WorkloadKind {
    /// Deployments.
    Deployment,
    /// StatefulSets.
    StatefulSet,
    /// DaemonSets.
    DaemonSet,
}

impl WorkloadKind {
    /// The kind of this name, as the API writes it.
    #[must_use]
    pub(crate) fn from_api(name: &str) -> Option<Self> {
        Some(match name {
            "Deployment" => Self::Deployment,
            "StatefulSet" => Self::StatefulSet,
            "DaemonSet" => Self::DaemonSet,
            _ => return None,
        })
    }

    /// The kind of this name, as kubectl and `whydrop` take it.
    #[must_use]
    pub(crate) fn from_resource(name: &str) -> Option<Self> {
        Some(match name {
            "deploy" | "deployment" | "deployments" => Self::Deployment,
            "sts" | "statefulset" | "statefulsets" => Self::StatefulSet,
            "ds" | "daemonset" | "daemonsets" => Self::DaemonSet,
            _ => return None,
        })
    }

    /// Its short name.
    #[must_use]
    pub(crate) fn resource(self) -> &'static str {
        match self {
            Self::Deployment => "deploy",
            Self::StatefulSet => "sts",
            Self::DaemonSet => "ds",
        }
    }

    /// The API group of all of them.
    pub(crate) const GROUP: &'static str = "apps";
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Workload {
    /// Its kind.
    pub(crate) kind: WorkloadKind,
    /// Its name.
    pub(crate) id: ObjectName,
}

/// As `whydrop` takes it.
impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.resource(), self.id)
    }
}

impl Pod {
    /// The workload that it belongs to, by its owner and its labels: a Deployment's ReplicaSet is
    /// called by the Deployment's name and the hash of its pods.
    #[must_use]
    pub(crate) fn workload(&self) -> Option<Workload> {
        let Controller { kind, name } = self.controller.as_ref()?;
        let workload = |kind, name: &str| Workload {
            kind,
            id: ObjectName::new(&self.id.namespace, name),
        };
        if kind == "ReplicaSet" {
            let hash = self.labels.get(TEMPLATE_HASH)?;
            let deployment = name.strip_suffix(hash.as_str())?.strip_suffix('-')?;
            return Some(workload(WorkloadKind::Deployment, deployment));
        }
        Some(workload(WorkloadKind::from_api(kind)?, name))
    }

    /// Whether another pod is made by the same thing: what holds for one of them is meant for both.
    #[must_use]
    pub(crate) fn is_sibling_of(&self, other: &Self) -> bool {
        if self.id.namespace != other.id.namespace {
            return false;
        }
        match (self.workload(), other.workload()) {
            (Some(one), Some(other)) => one == other,
            (None, None) => self.controller.is_some() && self.controller == other.controller,
            _ => false,
        }
    }
}

impl View {
    /// The pods of a workload that have not ended.
    pub(crate) fn pods_of<'v>(&'v self, workload: &Workload) -> impl Iterator<Item = &'v Pod> {
        self.pods_in(&workload.id.namespace)
            .filter(|pod| !pod.ended && pod.workload().as_ref() == Some(workload))
    }

    /// All workloads that are known, by their own objects or by their pods'.
    #[must_use]
    pub(crate) fn workloads(&self) -> Vec<Workload> {
        let mut all: Vec<_> = self.pods().filter_map(Pod::workload).collect();
        all.extend(self.workload_labels.keys().cloned());
        all.sort();
        all.dedup();
        all
    }

    /// The labels by which a workload selects its pods, where its object is known.
    #[must_use]
    pub(crate) fn labels_of(&self, workload: &Workload) -> Option<&Labels> {
        self.workload_labels.get(workload)
    }
}
