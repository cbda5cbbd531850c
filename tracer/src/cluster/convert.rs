//! From the API's types to ours. An error says in words what is wrong with an object.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::{
    api::{core::v1 as core, discovery::v1 as discovery},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

pub use super::convert_policy::policy;
use super::{
    objects::{EndpointSlice, Labels, NamedPort, Node, ObjectName, Pod, Service, ServicePort},
    policy::Protocol,
};

/// What is wrong with an object.
pub type Wrong = String;

/// A pod.
///
/// # Errors
///
/// It has no proper name or labels.
pub fn pod(pod: core::Pod) -> Result<Pod, Wrong> {
    let id = namespaced(&pod.metadata)?;
    let labels = labels(pod.metadata.labels)?;
    let spec = pod.spec.unwrap_or_default();
    let status = pod.status.unwrap_or_default();
    let mut ips = addresses(status.pod_ips.into_iter().flatten().map(|ip| ip.ip));
    // An old API server, or a hand-written object.
    if ips.is_empty() {
        ips = addresses(status.pod_ip);
    }
    let mut host_ips = addresses(status.host_ips.into_iter().flatten().map(|ip| ip.ip));
    if host_ips.is_empty() {
        host_ips = addresses(status.host_ip);
    }
    // Init containers that stay (sidecars) may have ports, too.
    let containers = || {
        spec.containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
    };
    let ready = |condition: &&core::PodCondition| condition.type_ == "Ready";
    Ok(Pod {
        id,
        uid: pod.metadata.uid,
        labels,
        ips,
        node: spec.node_name.clone().filter(|name| is_proper(name)),
        host_ips,
        host_network: spec.host_network.unwrap_or_default(),
        ended: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
        deleted: pod.metadata.deletion_timestamp.is_some(),
        created: pod
            .metadata
            .creation_timestamp
            .map(|time| time.0.as_second()),
        ports: containers()
            .flat_map(|c| c.ports.iter().flatten())
            .filter_map(named_port)
            .collect(),
        container_ports: containers()
            .flat_map(|c| c.ports.iter().flatten())
            .filter_map(container_port)
            .collect(),
        images: containers().filter_map(|c| c.image.clone()).collect(),
        ready: status
            .conditions
            .iter()
            .flatten()
            .find(ready)
            .map(|condition| condition.status == "True"),
        sandbox: None,
    })
}

fn container_port(port: &core::ContainerPort) -> Option<(Protocol, u16)> {
    let protocol = Protocol::from_api(port.protocol.as_deref())?;
    Some((protocol, port.container_port.try_into().ok()?))
}

fn named_port(port: &core::ContainerPort) -> Option<NamedPort> {
    Some(NamedPort {
        name: port.name.clone()?,
        protocol: Protocol::from_api(port.protocol.as_deref())?,
        port: port.container_port.try_into().ok()?,
    })
}

/// The name and the labels of a namespace.
///
/// # Errors
///
/// It has no proper name or labels.
pub fn namespace(namespace: core::Namespace) -> Result<(String, Labels), Wrong> {
    Ok((
        name(&namespace.metadata)?,
        labels(namespace.metadata.labels)?,
    ))
}

/// A node.
///
/// # Errors
///
/// It has no proper name.
pub fn node(node: core::Node) -> Result<Node, Wrong> {
    let name = name(&node.metadata)?;
    let spec = node.spec.unwrap_or_default();
    let nets = spec.pod_cidrs.into_iter().flatten().chain(spec.pod_cidr);
    let mut pod_nets: Vec<IpNet> = nets.filter_map(|net| net.parse().ok()).collect();
    pod_nets.sort();
    pod_nets.dedup();
    let told = node
        .status
        .unwrap_or_default()
        .addresses
        .unwrap_or_default();
    // Host names are among them, and no addresses.
    let ips = addresses(told.into_iter().map(|address| address.address));
    Ok(Node {
        name,
        ips,
        pod_nets,
    })
}

