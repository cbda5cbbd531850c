//! The kinds of objects that matter here, and an object of any of them.

use std::fmt;

use super::{
    objects::{EndpointSlice, Labels, Node, ObjectName, Pod, Service},
    policy::Policy,
};

/// A kind of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Pods.
    Pod,
    /// Namespaces.
    Namespace,
    /// Nodes.
    Node,
    /// Services.
    Service,
    /// EndpointSlices.
    EndpointSlice,
    /// NetworkPolicies.
    NetworkPolicy,
}

impl Kind {
    /// The kind of this name, as the API writes it.
    #[must_use]
    pub(crate) fn from_api(name: &str) -> Option<Self> {
        Some(match name {
            "Pod" => Self::Pod,
            "Namespace" => Self::Namespace,
            "Node" => Self::Node,
            "Service" => Self::Service,
            "EndpointSlice" => Self::EndpointSlice,
            "NetworkPolicy" => Self::NetworkPolicy,
            _ => return None,
        })
    }

    /// The API group that these objects belong to; others have kinds of the same names.
    #[must_use]
    pub(crate) fn group(self) -> &'static str {
        match self {
            Self::EndpointSlice => "discovery.k8s.io",
            Self::NetworkPolicy => "networking.k8s.io",
            _ => "",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// An object of any kind.
#[derive(Debug, Clone)]
pub(crate) enum Object {
    /// A pod.
    Pod(Box<Pod>),
    /// A namespace's name and labels.
    Namespace(String, Labels),
    /// A node.
    Node(Node),
    /// A Service.
    Service(Service),
    /// An EndpointSlice.
    EndpointSlice(EndpointSlice),
    /// A NetworkPolicy.
    Policy(Policy),
}

impl From<Pod> for Object {
    fn from(pod: Pod) -> Self {
        Self::Pod(Box::new(pod))
    }
}

impl Object {
    /// Its kind.
    #[must_use]
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Pod(_) => Kind::Pod,
            Self::Namespace(..) => Kind::Namespace,
            Self::Node(_) => Kind::Node,
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Policy(_) => Kind::NetworkPolicy,
        }
    }

    /// Its name; that of a namespace or a node has no namespace.
    #[must_use]
    pub(crate) fn id(&self) -> ObjectName {
        match self {
            Self::Pod(pod) => pod.id.clone(),
            Self::Namespace(name, _) => ObjectName::new("", name),
            Self::Node(node) => ObjectName::new("", &node.name),
            Self::Service(service) => service.id.clone(),
            Self::EndpointSlice(slice) => slice.id.clone(),
            Self::Policy(policy) => policy.id.clone(),
        }
    }
}
