//! What belongs to a name: the addresses and ports that a filter on it must match.
//!
//! Without a port it is any port of a pod's addresses, of a Service's, and of those of its
//! endpoints. Where an address is a node's it is only the ports that lead to the name: everything
//! else on that node has the same address.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use super::{
    live::Cluster,
    objects::{ObjectName, Pod, Service, ServicePort},
    owner::Owner,
    policy::Protocol,
    view::{Kind, View},
    workload::Workload,
};
use crate::cli::endpoint::Endpoint;

/// An address at a port; at any port if there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Socket {
    /// The address.
    pub(crate) ip: IpAddr,
    /// The port.
    pub(crate) port: Option<u16>,
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ip, self.port) {
            (ip, None) => write!(f, "{ip}"),
            (IpAddr::V4(ip), Some(port)) => write!(f, "{ip}:{port}"),
            (IpAddr::V6(ip), Some(port)) => write!(f, "[{ip}]:{port}"),
        }
    }
}

/// What belongs to a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Members {
    /// Where it is; never empty.
    pub(crate) sockets: BTreeSet<Socket>,
    /// What a filter on it matches besides, or may miss, a sentence each.
    pub(crate) notes: Vec<String>,
    /// Whether all kinds of objects that say so are known.
    pub(crate) complete: bool,
}

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// It is there.
    Members(Members),
    /// It exists, and has no address (yet). In words.
    Nowhere(String),
    /// It exists, but not at this port. In words.
    NoSuchPort(String),
    /// No source has reported it.
    Unknown,
}

/// Looks a name up. `protocol` chooses among the ports of a Service; `None` is all of them.
///
/// An endpoint given by address is not a name: the result is `Unknown`.
#[must_use]
pub(crate) fn resolve(view: &View, name: &Endpoint, protocol: Option<Protocol>) -> Resolved {
    match name {
        Endpoint::Net { .. } | Endpoint::Port(_) => Resolved::Unknown,
        Endpoint::Pod {
            namespace,
            name,
            port,
        } => match view.pod(&ObjectName::new(namespace, name)) {
            Some(found) => pod(view, found, *port),
            None => Resolved::Unknown,
        },
        Endpoint::Service {
            namespace,
            name,
            port,
        } => match view.service(&ObjectName::new(namespace, name)) {
            Some(found) => service(view, found, *port, protocol),
            None => Resolved::Unknown,
        },
        Endpoint::Workload {
            workload: named,
            port,
        } => workload(view, named, *port),
    }
}

/// Those of a name's former sockets that no pod but those of that name has taken over.
#[must_use]
pub(crate) fn not_taken(
    cluster: &Cluster,
    is_of_name: impl Fn(&Pod) -> bool,
    former: &BTreeSet<Socket>,
) -> BTreeSet<Socket> {
    let taken = |ip| matches!(cluster.view().owner(ip), Owner::Pod(pod) if !is_of_name(pod));
    former
        .iter()
        .copied()
        .filter(|socket| !taken(socket.ip))
        .collect()
}

fn workload(view: &View, workload: &Workload, port: Option<u16>) -> Resolved {
    let pods: Vec<&Pod> = view.pods_of(workload).collect();
    if pods.is_empty() && view.labels_of(workload).is_none() {
        return Resolved::Unknown;
    }
    let mut all = Members {
        complete: view.knows(Kind::Pod),
        ..Members::default()
    };
    for one in pods {
        if let Resolved::Members(members) = pod(view, one, port) {
            all.sockets.extend(members.sockets);
            all.notes.extend(members.notes);
        }
    }
    if all.sockets.is_empty() {
        return Resolved::Nowhere(format!("{workload} has no pod with an address yet"));
    }
    Resolved::Members(all)
}

fn pod(view: &View, pod: &Pod, port: Option<u16>) -> Resolved {
    let id = &pod.id;
    let mut ips = pod.ips.clone();
    if pod.host_network && ips.is_empty() {
        ips.clone_from(&pod.host_ips);
    }
    let of_another = |ip: &IpAddr| matches!(view.owner(*ip), Owner::Pod(other) if other.id != *id);
    if pod.ended {
        ips.retain(|ip| !of_another(ip));
    }
    if ips.is_empty() {
        return Resolved::Nowhere(if pod.ended {
            format!("{id} has ended, and has no address any more")
        } else {
            format!("{id} has no address yet")
        });
    }
    let mut notes = Vec::new();
    if pod.host_network {
        let node = pod.node.as_deref().unwrap_or("its node");
        notes.push(match port {
            Some(_) => {
                format!(
                    "{id} has the address of {node}: every connection to this port there matches"
                )
            }
            None => {
                format!("{id} has the address of {node}: all of that node matches, so give a port")
            }
        });
    }
    Resolved::Members(Members {
        sockets: ips.into_iter().map(|ip| Socket { ip, port }).collect(),
        notes,
        complete: true,
    })
}

