//! A name that says what a policy is for, and that no other policy has.

use std::net::IpAddr;

use super::yaml;
use crate::{
    cluster::{
        objects::{ObjectName, Pod},
        policy::{Direction, Policy},
        unreadable::UnreadableName,
        view::{Kind, View},
    },
    policy::{Flow, Party, Peer},
};

/// How much of each end's name is kept: with the rest, 63 characters in all.
const KEPT: usize = 14;

/// The name of a policy that admits a flow. It ends with a hash of what the policy says: the same
/// policy gets the same name, and another one another.
pub(super) fn of(
    view: &View,
    flow: &Flow<'_>,
    pod: &Pod,
    peer: &Peer<'_>,
    policy: &Policy,
    direction: Direction,
) -> String {
    let other = match &peer.party {
        Party::Pod(other) => short(other),
        _ => peer
            .addresses()
            .first()
            .map_or_else(String::new, IpAddr::to_string),
    };
    let own = short(pod);
    let (from, to) = match direction {
        Direction::Egress => (own, other),
        Direction::Ingress => (other, own),
    };
    let port = flow.port.map(|port| format!("-{port}")).unwrap_or_default();
    let words = format!(
        "allow-{}-{}-to-{}-{}{port}",
        direction.name(),
        part(&from),
        part(&to),
        flow.protocol.name().to_ascii_lowercase(),
    );
    let spec = yaml::spec(policy);
    let is_free = |name: &String| {
        let id = ObjectName::new(&policy.id.namespace, name);
        view.policy(&id).is_none() && {
            let unreadable = view.unreadable_as(Kind::NetworkPolicy, &id);
            unreadable.is_none_or(UnreadableName::is_nameless)
        }
    };
    let names = (0u32..).map(|salt| format!("{words}-{}", hash(&spec, salt)));
    names.take(16).find(is_free).unwrap_or(words)
}

/// What a pod is called among people: by what makes it, or what its label says.
fn short(pod: &Pod) -> String {
    let labels = ["app.kubernetes.io/name", "app", "k8s-app"];
    let label = labels.iter().find_map(|key| pod.labels.get(*key));
    match (pod.workload(), label) {
        (Some(workload), _) => workload.id.name,
        (None, Some(label)) => label.clone(),
        (None, None) => pod.id.name.clone(),
    }
}

/// A part of a DNS label.
fn part(text: &str) -> String {
    let fit = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_lowercase() || c.is_ascii_digit() => c,
        _ => '-',
    };
    let text: String = text.chars().map(fit).take(KEPT).collect();
    match text.trim_matches('-') {
        "" => "pod".to_owned(),
        text => text.to_owned(),
    }
}

/// Six digits of FNV-1a: short, and the same in every version of whydrop.
fn hash(text: &str, salt: u32) -> String {
    const PRIME: u32 = 0x0100_0193;
    let bytes = text.bytes().chain(salt.to_le_bytes());
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(PRIME);
    format!("{:06x}", bytes.fold(0x811c_9dc5, step) & 0xff_ffff)
}
