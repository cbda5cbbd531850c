//! Names for the two ends of a flow, as they were when a packet was seen.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use super::{
    history::Holder,
    live::Cluster,
    objects::{ObjectName, Pod, Service},
    owner::Owner,
    policy::Protocol,
};
use crate::model::{self, Flow, SocketAddress};

/// One end of a flow, and when it was seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    /// Its address.
    pub(crate) ip: IpAddr,
    /// Its port, where the protocol has any.
    pub(crate) port: Option<u16>,
    /// The protocol; `None` for those that policies know nothing of.
    pub(crate) protocol: Option<Protocol>,
    /// When.
    pub(crate) at: SystemTime,
    /// Whether it is certain that the other end opened the flow. A client's port may be any: source
    /// NAT and a wide `ip_local_port_range` use those of NodePorts, too.
    pub(crate) asked: bool,
}

/// Who is at one end of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    /// This pod.
    Pod(Arc<Pod>),
    /// No pod: the address was this one's, until then.
    Former(Arc<Pod>, SystemTime),
    /// A node, and those hostNetwork pods on it that it can be: only a port distinguishes them.
    Node {
        /// The node's name, where it is known.
        name: Option<String>,
        /// The hostNetwork pods.
        pods: Vec<ObjectName>,
        /// The Service that has this port at every node.
        node_port_of: Option<ObjectName>,
    },
    /// A Service.
    Service {
        /// Its name.
        id: ObjectName,
        /// What the cluster needs it for.
        role: Role,
    },
    /// No known pod, in the range of this node's pods.
    Vacant(String),
    /// The node that whydrop runs on, by an address that is no pod's.
    Here {
        /// The interface that has the address.
        ifname: String,
        /// It is the other end's kubelet probe.
        is_probe: bool,
    },
    /// A host outside the cluster.
    Outside,
    /// Not known.
    Unknown,
}

/// What the cluster needs a Service for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nothing special.
    Plain,
    /// It resolves names.
    Dns,
    /// It is the API server.
    ApiServer,
}

impl Role {
    fn of(service: &Service) -> Self {
        let ObjectName { namespace, name } = &service.id;
        if namespace == "default" && name == "kubernetes" {
            return Self::ApiServer;
        }
        let serves_dns = service.ports.iter().any(|port| port.port == 53);
        let is_dns = name == "kube-dns" || name.contains("coredns") || name.contains("rke2-dns");
        if namespace == "kube-system" && serves_dns && is_dns {
            return Self::Dns;
        }
        Self::Plain
    }
}

impl End {
    /// One end of a flow. `asked` says whether it is certain that the other end opened the connection.
    pub(crate) fn of(flow: &Flow, (ip, port): SocketAddress, asked: bool, at: SystemTime) -> Self {
        Self {
            ip,
            port,
            protocol: Protocol::of_flow(flow.proto),
            at,
            asked,
        }
    }
}

impl Cluster {
    /// Who was at one end of a flow.
    #[must_use]
    pub(crate) fn name(&self, end: &End) -> Name {
        if self.view().unreadable_at(end.ip).is_some() {
            return Name::Unknown;
        }
        match self.holder(end.ip, end.at) {
            Some(Holder::Pod(pod)) => return Name::Pod(pod),
            Some(Holder::Former(pod, until)) => return Name::Former(pod, until),
            None => {}
        }
        match self.view().owner(end.ip) {
            // The history has it where it was so at the time.
            Owner::Pod(_) => Name::Unknown,
            Owner::Node { name, pods } => Name::Node {
                name: name.map(str::to_owned),
                pods: on_port(&pods, end).map(|pod| pod.id.clone()).collect(),
                node_port_of: self.behind_node_port(end).map(|service| service.id.clone()),
            },
            Owner::Service(service) => Name::Service {
                id: service.id.clone(),
                role: Role::of(service),
            },
            Owner::Gone(node) => Name::Vacant(node.to_owned()),
            Owner::Outside => Name::Outside,
            Owner::Unreadable(..) | Owner::Unknown => Name::Unknown,
        }
    }

