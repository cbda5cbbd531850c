//! From the API's types to ours. An error says in words what is wrong with an object.

mod pod;
mod policy;
mod service;

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::apis::meta::v1::ObjectMeta};

pub(crate) use self::{
    pod::pod,
    policy::policy,
    service::{endpoint_slice, service},
};
use super::objects::{Labels, Node, ObjectName};

/// What is wrong with an object.
pub(crate) type Wrong = String;

/// A namespace's name and labels.
///
/// # Errors
///
/// It has no proper name or labels.
pub(crate) fn namespace(namespace: core::Namespace) -> Result<(String, Labels), Wrong> {
    Ok((
        name(&namespace.metadata)?,
        labels(namespace.metadata.labels)?,
    ))
}

/// A node.
///
/// # Errors
///
/// It has no proper name, or a malformed address.
pub(crate) fn node(node: core::Node) -> Result<Node, Wrong> {
    let name = name(&node.metadata)?;
    let spec = node.spec.unwrap_or_default();
    let nets = spec.pod_cidrs.into_iter().flatten().chain(spec.pod_cidr);
    let net = |text: String| {
        let parsed = text.parse::<IpNet>();
        parsed.map_err(|_| format!("podCIDR: {text:?} is not a CIDR"))
    };
    let mut pod_nets = nets.map(net).collect::<Result<Vec<_>, _>>()?;
    pod_nets.sort();
    pod_nets.dedup();
    let reported = node.status.unwrap_or_default().addresses;
    // Host names are among them.
    let ips = reported
        .into_iter()
        .flatten()
        .filter(|address| address.type_.ends_with("IP"))
        .map(|address| address.address);
    Ok(Node {
        name,
        ips: addresses(ips)?,
        pod_nets,
    })
}

/// Addresses. One that cannot be read could be anyone's, so it spoils the object.
pub(super) fn addresses(texts: impl IntoIterator<Item = String>) -> Result<Vec<IpAddr>, Wrong> {
    let parse = |text: String| match text.parse::<IpAddr>() {
        Ok(ip) => Ok(ip.to_canonical()),
        Err(_) => Err(format!("{text:?} is not an address")),
    };
    let texts = texts.into_iter().filter(|text| !text.is_empty());
    texts.map(parse).collect()
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
