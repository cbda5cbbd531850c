//! The verdict on a flow that nothing was seen of: what the cluster's objects say about it.

use super::rule::Rule;
use crate::{
    cluster::view::View,
    model::{Confidence, Point, PolicyVerdict, Verdict},
    policy::{Answer, Flow, Refusal, traps},
};

/// How it is asked.
type OnFlow = fn(&View, &Flow<'_>, &Answer) -> Option<Verdict>;

/// The rules of `whydrop explain`.
pub(super) const RULES: &[Rule<OnFlow>] = &[Rule {
    name: "policy-by-objects",
    points: &[Point::Policy],
    needs: &[],
    evidence: "the NetworkPolicies that isolate a pod of the flow, of which none admits it",
    refuted_by: "a NetworkPolicy that admits the flow",
    cannot_tell: "whether anything enforces them: `likely` at most, and `possible` where nothing \
                  on the nodes is known to enforce policies",
    applies: refused,
}];

/// Judges a flow by the objects alone; `None` where they do not refuse it.
pub(crate) fn judge(view: &View, flow: &Flow<'_>, answer: &Answer) -> Option<Verdict> {
    RULES.iter().find_map(|rule| {
        let verdict = (rule.applies)(view, flow, answer)?;
        Some(Verdict {
            rule: Some(rule.name.into()),
            ..verdict
        })
    })
}

fn refused(view: &View, flow: &Flow<'_>, answer: &Answer) -> Option<Verdict> {
    let refusal = Refusal::of(view, flow, answer)?;
    // It follows from the objects; it was not seen to happen.
    let confidence = match traps::enforces_nothing(view) {
        Some(_) => Confidence::Possible,
        None => Confidence::Likely,
    };
    Some(Verdict {
        policy: Some(PolicyVerdict::from(&refusal)),
        evidence: refusal.near_misses,
        fix: refusal.fix,
        ..Verdict::new(Point::Policy, confidence, refusal.why)
    })
}