    /// The Service whose NodePort this is: no two share one of a protocol.
    fn behind_node_port(&self, end: &End) -> Option<&Service> {
        let port = end.port.filter(|_| end.asked)?;
        self.view().service_at_node_port(port, end.protocol?)
    }
}

/// The hostNetwork pods that say they listen at the port, if any do: a pod need not say so.
fn on_port<'p>(pods: &'p [&'p Pod], end: &End) -> impl Iterator<Item = &'p Pod> {
    let listens = |pod: &Pod| {
        let at = (end.protocol, end.port);
        let mut ports = pod.container_ports.iter();
        ports.any(|(protocol, port)| at == (Some(*protocol), Some(*port)))
    };
    pods.iter().copied().filter(move |pod| listens(pod))
}

/// As records name it.
impl From<&Pod> for model::Pod {
    fn from(pod: &Pod) -> Self {
        Self {
            namespace: pod.id.namespace.clone(),
            name: pod.id.name.clone(),
            node: pod.node.clone(),
            labels: pod.labels.clone(),
        }
    }
}

impl Name {
    /// The pod, for a record. A hostNetwork pod only where it can be no other.
    #[must_use]
    pub(crate) fn pod(&self) -> Option<model::Pod> {
        match self {
            Self::Pod(pod) => Some(model::Pod::from(&**pod)),
            _ => None,
        }
    }

    /// The Service whose address or node port it is.
    #[must_use]
    pub(crate) fn service(&self) -> Option<&ObjectName> {
        match self {
            Self::Service { id, .. }
            | Self::Node {
                node_port_of: Some(id),
                ..
            } => Some(id),
            _ => None,
        }
    }

    /// The same end, when it connects to this server at this port: the kubelet probes pods by an
    /// address of the node.
    #[must_use]
    pub(crate) fn connecting_to(self, server: &Self, port: Option<u16>) -> Self {
        let probed = match server {
            Self::Pod(pod) => port.is_some_and(|port| pod.probe_ports.contains(&port)),
            _ => false,
        };
        match self {
            Self::Here { ifname, .. } => Self::Here {
                ifname,
                is_probe: probed,
            },
            other => other,
        }
    }

    /// Who it is, in words, where it is no pod.
    #[must_use]
    pub(crate) fn words(&self) -> Option<String> {
        Some(match self {
            Self::Pod(_) | Self::Outside | Self::Unknown => return None,
            Self::Former(pod, until) => {
                format!(
                    "unassigned; it belonged to {} until {}",
                    pod.id,
                    clock_time(*until)
                )
            }
            Self::Node {
                name,
                node_port_of: Some(service),
                ..
            } => {
                let node = name.as_deref().unwrap_or("a node");
                format!("node {node}, NodePort of Service {service}")
            }
            Self::Node { name, pods, .. } => {
                let node = name.as_deref().unwrap_or("a node");
                let pods: Vec<_> = pods.iter().map(ToString::to_string).collect();
                match pods.as_slice() {
                    [] => format!("node {node}"),
                    [pod] => format!("node {node}, port of the hostNetwork pod {pod}"),
                    several => format!(
                        "node {node}, port of one of the hostNetwork pods {}",
                        several.join(", ")
                    ),
                }
            }
            Self::Service { id, role } => match role {
                Role::Plain => format!("Service {id}"),
                Role::Dns => format!("Service {id}, the cluster's DNS"),
                Role::ApiServer => format!("Service {id}, the API server"),
            },
            Self::Vacant(node) => format!("no known pod's, in the range of node {node}"),
            Self::Here {
                ifname,
                is_probe: false,
            } => format!("this node ({ifname})"),
            Self::Here { ifname, .. } => format!("this node ({ifname}), the kubelet's probe"),
        })
    }
}

/// A time of the day, UTC, as text shows it.
#[must_use]
pub(crate) fn clock_time(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time)
        .map(|time| time.strftime("%H:%M:%S UTC").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
