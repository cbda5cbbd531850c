//! What a rule is, and what it finds.

use std::fmt::Display;

use crate::model::{Confidence, Fix, Point, PolicyVerdict, Refuted, Verdict};
#[cfg(feature = "trace")]
use crate::node::gather::Fact;

/// Without the node's half, there is no node to ask.
#[cfg(not(feature = "trace"))]
pub(super) enum Fact {}

/// One rule; `Test` is how it is asked.
pub(super) struct Rule<Test> {
    /// What verdicts, documentation and tests call it.
    pub(super) name: &'static str,
    /// The points it can lead to.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "a test makes docs/verdicts.md of it")
    )]
    pub(super) points: &'static [Point],
    /// What the node is asked for it.
    pub(super) needs: &'static [Fact],
    /// The evidence that it rests on.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "a test makes docs/verdicts.md of it")
    )]
    pub(super) evidence: &'static str,
    /// What would show that it is wrong.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "a test makes docs/verdicts.md of it")
    )]
    pub(super) refuted_by: &'static str,
    /// What it cannot tell apart.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "a test makes docs/verdicts.md of it")
    )]
    pub(super) cannot_tell: &'static str,
    /// How it is asked.
    pub(super) applies: Test,
}

impl<Test> Rule<Test> {
    /// This rule, which something has refuted.
    pub(super) fn refuted(&self, because: String) -> Refuted {
        Refuted {
            rule: self.name.into(),
            because,
        }
    }
}

/// What a rule has found.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) point: Point,
    pub(super) confidence: Confidence,
    pub(super) why: String,
    pub(super) subject: String,
    pub(super) evidence: Vec<String>,
    pub(super) fix: Vec<Fix>,
    pub(super) policy: Option<PolicyVerdict>,
}

impl Finding {
    pub(super) fn new(point: Point, confidence: Confidence, why: impl Into<String>) -> Self {
        Self {
            point,
            confidence,
            why: why.into(),
            subject: String::new(),
            evidence: Vec::new(),
            fix: Vec::new(),
            policy: None,
        }
    }

    /// What it is about: findings of one rule on the same things are the same, whatever figures
    /// are in their sentences.
    pub(super) fn about(mut self, things: &[&dyn Display]) -> Self {
        let things: Vec<_> = things.iter().map(ToString::to_string).collect();
        self.subject = things.join("\n");
        self
    }

    /// One more fact.
    pub(super) fn fact(&mut self, fact: impl Into<String>) {
        self.evidence.push(fact.into());
    }

    /// The verdict of the rule that has found this, or of none.
    pub(super) fn into_verdict(self, rule: Option<&'static str>) -> Verdict {
        Verdict {
            rule: rule.map(Into::into),
            point: self.point,
            confidence: self.confidence,
            why: self.why,
            subject: self.subject,
            evidence: self.evidence,
            fix: self.fix,
            policy: self.policy,
            refuted: Vec::new(),
        }
    }
}