/// A Service.
///
/// # Errors
///
/// It has no proper name.
pub fn service(service: core::Service) -> Result<Service, Wrong> {
    let id = namespaced(&service.metadata)?;
    let spec = service.spec.unwrap_or_default();
    let balancer = service
        .status
        .unwrap_or_default()
        .load_balancer
        .unwrap_or_default();
    let balanced = balancer
        .ingress
        .into_iter()
        .flatten()
        .filter_map(|ingress| ingress.ip);
    let lists = [spec.cluster_ips, spec.external_ips];
    // `None` stands in place of the address of a headless Service, and is none.
    let all = lists
        .into_iter()
        .flatten()
        .flatten()
        .chain(spec.cluster_ip)
        .chain(balanced);
    let mut ips = addresses(all);
    ips.sort();
    ips.dedup();
    let port = |port: core::ServicePort| {
        let node_port = port.node_port.and_then(|port| u16::try_from(port).ok());
        Some(ServicePort {
            // 0 where none is given.
            node_port: node_port.filter(|port| *port != 0),
            ..service_port(port.name, port.protocol.as_deref(), Some(port.port))?
        })
    };
    Ok(Service {
        id,
        ips,
        ports: spec.ports.into_iter().flatten().filter_map(port).collect(),
        selector: labels(spec.selector)?,
    })
}

/// An EndpointSlice.
///
/// # Errors
///
/// It has no proper name.
pub fn endpoint_slice(slice: discovery::EndpointSlice) -> Result<EndpointSlice, Wrong> {
    let id = namespaced(&slice.metadata)?;
    let labels = labels(slice.metadata.labels)?;
    let port = |port: discovery::EndpointPort| {
        service_port(port.name, port.protocol.as_deref(), port.port)
    };
    // The API: consumers take an absent `ready` as true.
    let ready = |endpoint: &discovery::Endpoint| {
        endpoint
            .conditions
            .as_ref()
            .and_then(|c| c.ready)
            .unwrap_or(true)
    };
    let (takes, refuses): (Vec<_>, Vec<_>) = slice.endpoints.into_iter().flatten().partition(ready);
    let ips = |endpoints: Vec<discovery::Endpoint>| {
        addresses(endpoints.into_iter().flat_map(|one| one.addresses))
    };
    Ok(EndpointSlice {
        id,
        service: labels.get("kubernetes.io/service-name").cloned(),
        ports: slice.ports.into_iter().flatten().filter_map(port).collect(),
        ready: ips(takes),
        unready: ips(refuses),
    })
}

fn service_port(
    name: Option<String>,
    protocol: Option<&str>,
    port: Option<i32>,
) -> Option<ServicePort> {
    Some(ServicePort {
        name: name.unwrap_or_default(),
        protocol: Protocol::from_api(protocol)?,
        port: port?.try_into().ok()?,
        node_port: None,
    })
}

pub(super) fn addresses(texts: impl IntoIterator<Item = String>) -> Vec<IpAddr> {
    let parsed = texts
        .into_iter()
        .filter_map(|text| text.parse::<IpAddr>().ok());
    parsed.map(|ip| ip.to_canonical()).collect()
}

/// The name of an object in a namespace. A manifest may leave the namespace out: `default`.
pub(super) fn namespaced(metadata: &ObjectMeta) -> Result<ObjectName, Wrong> {
    let namespace = metadata.namespace.as_deref().unwrap_or("default");
    if !is_proper(namespace) {
        return Err(format!("{namespace:?} is no namespace's name"));
    }
    Ok(ObjectName::new(namespace, name(metadata)?))
}

fn name(metadata: &ObjectMeta) -> Result<String, Wrong> {
    match metadata.name.as_deref() {
        Some(name) if is_proper(name) => Ok(name.to_owned()),
        Some(name) => Err(format!("{name:?} is no object's name")),
        None => Err("it has no metadata.name".to_owned()),
    }
}

pub(super) fn labels(labels: Option<Labels>) -> Result<Labels, Wrong> {
    let labels = labels.unwrap_or_default();
    match labels
        .iter()
        .find(|(key, value)| !is_proper(key) || !is_label_value(value))
    {
        Some((key, value)) => Err(format!("{key:?}: {value:?} is no label")),
        None => Ok(labels),
    }
}

/// Whether it could be the name of something in a cluster. Not the API server's whole check, but
/// enough that it can be printed and written into YAML.
pub(super) fn is_proper(name: &str) -> bool {
    !name.is_empty() && is_label_value(name)
}

pub(super) fn is_label_value(value: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._/:".contains(&b);
    value.len() <= 317 && value.bytes().all(fits)
}
