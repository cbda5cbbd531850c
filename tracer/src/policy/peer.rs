//! The two ends of a flow, as policies see them.

use std::{fmt, net::IpAddr};

use crate::cluster::{
    objects::{Pod, Service},
    owner::Owner,
    unreadable::UnreadableName,
    view::View,
};

/// One end of a flow.
#[derive(Debug, Clone)]
pub(crate) struct Peer<'v> {
    /// The address; `None` for a pod that was named, and may be met at any of its own.
    pub(crate) address: Option<IpAddr>,
    /// Who it is.
    pub(crate) party: Party<'v>,
}

/// Who stands at one end of a flow.
#[derive(Debug, Clone)]
pub(crate) enum Party<'v> {
    /// A pod with a network namespace of its own: the only one that policies isolate.
    Pod(&'v Pod),
    /// A node, or a hostNetwork pod on it.
    Host {
        /// The node's name.
        node: Option<&'v str>,
        /// The hostNetwork pods that it may be.
        pods: Vec<&'v Pod>,
        /// Whether it is this pod for certain.
        named: bool,
    },
    /// A Service: which of its endpoints answers is not decided yet.
    Service(&'v Service),
    /// A host outside the cluster.
    Outside,
    /// Unknown, for this reason.
    Unknown(String),
}

impl<'v> Peer<'v> {
    /// The holder of this address.
    #[must_use]
    pub(crate) fn at(view: &'v View, address: IpAddr) -> Self {
        let address = address.to_canonical();
        let party = match view.owner(address) {
            Owner::Pod(pod) => Party::Pod(pod),
            Owner::Node { name, pods } => Party::Host {
                node: name,
                pods,
                named: false,
            },
            Owner::Service(service) => Party::Service(service),
            Owner::Outside => Party::Outside,
            Owner::Gone(node) => Party::Unknown(format!(
                "{address} is in the range of {node}'s pods, and no known pod has it"
            )),
            Owner::Unreadable(kind, id) => {
                Party::Unknown(match view.unreadable_at(address).is_some() {
                    true => format!("{address} belongs to {kind} {id}, which could not be read"),
                    false => {
                        format!("{kind} {id} could not be read, and {address} may belong to it")
                    }
                })
            }
            Owner::Unknown => Party::Unknown(format!("whose {address} is: no pods are known")),
        };
        Self {
            address: Some(address),
            party,
        }
    }

    /// A pod, at whichever of its addresses.
    #[must_use]
    pub(crate) fn pod(pod: &'v Pod) -> Self {
        let party = if pod.host_network {
            Party::Host {
                node: pod.node.as_deref(),
                pods: vec![pod],
                named: true,
            }
        } else {
            Party::Pod(pod)
        };
        Self {
            address: None,
            party,
        }
    }

    /// A pod that exists and could not be read.
    #[must_use]
    pub(crate) fn unreadable(id: &UnreadableName) -> Self {
        Self {
            address: None,
            party: Party::Unknown(format!("Pod {id} could not be read")),
        }
    }

    /// The pod that policies may isolate.
    #[must_use]
    pub(crate) fn as_pod(&self) -> Option<&'v Pod> {
        match self.party {
            Party::Pod(pod) => Some(pod),
            _ => None,
        }
    }

    /// The addresses it may be met at.
    #[must_use]
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        match (self.address, &self.party) {
            (Some(address), _) => vec![address],
            (None, Party::Pod(pod)) => pod.ips.clone(),
            (None, Party::Host { pods, .. }) => {
                pods.iter().flat_map(|pod| pod.ips.clone()).collect()
            }
            (None, _) => Vec::new(),
        }
    }

    /// Whether it is the node that this pod runs on, or a hostNetwork pod there.
    #[must_use]
    pub(crate) fn is_node_of(&self, pod: &Pod) -> bool {
        let Party::Host { node, .. } = &self.party else {
            return false;
        };
        let by_name = node.is_some() && *node == pod.node.as_deref();
        by_name
            || self
                .address
                .is_some_and(|address| pod.host_ips.contains(&address))
    }
}

impl fmt::Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.party, self.address) {
            (Party::Pod(pod), None) => write!(f, "{}", pod.id),
            (Party::Pod(pod), Some(address)) => write!(f, "{} ({address})", pod.id),
            (
                Party::Host {
                    pods, named: true, ..
                },
                None,
            ) if !pods.is_empty() => {
                write!(f, "{} (hostNetwork)", pods[0].id)
            }
            (
                Party::Host {
                    node: Some(node), ..
                },
                Some(address),
            ) => {
                write!(f, "{address} (node {node})")
            }
            (Party::Service(service), Some(address)) => {
                write!(f, "{address} (Service {})", service.id)
            }
            (_, Some(address)) => write!(f, "{address}"),
            (_, None) => f.write_str("an unknown end"),
        }
    }
}
