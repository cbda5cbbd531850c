//! A refused flow in words: which policies refuse it, how near they come to admitting it, and the
//! manifests that would.

use super::{Answer, Flow, Outcome, Side, manifests};
use crate::{
    cluster::{policy::Direction, view::View},
    model::{Fix, PolicyVerdict},
};

/// How many policies are named. One namespace can have thousands.
const POLICIES: usize = 50;

/// Why the policies refuse a flow, and what would admit it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// One sentence.
    pub(crate) why: String,
    /// How near each rule comes to admitting the flow, the nearest first.
    pub(crate) near_misses: Vec<String>,
    /// Manifests that admit just this flow.
    pub(crate) fix: Vec<Fix>,
    /// The side that refuses; egress where both do.
    pub(crate) direction: Direction,
    /// The isolated pod, `namespace/name`.
    pub(crate) pod: String,
    /// The policies that isolate it, `namespace/name` each.
    pub(crate) policies: Vec<String>,
    /// The rule that would admit the flow, in words.
    pub(crate) missing: String,
}

impl Refusal {
    /// The refusal, if the flow is refused.
    #[must_use]
    pub(crate) fn of(view: &View, flow: &Flow<'_>, answer: &Answer) -> Option<Self> {
        let sides = [&answer.egress, &answer.ingress];
        let refusing: Vec<&Side> = sides
            .into_iter()
            .filter(|side| side.outcome == Outcome::NotAdmitted)
            .collect();
        let first = refusing.first()?;
        let policies = first.policies.iter().map(ToString::to_string);
        let mut near: Vec<String> = refusing.iter().flat_map(|side| near_misses(side)).collect();
        if let Some(more @ 1..) = first.policies.len().checked_sub(POLICIES) {
            near.push(match more {
                1 => "1 more NetworkPolicy isolates it, too".to_owned(),
                more => format!("{more} more NetworkPolicies isolate it, too"),
            });
        }
        let why: Vec<_> = refusing
            .iter()
            .map(|side| {
                format!(
                    "{} is isolated for {} and no rule admits the flow",
                    pod(side),
                    side.direction.name()
                )
            })
            .collect();
        Some(Self {
            why: why.join("; "),
            near_misses: near,
            fix: manifests(view, flow, answer),
            direction: first.direction,
            pod: pod(first),
            policies: policies.take(POLICIES).collect(),
            missing: first.missing.clone().unwrap_or_default(),
        })
    }
}

/// How near each rule of a side that refuses comes to admitting the flow, the nearest first.
#[must_use]
pub(crate) fn near_misses(side: &Side) -> Vec<String> {
    if side.outcome != Outcome::NotAdmitted {
        return Vec::new();
    }
    let words = side.misses.iter().map(|miss| match miss.rule {
        Some(rule) => format!("rule {rule} of {} {}", miss.policy, miss.words),
        None => format!("{} {}", miss.policy, miss.words),
    });
    let more = side.more_misses;
    let more = (more > 0).then(|| format!("{more} more that are no nearer"));
    words.chain(more).collect()
}

fn pod(side: &Side) -> String {
    side.pod
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default()
}

impl From<&Refusal> for PolicyVerdict {
    fn from(refusal: &Refusal) -> Self {
        Self {
            direction: refusal.direction,
            pod: refusal.pod.clone(),
            policies: refusal.policies.clone(),
            missing: refusal.missing.clone(),
        }
    }
}
