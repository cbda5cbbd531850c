//! What enforcers do otherwise than the API says, or otherwise than each other.

use std::collections::BTreeSet;

use super::{policies_of, side_peer};
use crate::{
    cluster::{
        objects::Pod,
        plugin::Plugin,
        policy::{Direction, Element, Held, Policy, PortSpec, Protocol, held},
        selector::Known,
        view::View,
    },
    policy::{Answer, Flow, Side},
};

/// An `ipBlock` that holds a pod's address: what the enforcer that runs here makes of it.
pub(super) fn blocks_over_pods(view: &View, flow: &Flow<'_>, side: &Side) -> Vec<String> {
    let peer = side_peer(flow, side);
    let (Some(enforcer), Some(pod)) = (view.enforcer(), peer.as_pod()) else {
        return Vec::new();
    };
    let Some(matches) = enforcer.blocks_match_pods() else {
        return Vec::new();
    };
    let addresses = peer.addresses();
    let rules = policies_of(view, side)
        .flat_map(|policy| policy.rules(side.direction).unwrap_or_default())
        .flat_map(|rule| &rule.peers);
    let nets: BTreeSet<String> = rules
        .filter_map(|element| match element {
            Element::Block { net, except } => {
                let is_in = |ip: &std::net::IpAddr| held(net, except, *ip) == Held::Yes;
                addresses.iter().any(is_in).then(|| net.to_string())
            }
            Element::Pods { .. } => None,
        })
        .collect();
    let nets: Vec<_> = nets.into_iter().collect();
    let does = match matches {
        true => "matches it (other implementations do not)",
        false => "does not match it (other implementations do)",
    };
    let sentence = format!(
        "ipBlock {} holds pod {}'s address: {enforcer} {does}",
        nets.join(", "),
        pod.id
    );
    (!nets.is_empty()).then_some(sentence).into_iter().collect()
}

/// A rule for a port name that no pod of its policy has. By the API it admits nothing.
pub(super) fn unknown_port_name(view: &View, policy: &Policy, side: &Side) -> Option<String> {
    let enforcer = view
        .enforcer()
        .filter(|_| side.direction == Direction::Ingress);
    let plugin: Plugin = enforcer.filter(|one| one.takes_unknown_port_names_for_all())?;
    let namespace = &policy.id.namespace;
    let selected = |pod: &&Pod| policy.pods.selects(Known::All(&pod.labels)) == Some(true);
    let is_nowhere = |name: &String, protocol: Protocol| {
        let mut pods = view
            .pods_in(namespace)
            .filter(|pod| !pod.ended)
            .filter(selected);
        !pods.any(|pod| {
            let mut ports = pod.ports.iter();
            ports.any(|port| port.name == *name && port.protocol == protocol)
        })
    };
    let rules = policy.rules(side.direction)?.iter();
    let mut ports = rules.flat_map(|rule| &rule.ports);
    ports.find_map(|rule| match &rule.port {
        Some(PortSpec::Named(name)) if is_nowhere(name, rule.protocol) => Some(format!(
            "{} names the {} port {name}, which no pod that it selects has: by the API that rule \
             admits nothing, but {plugin} admits every port by it",
            policy.id, rule.protocol
        )),
        _ => None,
    })
}

/// Policies over SCTP are not enforced everywhere.
pub(super) fn sctp(flow: &Flow<'_>, answer: &Answer) -> Option<String> {
    let sides = [&answer.egress, &answer.ingress];
    let isolated = sides.iter().any(|side| side.isolated == Some(true));
    (flow.protocol == Protocol::Sctp && isolated).then(|| {
        "some CNI plugins do not enforce NetworkPolicies for SCTP: they let all of it pass, or none"
            .to_owned()
    })
}
