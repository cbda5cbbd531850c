//! One side of a flow: is the pod isolated, and does some rule admit it?

use super::{
    Flow, Protocol,
    element::Question,
    matching::{Detail, Match, Near},
    peer::{Party, Peer},
    ports,
};
use crate::cluster::{
    objects::{ObjectName, Pod},
    policy::{Direction, Policy, Rule},
    selector::Known,
    view::{Kind, View},
};
use crate::words;

/// What the policies make of one side of a flow.
#[derive(Debug, Clone)]
pub(crate) struct Side {
    /// Which side.
    pub(crate) direction: Direction,
    /// The pod on this side; `None` where there is none that policies could isolate.
    pub(crate) pod: Option<ObjectName>,
    /// Whether the pod is isolated; `None` if undecidable.
    pub(crate) isolated: Option<bool>,
    /// The answer.
    pub(crate) outcome: Outcome,
    /// The policies that isolate the pod, by name.
    pub(crate) policies: Vec<ObjectName>,
    /// Those of them that admit the flow.
    pub(crate) admitted_by: Vec<ObjectName>,
    /// Where nothing admits it: how near each rule comes, the nearest first, and no more than
    /// anyone reads.
    pub(crate) misses: Vec<Miss>,
    /// How many rules miss it besides.
    pub(crate) more_misses: usize,
    /// Where nothing admits it: the rule that would, in words.
    pub(crate) missing: Option<String>,
    /// Why it is undecidable, or why it passes though no rule admits it.
    pub(crate) because: Option<String>,
}

/// The four answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// No policy isolates the pod, or there is none.
    NotIsolated,
    /// The pod is isolated, and the flow is let through.
    Admitted,
    /// The pod is isolated, and nothing admits the flow.
    NotAdmitted,
    /// Undecidable.
    Undecidable,
}

/// How near one rule comes to admitting a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Miss {
    /// The policy.
    pub(crate) policy: ObjectName,
    /// Which of its rules, from 1; `None` where it has none.
    pub(crate) rule: Option<usize>,
    /// The miss, in words.
    pub(crate) words: String,
}

/// How many misses of a side are put into words.
pub(crate) const MISSES: usize = 10;

impl Side {
    /// Whether this side lets the flow pass; `None` if undecidable.
    #[must_use]
    pub(crate) fn allowed(&self) -> Option<bool> {
        match self.outcome {
            Outcome::NotIsolated | Outcome::Admitted => Some(true),
            Outcome::NotAdmitted => Some(false),
            Outcome::Undecidable => None,
        }
    }

    fn open(direction: Direction) -> Self {
        Self {
            direction,
            pod: None,
            isolated: Some(false),
            outcome: Outcome::NotIsolated,
            policies: Vec::new(),
            admitted_by: Vec::new(),
            misses: Vec::new(),
            more_misses: 0,
            missing: None,
            because: None,
        }
    }

    fn undecidable(self, because: String) -> Self {
        Self {
            outcome: Outcome::Undecidable,
            because: Some(because),
            ..self
        }
    }
}

