//! Kubernetes objects, in the few fields that matter here.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use ipnet::IpNet;

use super::workload::Controller;
use crate::model;

/// Labels of an object.
pub(crate) type Labels = BTreeMap<String, String>;

/// The label that names a namespace; the API server sets it on every one.
pub(crate) const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// A namespace and a name in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ObjectName {
    /// The namespace.
    pub(crate) namespace: String,
    /// The name.
    pub(crate) name: String,
}

impl ObjectName {
    /// A name in a namespace.
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// ICMP and ICMPv6: what a policy means for them is the implementation's choice.
    Icmp,
}

impl Protocol {
    /// The protocol of this name, as the API writes it; an absent one is TCP.
    #[must_use]
    pub(crate) fn from_api(name: Option<&str>) -> Option<Self> {
        match name {
            None | Some("TCP") => Some(Self::Tcp),
            Some("UDP") => Some(Self::Udp),
            Some("SCTP") => Some(Self::Sctp),
            Some(_) => None,
        }
    }

    /// The protocol of a record's flow; `None` for those that no policy speaks of.
    #[must_use]
    pub(crate) fn of_flow(protocol: model::Protocol) -> Option<Self> {
        match protocol {
            model::Protocol::Tcp => Some(Self::Tcp),
            model::Protocol::Udp => Some(Self::Udp),
            model::Protocol::Sctp => Some(Self::Sctp),
            model::Protocol::Icmp | model::Protocol::Icmpv6 => Some(Self::Icmp),
            model::Protocol::Other(_) => None,
        }
    }

    /// Its name, as the API writes it.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
            Self::Icmp => "ICMP",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pod {
    /// Its name.
    pub(crate) id: ObjectName,
    /// Its UID, which distinguishes it from a pod of the same name before or after it; `None` where it is not known.
    pub(crate) uid: Option<String>,
    /// What made it, and makes it anew.
    pub(crate) controller: Option<Controller>,
    /// Its labels.
    pub(crate) labels: Labels,
    /// Its addresses; none before it has a sandbox.
    pub(crate) ips: Vec<IpAddr>,
    /// The node it runs on.
    pub(crate) node: Option<String>,
    /// The addresses of that node.
    pub(crate) host_ips: Vec<IpAddr>,
    /// Whether it shares the node's network namespace, and so its addresses.
    pub(crate) host_network: bool,
    /// Whether it has ended (`Succeeded`, `Failed`) and given up its addresses.
    pub(crate) ended: bool,
    /// Whether it is being deleted.
    pub(crate) deleted: bool,
    /// When it was created, in seconds since the epoch; shows which pod took over an address.
    pub(crate) created: Option<i64>,
    /// The ports that its containers name.
    pub(crate) ports: Vec<NamedPort>,
    /// All ports that its containers say they listen at. They need not say so.
    pub(crate) container_ports: Vec<(Protocol, u16)>,
    /// The ports at which the kubelet probes it.
    pub(crate) probe_ports: Vec<u16>,
    /// The images of its containers.
    pub(crate) images: Vec<String>,
    /// Whether it is ready for traffic; `None` where that is not known.
    pub(crate) ready: Option<bool>,
    /// What keeps one of its containers from running.
    pub(crate) problem: Option<ContainerProblem>,
    /// What runs of it on this node; `None` for pods of other nodes, and where the container
    /// runtime was not asked.
    pub(crate) sandbox: Option<Sandbox>,
}

/// The part of a pod that the kernel of its node knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sandbox {
    /// Its network namespace, as inode number. Numbers are reused within minutes: only together
    /// with a pod that is alive does it say anything.
    pub(crate) netns: Option<u32>,
    /// Its first process, as this node numbers it.
    pub(crate) pid: Option<u32>,
    /// Its cgroup, below `/sys/fs/cgroup`.
    pub(crate) cgroup: Option<String>,
}

/// What keeps a container from running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContainerProblem {
    /// The container's name.
    pub(crate) container: String,
    /// The kubelet's word for it, such as `CrashLoopBackOff`.
    pub(crate) reason: String,
    /// When it ended last, in seconds since the epoch.
    pub(crate) since: Option<i64>,
    /// How often it has been restarted.
    pub(crate) restarts: u32,
}

/// A port that has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedPort {
    /// The name.
    pub(crate) name: String,
    /// The protocol.
    pub(crate) protocol: Protocol,
    /// The port.
    pub(crate) port: u16,
}

/// A node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: String,
    /// Its addresses.
    pub(crate) ips: Vec<IpAddr>,
    /// Where its pods' addresses come from.
    pub(crate) pod_nets: Vec<IpNet>,
}

/// A Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Service {
    /// Its name.
    pub(crate) id: ObjectName,
    /// Its ClusterIPs.
    pub(crate) cluster_ips: Vec<IpAddr>,
    /// Its external IPs and those of load balancers.
    pub(crate) external_ips: Vec<IpAddr>,
    /// Its ports.
    pub(crate) ports: Vec<ServicePort>,
    /// Which pods stand behind it; empty where something else decides that.
    pub(crate) selector: Labels,
    /// Whether traffic from outside goes to endpoints of the node it comes to alone
    /// (`externalTrafficPolicy: Local`).
    pub(crate) external_local: bool,
    /// Whether traffic from inside goes to endpoints of its own node alone
    /// (`internalTrafficPolicy: Local`).
    pub(crate) internal_local: bool,
}

impl Service {
    /// All its addresses.
    pub(crate) fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.cluster_ips.iter().chain(&self.external_ips).copied()
    }
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServicePort {
    /// Its name, by which an EndpointSlice says where it leads; empty where it has none.
    pub(crate) name: String,
    /// The protocol.
    pub(crate) protocol: Protocol,
    /// The port at the Service's addresses; in an EndpointSlice, at the endpoints'.
    pub(crate) port: u16,
    /// The port at every node's addresses that leads there, too.
    pub(crate) node_port: Option<u16>,
    /// The port of the pods behind it.
    pub(crate) target: TargetPort,
}

/// The port at which the pods behind a Service listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TargetPort {
    /// This one.
    Number(u16),
    /// The one that each pod calls so.
    Named(String),
}

/// Some of the endpoints of a Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EndpointSlice {
    /// Its name.
    pub(crate) id: ObjectName,
    /// The name of its Service, in the same namespace.
    pub(crate) service: Option<String>,
    /// Where the Service's ports lead, by name.
    pub(crate) ports: Vec<ServicePort>,
    /// The addresses behind it.
    pub(crate) backends: Vec<Backend>,
}

impl EndpointSlice {
    /// The addresses that take connections.
    pub(crate) fn ready(&self) -> impl Iterator<Item = &Backend> {
        self.backends.iter().filter(|backend| backend.ready)
    }
}

/// One address behind a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backend {
    /// The address.
    pub(crate) ip: IpAddr,
    /// Whether it takes new connections now.
    pub(crate) ready: bool,
    /// The node it is on.
    pub(crate) node: Option<String>,
}
