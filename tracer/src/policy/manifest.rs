//! A NetworkPolicy that admits one refused flow, and as little else as selectors can.

use std::{collections::BTreeSet, fmt::Write as _, net::IpAddr};

use super::{
    Answer, Flow, Outcome,
    peer::{Party, Peer},
};
use crate::{
    cluster::{
        objects::{Labels, NAMESPACE_NAME, ObjectName, Pod},
        policy::{Direction, Protocol},
        view::View,
    },
    model::{Fix, Manifest, shell::Command},
};

/// Labels that every rollout, or every pod of a workload, has anew: a policy that asks for them
/// stops to work by itself.
const FLEETING: [&str; 8] = [
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-completion-index",
    "controller-revision-hash",
    "controller-uid",
    "pod-template-generation",
    "pod-template-hash",
    "statefulset.kubernetes.io/pod-name",
];

/// The labels of a pod that its successor will have, too.
pub(super) fn lasting(labels: &Labels) -> impl Iterator<Item = (&String, &String)> {
    labels
        .iter()
        .filter(|(key, _)| !FLEETING.contains(&key.as_str()))
}

/// The policies that admit a refused flow: one for each side that refuses it.
#[must_use]
pub fn manifests(view: &View, flow: &Flow<'_>, answer: &Answer) -> Vec<Fix> {
    [&answer.egress, &answer.ingress]
        .into_iter()
        .filter(|side| side.outcome == Outcome::NotAdmitted)
        .filter_map(|side| {
            let (pod, peer) = match side.direction {
                Direction::Egress => (flow.src.as_pod()?, &flow.dst),
                Direction::Ingress => (flow.dst.as_pod()?, &flow.src),
            };
            manifest(view, flow, pod, peer, side.direction)
        })
        .collect()
}

fn manifest(
    view: &View,
    flow: &Flow<'_>,
    pod: &Pod,
    peer: &Peer<'_>,
    direction: Direction,
) -> Option<Fix> {
    if flow.protocol == Protocol::Icmp {
        return None;
    }
    let (word, title, preposition) = match direction {
        Direction::Egress => ("egress", "Egress", "to"),
        Direction::Ingress => ("ingress", "Ingress", "from"),
    };
    let id = ObjectName::new(&pod.id.namespace, name(flow, pod, peer, direction));
    let mut yaml = format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: {}\n  \
         namespace: {}\nspec:\n",
        quoted(&id.name),
        quoted(&id.namespace)
    );
    yaml += "  podSelector:";
    selector(&mut yaml, view, pod, 4);
    yaml += &format!("  policyTypes:\n  - {title}\n  {word}:\n  - {preposition}:\n");
    match &peer.party {
        Party::Pod(other) => {
            yaml += "    - podSelector:";
            selector(&mut yaml, view, other, 8);
            if other.id.namespace != pod.id.namespace {
                // In the same element: both must match.
                yaml += &format!(
                    "      namespaceSelector:\n        matchLabels:\n          {}: {}\n",
                    quoted(NAMESPACE_NAME),
                    quoted(&other.id.namespace)
                );
            }
        }
        Party::Outside | Party::Host { .. } => {
            for address in peer.addresses() {
                let net = ipnet::IpNet::from(address).to_string();
                yaml += &format!("    - ipBlock:\n        cidr: {}\n", quoted(&net));
            }
        }
        Party::Service(_) | Party::Unknown(_) => return None,
    }
    yaml += &format!("    ports:\n    - protocol: {}\n", flow.protocol);
    if let Some(port) = flow.port {
        yaml += &format!("      port: {port}\n");
    }
    let file = format!("{}.yaml", id.name);
    let remove = Command::new("kubectl delete networkpolicy -n")
        .arg(&id.namespace)
        .arg(&id.name);
    Some(Fix::manifest(
        Manifest {
            command: Command::new("kubectl apply -f").arg(&file),
            file,
            yaml,
        },
        remove,
    ))
}

/// Selects the pod and its like: all its labels, and none that others have on top of them.
fn selector(yaml: &mut String, view: &View, pod: &Pod, indent: usize) {
    let mine: Vec<_> = lasting(&pod.labels).collect();
    let others: BTreeSet<&String> = view
        .pods_in(&pod.id.namespace)
        .filter(|other| {
            mine.iter()
                .all(|(key, value)| other.labels.get(*key) == Some(*value))
        })
        .flat_map(|other| lasting(&other.labels))
        .map(|(key, _)| key)
        .filter(|key| !pod.labels.contains_key(*key))
        .collect();
    if mine.is_empty() && others.is_empty() {
        *yaml += " {}\n";
        return;
    }
    *yaml += "\n";
    let blanks = " ".repeat(indent);
    let mut line = |text: &str| writeln!(yaml, "{blanks}{text}").unwrap_or_default();
    if !mine.is_empty() {
        line("matchLabels:");
        for (key, value) in mine {
            line(&format!("  {}: {}", quoted(key), quoted(value)));
        }
    }
    if !others.is_empty() {
        line("matchExpressions:");
        for key in others {
            line(&format!("- key: {}", quoted(key)));
            line("  operator: DoesNotExist");
        }
    }
}

/// `true`, `no` and `1e3` are strings here; a JSON string is one in YAML, too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A name that says what it is for, and is a DNS label.
fn name(flow: &Flow<'_>, pod: &Pod, peer: &Peer<'_>, direction: Direction) -> String {
    let other = match &peer.party {
        Party::Pod(other) => other.id.name.clone(),
        _ => peer
            .addresses()
            .first()
            .map_or_else(String::new, IpAddr::to_string),
    };
    let (from, to) = match direction {
        Direction::Egress => (&pod.id.name, &other),
        Direction::Ingress => (&other, &pod.id.name),
    };
    let shortened = |text: &str| {
        let text: String = text
            .chars()
            .map(|c| {
                if c.is_ascii_lowercase() || c.is_ascii_digit() {
                    c
                } else {
                    '-'
                }
            })
            .take(16)
            .collect();
        text.trim_matches('-').to_owned()
    };
    let port = flow.port.map(|port| format!("-{port}")).unwrap_or_default();
    format!(
        "allow-{}-{}-to-{}-{}{port}",
        direction.name(),
        shortened(from),
        shortened(to),
        flow.protocol.name().to_ascii_lowercase(),
    )
}