/// Judges one side, as if there were some more policies.
pub(super) fn judge(view: &View, flow: &Flow<'_>, direction: Direction, more: &[&Policy]) -> Side {
    let (this, peer) = match direction {
        Direction::Egress => (&flow.src, &flow.dst),
        Direction::Ingress => (&flow.dst, &flow.src),
    };
    let side = Side::open(direction);
    let pod = match &this.party {
        Party::Pod(pod) => *pod,
        Party::Outside | Party::Host { .. } => return side,
        Party::Unknown(because) => {
            return Side {
                isolated: None,
                ..side
            }
            .undecidable(because.clone());
        }
        Party::Service(service) => {
            let because = format!("which endpoint of Service {} is meant", service.id);
            return Side {
                isolated: None,
                ..side
            }
            .undecidable(because);
        }
    };
    let mut policies = isolating(view, pod, direction);
    let more = more.iter().copied();
    policies.extend(more.filter(|policy| isolates(policy, pod, direction)));
    let unreadable = view
        .unreadable_in(Kind::NetworkPolicy, &pod.id.namespace)
        .next();
    let doubt = match unreadable {
        _ if !view.knows(Kind::NetworkPolicy) => Some(
            "no NetworkPolicies are known: the sources hold none, not even an empty list".into(),
        ),
        Some(id) => Some(format!("NetworkPolicy {id} could not be read")),
        None => None,
    };
    let isolated = !policies.is_empty();
    let side = Side {
        pod: Some(pod.id.clone()),
        isolated: if isolated || doubt.is_none() {
            Some(isolated)
        } else {
            None
        },
        policies: policies.iter().map(|policy| policy.id.clone()).collect(),
        ..side
    };
    if let Some(because) = exemption(pod, peer, direction) {
        return Side {
            outcome: if isolated {
                Outcome::Admitted
            } else {
                Outcome::NotIsolated
            },
            because: isolated.then_some(because),
            ..side
        };
    }
    if !isolated {
        return match doubt {
            Some(doubt) => side.undecidable(doubt),
            None => side,
        };
    }
    if flow.protocol == Protocol::Icmp {
        return side
            .undecidable("what policies mean for ICMP is the implementation's choice".to_owned());
    }
    let side = match admit(view, flow, peer, &policies, side) {
        // What could not be read might have admitted it.
        side if side.outcome == Outcome::NotAdmitted && doubt.is_some() => {
            side.undecidable(doubt.unwrap_or_default())
        }
        side => side,
    };
    let to_own_node = direction == Direction::Egress && peer.is_node_of(pod);
    match side.outcome {
        Outcome::NotAdmitted if to_own_node => side.undecidable(
            "no rule admits it, but many implementations let a pod reach its own node".to_owned(),
        ),
        Outcome::NotAdmitted => Side {
            missing: Some(missing(view, flow, pod, peer, direction)),
            ..side
        },
        _ => side,
    }
}

/// The policies that isolate a pod, by name.
pub(super) fn isolating<'v>(view: &'v View, pod: &'v Pod, direction: Direction) -> Vec<&'v Policy> {
    view.policies_in(&pod.id.namespace)
        .filter(|policy| isolates(policy, pod, direction))
        .collect()
}

/// Whether a policy isolates a pod for a direction.
pub(super) fn isolates(policy: &Policy, pod: &Pod, direction: Direction) -> bool {
    policy.id.namespace == pod.id.namespace
        && policy.rules(direction).is_some()
        && policy.pods.selects(Known::All(&pod.labels)) == Some(true)
}

/// Traffic that no policy can refuse.
fn exemption(pod: &Pod, peer: &Peer<'_>, direction: Direction) -> Option<String> {
    if peer.as_pod().is_some_and(|other| other.id == pod.id) {
        return Some("a pod always reaches itself".to_owned());
    }
    (direction == Direction::Ingress && peer.is_node_of(pod))
        .then(|| "traffic from the pod's own node is always let in".to_owned())
}

/// Looks for a rule that admits the flow.
fn admit(view: &View, flow: &Flow<'_>, peer: &Peer<'_>, policies: &[&Policy], side: Side) -> Side {
    let direction = side.direction;
    let try_rule = |policy: &Policy, rule: &Rule, detail| {
        let question = Question {
            view,
            peer,
            direction,
            namespace: &policy.id.namespace,
            detail,
        };
        ask(&question, flow, rule)
    };
    let mut unknown = None;
    let mut misses = Vec::new();
    let mut admitted_by = Vec::new();
    for policy in policies {
        let rules = policy.rules(direction).unwrap_or_default();
        if rules.is_empty() {
            misses.push((0, *policy, None));
        }
        for (n, rule) in rules.iter().enumerate() {
            match try_rule(policy, rule, Detail::Nearness) {
                Match::Yes => {
                    admitted_by.push(policy.id.clone());
                    break;
                }
                Match::No(near) => misses.push((near.nearness, *policy, Some(n))),
                Match::Unknown(because) => unknown = unknown.or(Some(because)),
            }
        }
    }
    if !admitted_by.is_empty() {
        return Side {
            outcome: Outcome::Admitted,
            admitted_by,
            ..side
        };
    }
    misses.sort_by_key(|(nearness, ..)| std::cmp::Reverse(*nearness));
    let words = |policy: &Policy, n: usize| {
        let rule = policy.rules(direction).unwrap_or_default().get(n)?;
        match try_rule(policy, rule, Detail::Words) {
            Match::No(near) => Some(near.words),
            Match::Yes | Match::Unknown(_) => None,
        }
    };
    let in_words = misses.iter().take(MISSES).map(|(_, policy, rule)| Miss {
        policy: policy.id.clone(),
        rule: rule.map(|n| n + 1),
        words: match rule {
            Some(n) => words(policy, *n).unwrap_or_default(),
            None => format!("has no {} rule and admits nothing", direction.name()),
        },
    });
    let side = Side {
        outcome: Outcome::NotAdmitted,
        misses: in_words.collect(),
        more_misses: misses.len().saturating_sub(MISSES),
        ..side
    };
    match unknown {
        Some(because) => side.undecidable(because),
        None => side,
    }
}

