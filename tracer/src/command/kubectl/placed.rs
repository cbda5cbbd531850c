//! What is behind an end of the filter among the cluster's objects, and on which nodes.

use std::{fmt, net::IpAddr};

use crate::{
    cli::endpoint::Endpoint,
    cluster::{
        objects::{ObjectName, Pod},
        owner::Owner,
        view::View,
    },
};

/// What belongs to an end of the filter, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) node: String,
    pub(super) what: Thing,
    pub(super) is_ready: bool,
}

/// What may be behind an end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing {
    Pod(ObjectName),
    /// An endpoint that is no pod.
    Address(IpAddr),
    /// The node of this name itself.
    Node(String),
    /// What this node gives its pods.
    Range(String),
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(id) => write!(f, "{id}"),
            Self::Address(ip) => write!(f, "{ip}"),
            Self::Node(_) => write!(f, "the node itself"),
            Self::Range(_) => write!(f, "its range of addresses"),
        }
    }
}

impl fmt::Display for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_ready { "" } else { ", not ready" };
        write!(f, "{}{state}", self.what)
    }
}

impl Placed {
    fn of(pod: &Pod) -> Option<Self> {
        let node = pod.node.clone().filter(|_| !pod.ended)?;
        Some(Self::at(node, Thing::Pod(pod.id.clone())))
    }

    fn at(node: String, what: Thing) -> Self {
        Self {
            node,
            what,
            is_ready: true,
        }
    }
}

/// What an end stands for, on its nodes.
pub(super) fn places(view: &View, end: &Endpoint) -> Vec<Placed> {
    match end {
        Endpoint::Port(_) => Vec::new(),
        Endpoint::Pod {
            namespace, name, ..
        } => {
            let pod = view.pod(&ObjectName::new(namespace, name));
            pod.and_then(Placed::of).into_iter().collect()
        }
        Endpoint::Workload { workload, .. } => {
            view.pods_of(workload).filter_map(Placed::of).collect()
        }
        Endpoint::Service {
            namespace, name, ..
        } => behind(view, &ObjectName::new(namespace, name)),
        Endpoint::Net { net, .. } if net.prefix_len() == net.max_prefix_len() => {
            match view.owner(net.addr()) {
                Owner::Pod(pod) => Placed::of(pod).into_iter().collect(),
                Owner::Node {
                    name: Some(name), ..
                } => vec![Placed::at(name.to_owned(), Thing::Node(name.to_owned()))],
                Owner::Service(service) => behind(view, &service.id),
                Owner::Gone(node) => {
                    vec![Placed::at(node.to_owned(), Thing::Range(node.to_owned()))]
                }
                _ => Vec::new(),
            }
        }
        Endpoint::Net { net, .. } => {
            let within = |pod: &&Pod| pod.ips.iter().any(|ip| net.contains(ip));
            view.pods().filter(within).filter_map(Placed::of).collect()
        }
    }
}

/// The endpoints of a Service, ready and not: the latter matter more.
fn behind(view: &View, service: &ObjectName) -> Vec<Placed> {
    let backends = view.slices_of(service).flat_map(|slice| &slice.backends);
    backends
        .filter_map(|backend| {
            let pod = match view.owner(backend.ip) {
                Owner::Pod(pod) => Some(pod),
                _ => None,
            };
            let node = backend.node.clone();
            let node = node.or_else(|| pod.and_then(|pod| pod.node.clone()))?;
            Some(Placed {
                node,
                what: match pod {
                    Some(pod) => Thing::Pod(pod.id.clone()),
                    None => Thing::Address(backend.ip),
                },
                is_ready: backend.ready,
            })
        })
        .collect()
}
