//! What people get wrong about NetworkPolicies, where a flow passes near it.

mod cni;
mod enforcers;

use std::collections::{BTreeMap, BTreeSet};

use super::{Answer, Flow, Outcome, Peer, Protocol, Side, evaluate};
use crate::cluster::{
    foreign::HeededBy,
    objects::{ObjectName, Pod},
    policy::{Direction, Element, Policy, PortSpec},
    selector::Known,
    view::{Kind, View},
};

pub(crate) use self::cni::{enforces_nothing, unenforced};

/// Warnings about a flow and the policies of its two ends, a sentence each.
#[must_use]
pub(crate) fn warnings(view: &View, flow: &Flow<'_>, answer: &Answer) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(unenforced(view));
    found.extend(foreign(view));
    found.extend(dns(view, flow, answer));
    for side in [&answer.egress, &answer.ingress] {
        for policy in policies_of(view, side) {
            found.extend(alternatives(policy, side.direction));
            found.extend(end_port(policy, flow, side));
            found.extend(enforcers::unknown_port_name(view, policy, side));
        }
        found.extend(enforcers::blocks_over_pods(view, flow, side));
    }
    found.extend(enforcers::sctp(flow, answer));
    found.extend(idle(view, flow));
    found.truncate(WARNINGS);
    found
}

/// How many warnings are given. A namespace with a thousand policies has a thousand traps.
const WARNINGS: usize = 20;

fn policies_of<'v>(view: &'v View, side: &'v Side) -> impl Iterator<Item = &'v Policy> {
    side.policies.iter().filter_map(|id| {
        view.policies_in(&id.namespace)
            .find(|policy| policy.id == *id)
    })
}

/// The other end of the flow, seen from one side.
fn side_peer<'f, 'v>(flow: &'f Flow<'v>, side: &Side) -> &'f Peer<'v> {
    match side.direction {
        Direction::Egress => &flow.dst,
        Direction::Ingress => &flow.src,
    }
}

/// Other kinds of policies decide, too.
fn foreign(view: &View) -> Vec<String> {
    let mut by_heeder: BTreeMap<HeededBy, Vec<String>> = BTreeMap::new();
    for (kind, count) in view.foreign_policies() {
        let found = by_heeder.entry(kind.heeded_by).or_default();
        found.push(format!("{count} {kind}"));
    }
    let sentence = |(heeded_by, kinds): (HeededBy, Vec<String>)| {
        let kinds = kinds.join(", ");
        match heeded_by {
            HeededBy::Cni => {
                format!("not judged, though the CNI plugin heeds them: {kinds}")
            }
            HeededBy::Mesh => {
                format!("not judged, though the proxies of a service mesh heed them: {kinds}")
            }
            HeededBy::Something => format!(
                "not judged, as whydrop does not know what they mean, though they select pods: \
                 {kinds}"
            ),
        }
    };
    by_heeder.into_iter().map(sentence).collect()
}

/// A pod that is isolated for egress needs DNS before anything else.
fn dns(view: &View, flow: &Flow<'_>, answer: &Answer) -> Option<String> {
    let pod = flow.src.as_pod()?;
    if answer.egress.isolated != Some(true) {
        return None;
    }
    let servers: Vec<&Pod> = dns_servers(view).collect();
    let asks = |server: &&Pod| {
        let port = server
            .ports
            .iter()
            .find(|port| port.protocol == Protocol::Udp && port.name.starts_with("dns"))
            .map_or(53, |port| port.port);
        let query = Flow {
            src: Peer::pod(pod),
            dst: Peer::pod(server),
            protocol: Protocol::Udp,
            port: Some(port),
        };
        evaluate(view, &query).egress.outcome == Outcome::NotAdmitted
    };
    let to = match servers.as_slice() {
        [] => {
            // Where DNS is served is not known: is there any rule for it?
            let port = |policy: &Policy| {
                policy.egress.iter().flatten().any(|rule| {
                    rule.ports.is_empty()
                        || rule.ports.iter().any(|rule| {
                            let is_53 = match &rule.port {
                                None | Some(PortSpec::Named(_)) => true,
                                Some(PortSpec::Range(first, last)) => {
                                    (*first..=*last).contains(&53)
                                }
                            };
                            rule.protocol == Protocol::Udp && is_53
                        })
                })
            };
            if policies_of(view, &answer.egress).any(port) {
                return None;
            }
            "anybody".to_owned()
        }
        servers if servers.iter().all(asks) => servers[0].id.to_string(),
        _ => return None,
    };
    Some(format!(
        "{} is isolated for egress, and no rule admits DNS (UDP 53 to {to}): it resolves no names, \
         whatever else is admitted",
        pod.id
    ))
}