/// Whether a rule admits the flow: one of its peers, and one of its ports.
fn ask(question: &Question<'_, '_>, flow: &Flow<'_>, rule: &Rule) -> Match {
    let detail = question.detail;
    let ports = ports::ask(flow, &rule.ports, detail);
    match (peers(question, rule), ports) {
        (Match::Yes, Match::No(near)) => detail.miss(near.nearness + 4, || {
            format!(
                "admits the {}, but {}",
                question.direction.peer(),
                near.words
            )
        }),
        (Match::No(near), Match::No(port)) => detail.miss(near.nearness, || {
            format!("{}; and {}", near.words, port.words)
        }),
        (Match::No(near), _) => Match::No(Near {
            nearness: near.nearness + 4,
            ..near
        }),
        (Match::Unknown(_), Match::No(near)) => Match::No(near),
        (Match::Yes, other) => other,
        (unknown @ Match::Unknown(_), _) => unknown,
    }
}

fn peers(question: &Question<'_, '_>, rule: &Rule) -> Match {
    if rule.peers.is_empty() {
        return Match::Yes;
    }
    let mut unknown = None;
    let mut nearest: Option<Near> = None;
    for element in &rule.peers {
        match question.ask(element) {
            Match::Yes => return Match::Yes,
            Match::Unknown(because) => unknown = unknown.or(Some(because)),
            Match::No(near) => {
                if nearest
                    .as_ref()
                    .is_none_or(|best| near.nearness > best.nearness)
                {
                    nearest = Some(near);
                }
            }
        }
    }
    match (unknown, nearest) {
        (Some(because), _) => Match::Unknown(because),
        (None, Some(mut near)) => {
            if let more @ 1.. = rule.peers.len() - 1
                && question.detail == Detail::Words
            {
                near.words += &format!(" ({})", words::count(more as u64, "other peer"));
            }
            Match::No(near)
        }
        (None, None) => Match::Yes,
    }
}

/// How many labels of a pod are named.
const LABELS: usize = 10;

/// The rule that would admit the flow, in words.
fn missing(
    view: &View,
    flow: &Flow<'_>,
    pod: &Pod,
    peer: &Peer<'_>,
    direction: Direction,
) -> String {
    let port = match flow.port {
        Some(port) => format!("{} {port}", flow.protocol),
        None => flow.protocol.to_string(),
    };
    let other = match &peer.party {
        Party::Pod(other) if other.labels.is_empty() => {
            format!("pod {}, which has no labels", other.id)
        }
        Party::Pod(other) => {
            let stable = super::manifest::labels::stable(view, other).into_iter();
            let labels: Vec<_> = stable
                .map(|(key, value)| format!("{key}={value}"))
                .take(LABELS)
                .collect();
            let labels = labels.join(",");
            if other.id.namespace == pod.id.namespace {
                format!("podSelector {labels} in this namespace")
            } else {
                format!("podSelector {labels} in namespace {}", other.id.namespace)
            }
        }
        _ => {
            let addresses: Vec<_> = peer.addresses().iter().map(ToString::to_string).collect();
            format!("ipBlock {}", addresses.join(", "))
        }
    };
    let (verb, word) = match direction {
        Direction::Ingress => ("from", "ingress"),
        Direction::Egress => ("to", "egress"),
    };
    format!(
        "an {word} rule for {} that admits {port} {verb} {other}",
        pod.id
    )
}
