//! Services and their EndpointSlices from the API's types.

use k8s_openapi::{
    api::{core::v1 as core, discovery::v1 as discovery},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{Wrong, addresses, is_proper, labels, namespaced};
use crate::cluster::{
    objects::{Backend, EndpointSlice, Service, ServicePort, TargetPort},
    policy::Protocol,
};

/// A Service.
///
/// # Errors
///
/// It has no proper name, or a malformed address.
pub(crate) fn service(service: core::Service) -> Result<Service, Wrong> {
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
    // `None` stands in place of the address of a headless Service.
    let own = spec
        .cluster_ips
        .into_iter()
        .flatten()
        .chain(spec.cluster_ip);
    let mut cluster_ips = addresses(own.filter(|ip| ip != "None"))?;
    let outside = spec.external_ips.into_iter().flatten().chain(balanced);
    let mut external_ips = addresses(outside)?;
    for ips in [&mut cluster_ips, &mut external_ips] {
        ips.sort();
        ips.dedup();
    }
    let is_local = |policy: Option<String>| policy.as_deref() == Some("Local");
    let ports = spec.ports.into_iter().flatten();
    Ok(Service {
        id,
        cluster_ips,
        external_ips,
        ports: ports.filter_map(own_port).collect(),
        selector: labels(spec.selector)?,
        external_local: is_local(spec.external_traffic_policy),
        internal_local: is_local(spec.internal_traffic_policy),
    })
}

fn own_port(port: core::ServicePort) -> Option<ServicePort> {
    let node_port = port.node_port.and_then(|port| u16::try_from(port).ok());
    let own = service_port(port.name, port.protocol.as_deref(), Some(port.port))?;
    let target = match port.target_port {
        Some(IntOrString::String(name)) if is_proper(&name) => TargetPort::Named(name),
        Some(IntOrString::Int(number)) if number != 0 => {
            TargetPort::Number(number.try_into().ok()?)
        }
        _ => TargetPort::Number(own.port),
    };
    Some(ServicePort {
        // 0 where none is given.
        node_port: node_port.filter(|port| *port != 0),
        target,
        ..own
    })
}

/// An EndpointSlice.
///
/// # Errors
///
/// It has no proper name, or a malformed address.
pub(crate) fn endpoint_slice(slice: discovery::EndpointSlice) -> Result<EndpointSlice, Wrong> {
    let id = namespaced(&slice.metadata)?;
    let labels = labels(slice.metadata.labels)?;
    let port = |port: discovery::EndpointPort| {
        service_port(port.name, port.protocol.as_deref(), port.port)
    };
    let has_names = slice.address_type == "FQDN";
    let backend = |endpoint: discovery::Endpoint| {
        // The API: consumers take an absent `ready` as true.
        let ready = endpoint.conditions.and_then(|c| c.ready).unwrap_or(true);
        let texts = match has_names {
            true => Vec::new(),
            false => endpoint.addresses,
        };
        let node = endpoint.node_name.filter(|name| is_proper(name));
        let backends = addresses(texts)?.into_iter().map(move |ip| Backend {
            ip,
            ready,
            node: node.clone(),
        });
        Ok::<_, Wrong>(backends.collect::<Vec<_>>())
    };
    let endpoints = slice.endpoints.into_iter().flatten();
    let backends = endpoints.map(backend).collect::<Result<Vec<_>, _>>()?;
    Ok(EndpointSlice {
        id,
        service: labels.get("kubernetes.io/service-name").cloned(),
        ports: slice.ports.into_iter().flatten().filter_map(port).collect(),
        backends: backends.into_iter().flatten().collect(),
    })
}

fn service_port(
    name: Option<String>,
    protocol: Option<&str>,
    port: Option<i32>,
) -> Option<ServicePort> {
    let port = port?.try_into().ok()?;
    let name = name.unwrap_or_default();
    (name.is_empty() || is_proper(&name)).then_some(())?;
    Some(ServicePort {
        name,
        protocol: Protocol::from_api(protocol)?,
        port,
        node_port: None,
        target: TargetPort::Number(port),
    })
}
