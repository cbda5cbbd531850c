//! Who dropped it, how sure that is, and what to do.

use serde::Serialize;

use crate::policy::Refusal;

/// Who dropped it, how sure we are, and how we know.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The dropping point.
    pub point: Point,
    /// How sure we are.
    pub confidence: Confidence,
    /// One sentence.
    pub why: String,
    /// Each a fact with its figure.
    pub evidence: Vec<String>,
    /// Commands or manifests; may be empty.
    pub fix: Vec<String>,
    /// The NetworkPolicy that refused the flow.
    pub policy: Option<PolicyVerdict>,
}

/// The NetworkPolicies that refused a flow.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyVerdict {
    /// `ingress` or `egress`.
    pub direction: String,
    /// The isolated pod, `namespace/name`.
    pub pod: String,
    /// The policies that isolate it, `namespace/name` each.
    pub policies: Vec<String>,
    /// The rule that would admit the flow, in words.
    pub missing: String,
}

impl From<&Refusal> for PolicyVerdict {
    fn from(refusal: &Refusal) -> Self {
        Self {
            direction: refusal.direction.to_owned(),
            pod: refusal.pod.clone(),
            policies: refusal.policies.clone(),
            missing: refusal.missing.clone(),
        }
    }
}

/// Where a packet was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Point {
    /// NetworkPolicy enforcement.
    Policy,
    /// Another netfilter, tc, XDP, cgroup or socket filter rule.
    Firewall,
    /// The encapsulation, or the path between nodes under it.
    Overlay,
    /// A packet larger than a hop takes.
    Mtu,
    /// Accept queue or SYN queue full.
    Listener,
    /// Nobody at that address, or a Service without endpoints.
    Endpoint,
    /// No, blackhole or forbidden route; forwarding off.
    Route,
    /// Conntrack table full, or state invalid.
    Conntrack,
    /// Reverse-path or martian source check.
    Rpfilter,
    /// Qdisc, backlog or ring overflow.
    Queue,
    /// Closed port, socket buffer.
    Socket,
    /// Corrupt packet.
    Checksum,
    /// Left this node, no drop seen here, nothing came back.
    OffNode,
    /// None of these can be shown.
    Unknown,
}

impl Point {
    /// The point's name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Firewall => "firewall",
            Self::Overlay => "overlay",
            Self::Mtu => "mtu",
            Self::Listener => "listener",
            Self::Endpoint => "endpoint",
            Self::Route => "route",
            Self::Conntrack => "conntrack",
            Self::Rpfilter => "rpfilter",
            Self::Queue => "queue",
            Self::Socket => "socket",
            Self::Checksum => "checksum",
            Self::OffNode => "off-node",
            Self::Unknown => "unknown",
        }
    }
}

/// How sure a verdict is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// One explanation among others.
    Possible,
    /// The best explanation of what was seen.
    Likely,
    /// Seen happening.
    Confirmed,
}

impl Confidence {
    /// The confidence's name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Confirmed => "confirmed",
        }
    }
}
