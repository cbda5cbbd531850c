//! Pods from the API's types.

use k8s_openapi::{
    api::core::v1 as core,
    apimachinery::pkg::{
        apis::meta::v1::{ObjectMeta, OwnerReference},
        util::intstr::IntOrString,
    },
};

use super::{Wrong, addresses, is_proper, labels, namespaced};
use crate::cluster::{
    objects::{ContainerProblem, NamedPort, Pod},
    policy::Protocol,
    workload::Controller,
};

/// A pod.
///
/// # Errors
///
/// It has no proper name or labels, or a malformed address.
pub(crate) fn pod(pod: core::Pod) -> Result<Pod, Wrong> {
    let id = namespaced(&pod.metadata)?;
    let controller = controller(&pod.metadata);
    let labels = labels(pod.metadata.labels)?;
    let spec = pod.spec.unwrap_or_default();
    let status = pod.status.unwrap_or_default();
    let mut ips = addresses(status.pod_ips.into_iter().flatten().map(|ip| ip.ip))?;
    // An old API server, or a hand-written object.
    if ips.is_empty() {
        ips = addresses(status.pod_ip)?;
    }
    let mut host_ips = addresses(status.host_ips.into_iter().flatten().map(|ip| ip.ip))?;
    if host_ips.is_empty() {
        host_ips = addresses(status.host_ip)?;
    }
    let running = || running(&spec);
    let all_ports = || running().flat_map(|container| container.ports.iter().flatten());
    let ready = |condition: &&core::PodCondition| condition.type_ == "Ready";
    let states = status.container_statuses.iter().flatten();
    Ok(Pod {
        id,
        uid: pod.metadata.uid,
        controller,
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
        ports: all_ports().filter_map(named_port).collect(),
        container_ports: all_ports().filter_map(container_port).collect(),
        probe_ports: running().flat_map(probe_ports).collect(),
        images: running().filter_map(|c| c.image.clone()).collect(),
        ready: status
            .conditions
            .iter()
            .flatten()
            .find(ready)
            .map(|condition| condition.status == "True"),
        problem: states.clone().find_map(problem),
        sandbox: None,
    })
}

/// The containers that run as long as the pod does. An init container has ended by then, unless it
/// is a sidecar: one that is always restarted.
fn running(spec: &core::PodSpec) -> impl Iterator<Item = &core::Container> {
    let is_sidecar = |c: &&core::Container| c.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.init_containers.iter().flatten().filter(is_sidecar);
    spec.containers.iter().chain(sidecars)
}

fn controller(metadata: &ObjectMeta) -> Option<Controller> {
    let is_controller = |owner: &&OwnerReference| owner.controller == Some(true);
    let owner = metadata.owner_references.iter().flatten();
    let owner = owner.clone().find(is_controller)?;
    (is_proper(&owner.kind) && is_proper(&owner.name)).then(|| Controller {
        kind: owner.kind.clone(),
        name: owner.name.clone(),
    })
}

fn container_port(port: &core::ContainerPort) -> Option<(Protocol, u16)> {
    let protocol = Protocol::from_api(port.protocol.as_deref())?;
    Some((protocol, port.container_port.try_into().ok()?))
}

fn named_port(port: &core::ContainerPort) -> Option<NamedPort> {
    Some(NamedPort {
        name: port.name.clone().filter(|name| is_proper(name))?,
        protocol: Protocol::from_api(port.protocol.as_deref())?,
        port: port.container_port.try_into().ok()?,
    })
}

/// The TCP ports at which the kubelet probes a container.
fn probe_ports(container: &core::Container) -> Vec<u16> {
    let probes = [
        &container.liveness_probe,
        &container.readiness_probe,
        &container.startup_probe,
    ];
    let number = |port: &IntOrString| match port {
        IntOrString::Int(port) => u16::try_from(*port).ok(),
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            let named = ports.find(|port| port.name.as_deref() == Some(name))?;
            named.container_port.try_into().ok()
        }
    };
    let port = |probe: &core::Probe| {
        let http = probe.http_get.as_ref().map(|get| &get.port);
        let tcp = probe.tcp_socket.as_ref().map(|socket| &socket.port);
        match http.or(tcp) {
            Some(port) => number(port),
            None => u16::try_from(probe.grpc.as_ref()?.port).ok(),
        }
    };
    probes.into_iter().flatten().filter_map(port).collect()
}

/// What keeps a container from running.
fn problem(status: &core::ContainerStatus) -> Option<ContainerProblem> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.clone().filter(|reason| is_proper(reason))?;
    let last = status.last_state.as_ref();
    let ended = last.and_then(|state| state.terminated.as_ref()?.finished_at.as_ref());
    Some(ContainerProblem {
        container: status.name.clone(),
        reason,
        since: ended.map(|time| time.0.as_second()),
        restarts: u32::try_from(status.restart_count).unwrap_or_default(),
    })
    .filter(|problem| is_proper(&problem.container))
}
