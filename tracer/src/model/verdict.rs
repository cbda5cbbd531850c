//! Who lost a packet, how sure that is, and what to do.

use super::{Confidence, Fix, Point};

/// Who lost a packet, how sure that is, and how it is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Where it was lost.
    pub point: Point,
    /// How sure that is.
    pub confidence: Confidence,
    /// One sentence.
    pub why: String,
    /// Each a fact with its figure.
    pub evidence: Vec<String>,
    /// What would let the packets through; may be empty.
    pub fix: Vec<Fix>,
    /// The NetworkPolicy that refused the flow.
    pub policy: Option<PolicyVerdict>,
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
