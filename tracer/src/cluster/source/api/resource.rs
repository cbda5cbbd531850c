//! Where the API server has the objects of a kind.

use crate::cluster::view::Kind;

/// All kinds that are asked for; one's labels or addresses explain another's.
pub(super) const KINDS: [Kind; 6] = [
    Kind::Pod,
    Kind::Namespace,
    Kind::Node,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::NetworkPolicy,
];

/// A kind's name in URLs and roles.
pub(super) fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::Pod => "pods",
        Kind::Namespace => "namespaces",
        Kind::Node => "nodes",
        Kind::Service => "services",
        Kind::EndpointSlice => "endpointslices",
        Kind::NetworkPolicy => "networkpolicies",
    }
}

/// The `apiVersion` of a kind's objects.
pub(super) fn version(kind: Kind) -> String {
    match kind.group() {
        "" => "v1".to_owned(),
        group => format!("{group}/v1"),
    }
}

/// The path of all objects of a kind, in every namespace.
pub(super) fn path(kind: Kind) -> String {
    let root = if kind.group().is_empty() {
        "api"
    } else {
        "apis"
    };
    format!("/{root}/{}/{}", version(kind), plural(kind))
}

/// A kind's name in `kubectl create clusterrole --resource`.
pub(super) fn in_roles(kind: Kind) -> String {
    match kind.group() {
        "" => plural(kind).to_owned(),
        group => format!("{}.{group}", plural(kind)),
    }
}