fn dns_servers(view: &View) -> impl Iterator<Item = &Pod> {
    view.pods_in("kube-system").filter(|pod| {
        !pod.ended
            && pod
                .labels
                .get("k8s-app")
                .is_some_and(|app| app == "kube-dns")
    })
}

/// Two elements where one was perhaps meant: `- namespaceSelector` and `- podSelector`.
fn alternatives(policy: &Policy, direction: Direction) -> Vec<String> {
    let rules = policy.rules(direction).unwrap_or_default();
    let mut found = Vec::new();
    for (n, rule) in rules.iter().enumerate() {
        let namespaces = rule.peers.iter().find_map(|element| match element {
            Element::Pods {
                namespaces: Some(selector),
                pods: None,
            } => Some(selector),
            _ => None,
        });
        let pods = rule.peers.iter().find_map(|element| match element {
            Element::Pods {
                namespaces: None,
                pods: Some(selector),
            } => Some(selector),
            _ => None,
        });
        if let (Some(namespaces), Some(pods)) = (namespaces, pods) {
            let some = |text: String| {
                if text.is_empty() {
                    "{}".to_owned()
                } else {
                    text
                }
            };
            found.push(format!(
                "{} rule {} of {} has namespaceSelector {} and podSelector {} as two elements: \
                 each admits by itself (OR); to require both, write them into one element",
                direction.name(),
                n + 1,
                policy.id,
                some(namespaces.to_string()),
                some(pods.to_string()),
            ));
        }
    }
    found
}

/// Implementations that do not know `endPort` admit the first port alone.
fn end_port(policy: &Policy, flow: &Flow<'_>, side: &Side) -> Option<String> {
    let port = flow
        .port
        .filter(|_| side.admitted_by.contains(&policy.id))?;
    let rules = policy
        .rules(side.direction)?
        .iter()
        .flat_map(|rule| &rule.ports);
    rules
        .filter(|rule| rule.protocol == flow.protocol)
        .find_map(|rule| match rule.port {
            Some(PortSpec::Range(first, last)) if first < port && port <= last => Some(format!(
                "{} names port {port} by the range {first}-{last} (endPort): a CNI plugin that \
                 does not know endPort admits {first} alone",
                policy.id
            )),
            _ => None,
        })
}

/// Policies next to the flow that do nothing, or less than they seem to.
fn idle(view: &View, flow: &Flow<'_>) -> Vec<String> {
    let ends = [&flow.src, &flow.dst];
    let namespaces: BTreeSet<&str> = ends
        .iter()
        .filter_map(|end| Some(end.as_pod()?.id.namespace.as_str()))
        .collect();
    let mut found = Vec::new();
    for policy in namespaces
        .into_iter()
        .flat_map(|namespace| view.policies_in(namespace))
    {
        let ObjectName { namespace, .. } = &policy.id;
        let selects = |pod: &Pod| policy.pods.selects(Known::All(&pod.labels)) == Some(true);
        if view.knows(Kind::Pod)
            && !view
                .pods_in(namespace)
                .any(|pod| !pod.ended && selects(pod))
        {
            found.push(format!(
                "{} selects no pod: none in {namespace} is {}",
                policy.id, policy.pods
            ));
        }
        if let Some(direction) = policy.idle_rules {
            found.push(format!(
                "{} has {} rules, but its policyTypes does not list that direction: they do \
                 nothing",
                policy.id,
                direction.name()
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests;
