//! A Service's address: policies see what stands behind it.

use std::{collections::BTreeSet, net::IpAddr};

use anyhow::{Result, bail};

use crate::{
    cluster::{
        objects::{Pod, Service, ServicePort, TargetPort},
        policy::Protocol,
        resolve::no_such_port,
        selector::{Known, Operator, Requirement, Selector},
        view::{Kind, View},
    },
    policy::Peer,
};

/// How many endpoints are named.
const NAMED: usize = 10;

/// Which endpoints of a Service are asked for.
pub(super) struct Wanted<'a> {
    pub(super) protocol: Protocol,
    pub(super) port: Option<u16>,
    /// The address family, where one is asked for.
    pub(super) is_ipv6: Option<bool>,
    /// The only node whose endpoints take it, and the setting that restricts it to them.
    pub(super) only_on: Option<(&'a str, &'static str)>,
    /// Whether the Service was asked for by its name: a wrong port is a typing error then.
    pub(super) by_name: bool,
}

/// One endpoint behind a Service, and its port.
pub(super) type Target<'v> = (Peer<'v>, Option<u16>);

/// The endpoints that may answer; none where they are not known, or there is none.
pub(super) fn behind<'v>(
    view: &'v View,
    service: &'v Service,
    wanted: &Wanted<'_>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Target<'v>>> {
    let id = &service.id;
    let port = service
        .ports
        .iter()
        .find(|port| port.protocol == wanted.protocol && Some(port.port) == wanted.port);
    let Some(port) = port else {
        let why = no_such_port(service, wanted.port, Some(wanted.protocol));
        if wanted.by_name {
            bail!(why);
        }
        warnings.push(why);
        return Ok(Vec::new());
    };
    let unreadable = view.unreadable_in(Kind::EndpointSlice, &id.namespace);
    let known = view.knows(Kind::EndpointSlice) && unreadable.count() == 0;
    let mut found = match known {
        true => by_slices(view, service, port, wanted),
        false if !service.selector.is_empty() && view.knows(Kind::Pod) => {
            warnings.push(format!(
                "the EndpointSlices of Service {id} are not known: the pods that its selector {} \
                 selects stand in for them",
                selector(service)
            ));
            by_selector(view, service, port, wanted)
        }
        false => return Ok(Vec::new()),
    };
    // A pod with addresses of both families is one endpoint.
    let mut seen = BTreeSet::new();
    found.retain(|(peer, _)| peer.as_pod().is_none_or(|pod| seen.insert(pod.id.clone())));
    warnings.push(match found.as_slice() {
        [] => nothing_behind(service, wanted),
        found => format!(
            "policies see the endpoints behind Service {id}, so these are evaluated: {}",
            names(found)
        ),
    });
    Ok(found)
}

fn nothing_behind(service: &Service, wanted: &Wanted<'_>) -> String {
    let id = &service.id;
    match wanted.only_on {
        Some((node, policy)) => format!(
            "Service {id} has no ready endpoint on node {node} ({policy}: Local): nothing answers \
             there, whatever the policies say"
        ),
        None => format!(
            "Service {id} has no ready endpoint (selector {}): nothing answers, whatever the \
             policies say",
            selector(service)
        ),
    }
}

fn selector(service: &Service) -> String {
    let pairs = service.selector.iter();
    let pairs: Vec<_> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

fn names(found: &[Target<'_>]) -> String {
    let name = |(peer, port): &Target<'_>| match port {
        Some(port) => format!("{peer} port {port}"),
        None => peer.to_string(),
    };
    let mut names: Vec<String> = found.iter().map(name).collect();
    names.sort();
    names.dedup();
    match names.len().checked_sub(NAMED) {
        Some(more @ 1..) => format!("{} and {more} more", names[..NAMED].join(", ")),
        _ => names.join(", "),
    }
}

fn by_slices<'v>(
    view: &'v View,
    service: &'v Service,
    port: &ServicePort,
    wanted: &Wanted<'_>,
) -> Vec<Target<'v>> {
    let mut found = Vec::new();
    for slice in view.slices_of(&service.id) {
        let target = slice
            .ports
            .iter()
            .find(|target| target.name == port.name && target.protocol == port.protocol);
        let Some(target) = target else { continue };
        let here = slice.ready().filter(|backend| {
            let node = backend.node.as_deref();
            fits(backend.ip, wanted)
                && wanted
                    .only_on
                    .is_none_or(|(only, _)| node.is_none_or(|node| node == only))
        });
        found.extend(here.map(|backend| (Peer::at(view, backend.ip), Some(target.port))));
    }
    found
}

fn by_selector<'v>(
    view: &'v View,
    service: &'v Service,
    port: &ServicePort,
    wanted: &Wanted<'_>,
) -> Vec<Target<'v>> {
    let requirement = |(key, value): (&String, &String)| Requirement {
        key: key.clone(),
        operator: Operator::In(vec![value.clone()]),
    };
    let selector = Selector {
        requirements: service.selector.iter().map(requirement).collect(),
    };
    let takes_part = |pod: &&Pod| {
        let on_node = |(only, _): (&str, _)| pod.node.as_deref().is_none_or(|node| node == only);
        !pod.ended
            && pod.ready != Some(false)
            && selector.selects(Known::All(&pod.labels)) == Some(true)
            && wanted.only_on.is_none_or(on_node)
            && (pod.ips.is_empty() || pod.ips.iter().any(|ip| fits(*ip, wanted)))
    };
    let pods = view.pods_in(&service.id.namespace).filter(takes_part);
    let targets = pods.map(|pod| {
        let target = match &port.target {
            TargetPort::Number(number) => Some(*number),
            TargetPort::Named(name) => {
                let mut ports = pod.ports.iter();
                let named = ports.find(|one| one.name == *name && one.protocol == port.protocol);
                named.map(|one| one.port)
            }
        };
        target.map(|target| (Peer::pod(pod), Some(target)))
    });
    targets.flatten().collect()
}

fn fits(ip: IpAddr, wanted: &Wanted<'_>) -> bool {
    wanted.is_ipv6.is_none_or(|is_ipv6| ip.is_ipv6() == is_ipv6)
}
