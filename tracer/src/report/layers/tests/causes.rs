//! Several causes in one trace.

use super::*;
use crate::model::{PolicyDirection, PolicyVerdict};

/// An attempt that this rule has stopped.
fn by_rule(n: u64, rule: &str) -> AttemptReport {
    let verdict = Verdict {
        subject: rule.to_owned(),
        ..Verdict::new(
            Point::Firewall,
            Confidence::Confirmed,
            format!("dropped by {rule}"),
        )
    };
    AttemptReport {
        verdict: Some(verdict),
        ..tcp(n, Outcome::Unanswered)
    }
}

#[test]
fn each_rule_is_credited_with_its_own_attempts() {
    let attempts = [
        by_rule(1, "rule 1"),
        by_rule(2, "rule 2"),
        by_rule(3, "rule 2"),
    ];
    let layers = of(&attempts);
    let rows = layers.rows(true, true);
    let firewall = rows
        .iter()
        .find(|row| row.layer == Layer::Firewall)
        .unwrap();
    assert_eq!(
        firewall.evidence.as_deref(),
        Some("dropped by rule 2 (2 attempts); dropped by rule 1 (1 attempt)")
    );
    assert_eq!(
        firewall.verdict.as_deref(),
        Some("firewall (confirmed), 3 attempts")
    );
    let all = layers.verdicts();
    let all: Vec<_> = all
        .iter()
        .map(|one| (one.verdict.subject.as_str(), one.attempts))
        .collect();
    assert_eq!(all, [("rule 2", 2), ("rule 1", 1)]);
}

/// An attempt that these policies have refused.
fn by_policies(n: u64, policies: &[&str]) -> AttemptReport {
    let verdict = Verdict {
        // The enforcer's rule at the pod is the same, whichever policies isolate it.
        subject: "the reject at the end of the pod's chain".to_owned(),
        policy: Some(PolicyVerdict {
            direction: PolicyDirection::Ingress,
            pod: "shop/cart-1".to_owned(),
            policies: policies.iter().map(|&name| name.to_owned()).collect(),
            missing: String::new(),
        }),
        ..Verdict::new(Point::Policy, Confidence::Confirmed, "refused")
    };
    AttemptReport {
        verdict: Some(verdict),
        ..tcp(n, Outcome::Unanswered)
    }
}

/// One policy is replaced by another during the trace, and the client is refused by each.
#[test]
fn other_policies_are_another_cause() {
    let (deny, only_web) = (["shop/default-deny-ingress"], ["shop/cart-only-web"]);
    let layers = of(&[
        by_policies(1, &deny),
        by_policies(2, &only_web),
        by_policies(3, &only_web),
    ]);
    let all = layers.verdicts();
    let all: Vec<_> = all
        .iter()
        .map(|one| {
            let policy = one.verdict.policy.as_ref().expect("a policy");
            (policy.policies[0].as_str(), one.attempts)
        })
        .collect();
    assert_eq!(all, [(only_web[0], 2), (deny[0], 1)]);
}

#[test]
fn a_drop_of_another_kind_is_another_cause() {
    let mut layers = of(&[failed(1, Point::Policy, Confidence::Confirmed)]);
    layers.dropped(&drop_at(Point::Firewall, 4));
    let points = |layers: &Layers| {
        let all = layers.verdicts().into_iter();
        all.map(|one| one.verdict.point).collect::<Vec<_>>()
    };
    assert_eq!(points(&layers), [Point::Policy, Point::Firewall]);
    // The attempt's own verdict says it better than that of its packet.
    let mut own = drop_at(Point::Policy, 1);
    own.verdict.rule = Some("netfilter".into());
    layers.dropped(&own);
    assert_eq!(points(&layers), [Point::Policy, Point::Firewall]);
}