fn service(
    view: &View,
    service: &Service,
    port: Option<u16>,
    protocol: Option<Protocol>,
) -> Resolved {
    let id = &service.id;
    let asked: Vec<&ServicePort> = service
        .ports
        .iter()
        .filter(|one| port.is_none_or(|port| port == one.port))
        .filter(|one| protocol.is_none_or(|protocol| protocol == one.protocol))
        .collect();
    if asked.is_empty() && (port.is_some() || !service.ports.is_empty()) {
        return Resolved::NoSuchPort(no_such_port(service, port, protocol));
    }
    let own = service.ips().map(|ip| Socket { ip, port });
    let mut sockets: BTreeSet<Socket> = own.collect();
    let mut notes = Vec::new();

    let node_ports: BTreeSet<u16> = asked.iter().filter_map(|one| one.node_port).collect();
    let nodes: BTreeSet<IpAddr> = node_addresses(view);
    if !node_ports.is_empty() && nodes.is_empty() {
        notes.push(format!(
            "no source lists nodes, so the NodePorts of svc/{id} do not match"
        ));
    }
    let at_node_ports = nodes.iter().flat_map(|ip| {
        let at = |port: &u16| Socket {
            ip: *ip,
            port: Some(*port),
        };
        node_ports.iter().map(at)
    });
    sockets.extend(at_node_ports);

    for (ip, target) in endpoints(view, id, &asked) {
        let any_port = port.is_none() && !nodes.contains(&ip);
        let port = (!any_port).then_some(target);
        sockets.insert(Socket { ip, port });
    }
    let complete = view.knows(Kind::EndpointSlice);
    if !complete {
        notes.push(format!(
            "no source has listed EndpointSlices: traffic sent directly to the endpoints of \
             svc/{id} does not match"
        ));
    }
    if sockets.is_empty() {
        return Resolved::Nowhere(format!("svc/{id} has neither an address nor an endpoint"));
    }
    Resolved::Members(Members {
        sockets,
        notes,
        complete,
    })
}

/// The endpoints behind some ports of a Service, each with the port that it listens at.
fn endpoints<'v>(
    view: &'v View,
    id: &'v ObjectName,
    asked: &[&'v ServicePort],
) -> BTreeSet<(IpAddr, u16)> {
    let behind = |target: &&ServicePort| {
        let same =
            |one: &&ServicePort| (&one.name, one.protocol) == (&target.name, target.protocol);
        // A Service without ports is headless, and its slices have none but their own.
        asked.is_empty() || asked.iter().any(same)
    };
    let mut found = BTreeSet::new();
    for slice in view.slices_of(id) {
        for target in slice.ports.iter().filter(behind) {
            let backends = slice.backends.iter();
            found.extend(backends.map(|backend| (backend.ip, target.port)));
        }
    }
    found
}

fn node_addresses(view: &View) -> BTreeSet<IpAddr> {
    let of_nodes = view.nodes().flat_map(|node| &node.ips);
    let of_pods = view.pods().flat_map(|pod| &pod.host_ips);
    of_nodes.chain(of_pods).copied().collect()
}

/// Says that a Service has no such port, and which it has.
pub(crate) fn no_such_port(
    service: &Service,
    port: Option<u16>,
    protocol: Option<Protocol>,
) -> String {
    let mut by_port: BTreeMap<(u16, String), &str> = BTreeMap::new();
    for one in &service.ports {
        by_port.insert((one.port, one.protocol.to_string()), &one.name);
    }
    let there: Vec<_> = by_port
        .into_iter()
        .map(|((port, protocol), name)| match name {
            "" => format!("{protocol} {port}"),
            name => format!("{protocol} {port} ({name})"),
        })
        .collect();
    let id = &service.id;
    let protocol = protocol
        .map(|protocol| format!("{protocol} "))
        .unwrap_or_default();
    let asked = match port {
        Some(port) => format!("{protocol}port {port}"),
        None => format!("{protocol}port"),
    };
    match there.as_slice() {
        [] => format!("svc/{id} has no ports at all"),
        _ => format!("svc/{id} has no {asked}, but {}", there.join(", ")),
    }
}

/// Says that there is no workload of this name, and which are similar.
#[must_use]
pub(crate) fn no_such_workload(view: &View, workload: &Workload) -> String {
    let all = view.workloads();
    let wanted = workload.to_string();
    let likeness = |other: &&Workload| {
        let namesake = other.id.name == workload.id.name;
        let distance = strsim::damerau_levenshtein(&wanted, &other.to_string());
        (!namesake, distance)
    };
    let mut nearest: Vec<&Workload> = all.iter().collect();
    nearest.sort_by_key(likeness);
    let nearest = nearest.into_iter().take(OFFERED);
    let nearest: Vec<_> = nearest.map(ToString::to_string).collect();
    match nearest.as_slice() {
        [] => format!("no known pod belongs to {workload}, nor to any other workload"),
        _ => format!(
            "no known pod belongs to {workload}; the nearest names: {}",
            nearest.join(", ")
        ),
    }
}

/// How many names are offered for one that does not exist.
const OFFERED: usize = 3;

/// Says that there is no pod (or Service) of this name, and which are similar.
#[must_use]
pub(crate) fn no_such(view: &View, kind: Kind, id: &ObjectName) -> String {
    let (what, nearest) = match kind {
        Kind::Service => ("Service", view.nearest_services(id, OFFERED)),
        _ => ("pod", view.nearest_pods(id, OFFERED)),
    };
    let nearest: Vec<_> = nearest.into_iter().map(ToString::to_string).collect();
    let namesake = match kind {
        Kind::Service => view.pod(id).map(|_| format!("; there is a pod {id}")),
        _ => view
            .service(id)
            .map(|_| format!("; there is a Service: svc/{id}")),
    };
    let nearest = match nearest.as_slice() {
        [] => ", nor any other".to_owned(),
        _ => format!("; the nearest names: {}", nearest.join(", ")),
    };
    format!(
        "there is no {what} {id}{}{nearest}",
        namesake.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests;
