//! NetworkPolicies that admit one refused flow, and as little else as selectors can.
//!
//! - `labels`: which labels distinguish a pod from others, and are stable
//! - `choice`: the selector that selects a pod and the fewest others
//! - `name`: a name that no other policy has
//! - `yaml`: the policy as a file
//!
//! A proposed policy selects only pods that are isolated by another one, so that it only adds. It is
//! tried in the evaluator before it is shown: one that does not admit the flow is not.

mod choice;
pub(super) mod labels;
mod name;
mod yaml;

use ipnet::IpNet;

use self::choice::Choice;
use super::{
    Answer, Flow, Outcome, evaluate_with,
    peer::{Party, Peer},
    side::isolating,
};
use crate::{
    cluster::{
        objects::{NAMESPACE_NAME, ObjectName, Pod},
        policy::{Direction, Element, Policy, PortRule, PortSpec, Protocol, Rule},
        selector::{Operator, Requirement, Selector},
        view::View,
    },
    model::{Fix, Manifest, shell::Command},
    words,
};

/// A policy that admits the flow on one side, and what else it admits.
struct Proposal {
    direction: Direction,
    policy: Policy,
    also: Option<String>,
}

/// The policies that admit a refused flow: one for each side that refuses it.
#[must_use]
pub(crate) fn manifests(view: &View, flow: &Flow<'_>, answer: &Answer) -> Vec<Fix> {
    let refusing = [&answer.egress, &answer.ingress]
        .into_iter()
        .filter(|side| side.outcome == Outcome::NotAdmitted);
    let proposals: Vec<Proposal> = refusing
        .filter_map(|side| propose(view, flow, side.direction))
        .collect();
    let policies: Vec<&Policy> = proposals.iter().map(|one| &one.policy).collect();
    let then = evaluate_with(view, flow, &policies);
    let admits = |proposal: &Proposal| {
        let side = match proposal.direction {
            Direction::Egress => &then.egress,
            Direction::Ingress => &then.ingress,
        };
        side.outcome == Outcome::Admitted
    };
    proposals
        .iter()
        .filter(|one| admits(one))
        .map(fix)
        .collect()
}

fn propose(view: &View, flow: &Flow<'_>, direction: Direction) -> Option<Proposal> {
    let (pod, peer) = match direction {
        Direction::Egress => (flow.src.as_pod()?, &flow.dst),
        Direction::Ingress => (flow.dst.as_pod()?, &flow.src),
    };
    if flow.protocol == Protocol::Icmp {
        return None;
    }
    let isolating = isolating(view, pod, direction);
    let own = Choice::of_isolated(view, pod, &isolating)?;
    let (peers, other) = elements(view, pod, peer)?;
    let rule = Rule {
        peers,
        ports: vec![PortRule {
            protocol: flow.protocol,
            port: flow.port.map(|port| PortSpec::Range(port, port)),
        }],
    };
    let (ingress, egress) = match direction {
        Direction::Ingress => (Some(vec![rule]), None),
        Direction::Egress => (None, Some(vec![rule])),
    };
    let also = also(direction, &own.others, other.as_ref());
    let mut policy = Policy {
        id: ObjectName::new(&pod.id.namespace, ""),
        pods: own.selector,
        ingress,
        egress,
        idle_rules: None,
    };
    policy.id.name = name::of(view, flow, pod, peer, &policy, direction);
    Some(Proposal {
        direction,
        policy,
        also,
    })
}

/// The elements of `from` or `to` that admit the other end, and which pods else they do.
fn elements<'v>(
    view: &'v View,
    pod: &Pod,
    peer: &Peer<'v>,
) -> Option<(Vec<Element>, Option<Choice<'v>>)> {
    match &peer.party {
        Party::Pod(other) => {
            let choice = Choice::of_peer(view, other);
            let elsewhere = other.id.namespace != pod.id.namespace;
            let element = Element::Pods {
                // In the same element: both must match.
                namespaces: elsewhere.then(|| named(&other.id.namespace)),
                pods: Some(choice.selector.clone()),
            };
            Some((vec![element], Some(choice)))
        }
        Party::Outside | Party::Host { .. } => {
            let block = |address| Element::Block {
                net: IpNet::from(address),
                except: Vec::new(),
            };
            let blocks: Vec<_> = peer.addresses().into_iter().map(block).collect();
            (!blocks.is_empty()).then_some((blocks, None))
        }
        Party::Service(_) | Party::Unknown(_) => None,
    }
}

fn named(namespace: &str) -> Selector {
    Selector {
        requirements: vec![Requirement {
            key: NAMESPACE_NAME.to_owned(),
            operator: Operator::In(vec![namespace.to_owned()]),
        }],
    }
}

/// How many pods are named.
const NAMED: usize = 3;

/// What else a policy admits, as its labels are those of other pods, too.
fn also(direction: Direction, own: &[&Pod], other: Option<&Choice<'_>>) -> Option<String> {
    let others = other.map(|choice| choice.others.as_slice());
    let (clients, servers) = match direction {
        Direction::Egress => (own, others.unwrap_or_default()),
        Direction::Ingress => (others.unwrap_or_default(), own),
    };
    let pods = |word: &str, pods: &[&Pod]| {
        let names: Vec<String> = pods
            .iter()
            .take(NAMED)
            .map(|pod| pod.id.to_string())
            .collect();
        let more = match pods.len() > NAMED {
            true => ", …",
            false => "",
        };
        let count = words::count(pods.len() as u64, "more pod");
        (!pods.is_empty()).then(|| format!("{word} {count} ({}{more})", names.join(", ")))
    };
    let parts: Vec<String> = [pods("from", clients), pods("to", servers)]
        .into_iter()
        .flatten()
        .collect();
    (!parts.is_empty()).then(|| format!("admits the same {}", parts.join(" and ")))
}

fn fix(proposal: &Proposal) -> Fix {
    let ObjectName { namespace, name } = &proposal.policy.id;
    let file = format!("{name}.yaml");
    let remove = Command::new("kubectl delete networkpolicy -n")
        .arg(namespace)
        .arg(name);
    let manifest = Manifest {
        command: Command::new("kubectl apply -f").arg(&file),
        file,
        also: proposal.also.clone(),
        yaml: yaml::of(&proposal.policy),
    };
    Fix::manifest(manifest, remove)
}
