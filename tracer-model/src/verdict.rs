//! Who lost a packet, how sure that is, and what to do.

use std::{borrow::Cow, fmt};

use super::{Confidence, Fix, Point};

/// Who lost a packet, how sure that is, and how it is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The rule that gave it; `None` where none applied.
    pub rule: Option<RuleName>,
    /// Where it was lost.
    pub point: Point,
    /// How sure that is.
    pub confidence: Confidence,
    /// One sentence.
    pub why: String,
    /// What the rule has blamed: an interface, a route, another rule. For comparing only.
    pub subject: String,
    /// Each a fact with its figure.
    pub evidence: Vec<String>,
    /// What would let the packets through; may be empty.
    pub fix: Vec<Fix>,
    /// The NetworkPolicy that refused the flow.
    pub policy: Option<PolicyVerdict>,
    /// Rules that came into question, and were ruled out.
    pub refuted: Vec<Refuted>,
}

/// The name of a rule in `docs/verdicts.md`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleName(Cow<'static, str>);

/// A hypothesis that was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refuted {
    /// The rule that it is of.
    pub rule: RuleName,
    /// What refutes it.
    pub because: String,
}

/// What verdicts are compared by. Sentences are no key: they carry figures.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cause {
    /// Where packets are lost.
    pub point: Point,
    /// The rule that it comes from.
    pub rule: Option<RuleName>,
    /// What it has blamed.
    pub subject: String,
    /// The policies that it has blamed: an enforcer's rule at a pod may be the same for others.
    pub policies: Vec<String>,
}

impl Verdict {
    /// A verdict with nothing but a sentence.
    pub fn new(point: Point, confidence: Confidence, why: impl Into<String>) -> Self {
        Self {
            rule: None,
            point,
            confidence,
            why: why.into(),
            subject: String::new(),
            evidence: Vec::new(),
            fix: Vec::new(),
            policy: None,
            refuted: Vec::new(),
        }
    }

    /// The point, and how sure that is, in words.
    pub fn in_short(&self) -> String {
        format!("{} ({})", self.point.name(), self.confidence.name())
    }

    /// What it is compared by.
    pub fn cause(&self) -> Cause {
        Cause {
            point: self.point,
            rule: self.rule.clone(),
            subject: self.subject.clone(),
            policies: self.policies().to_vec(),
        }
    }

    fn policies(&self) -> &[String] {
        let policy = self.policy.as_ref();
        policy.map_or(&[], |policy| &policy.policies)
    }

    /// Whether it blames this.
    pub fn blames(&self, cause: &Cause) -> bool {
        (self.point, &self.rule, &self.subject) == (cause.point, &cause.rule, &cause.subject)
            && self.policies() == cause.policies
    }
}

impl RuleName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&'static str> for RuleName {
    fn from(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }
}

impl From<String> for RuleName {
    fn from(name: String) -> Self {
        Self(Cow::Owned(name))
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The NetworkPolicies that refused a flow.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyVerdict {
    /// Whether they refused it at its source or at its destination.
    pub direction: PolicyDirection,
    /// The isolated pod, `namespace/name`.
    pub pod: String,
    /// The policies that isolate it, `namespace/name` each.
    pub policies: Vec<String>,
    /// The rule that would admit the flow, in words.
    pub missing: String,
}

/// Which traffic of a pod a policy is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyDirection {
    /// Connections that the pod opens.
    Egress,
    /// Connections to the pod.
    Ingress,
}

impl PolicyDirection {
    /// `ingress` or `egress`, as the API writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::Ingress => "ingress",
        }
    }

    /// What the peer of a pod is in a connection of this direction.
    #[must_use]
    pub fn peer(self) -> &'static str {
        match self {
            Self::Egress => "server",
            Self::Ingress => "client",
        }
    }
}
