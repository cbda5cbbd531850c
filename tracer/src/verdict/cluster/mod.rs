//! What the cluster's objects add to a verdict that the node's own evidence has given.
//!
//! The kernel shows that a packet was dropped, and the ruleset by which rule. Whether a NetworkPolicy
//! wanted that, whether there is a pod behind an address, and what a Service leads to, only the
//! objects say. Each rule here looks at the verdict so far and may sharpen it; none turns silence
//! into proof.

mod apiserver;
mod direction;
mod endpoint;
mod ends;
mod overlay;
mod pod;
mod policy;
mod service;

use std::time::SystemTime;

use self::direction::opened;
pub(crate) use self::ends::{AttemptEnds, AttemptFlow, DropScene, DroppedPacket, Naming};
use super::rule::Rule;
use crate::{
    cluster::{live::Cluster, naming::Name, view::View},
    model::{Flow, Outcome, Point, Verdict},
};

/// A verdict's flow among the cluster's objects.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    /// What is known of the cluster.
    pub(crate) cluster: &'a Cluster,
    /// What this node is called, if that is known.
    pub(crate) node: Option<String>,
    /// The flow as it was opened, client to server, behind DNAT.
    pub(crate) flow: Flow,
    /// Whether it is certain that the flow was opened in this direction.
    pub(crate) is_opening: bool,
    /// The flow of the encapsulating packet.
    pub(crate) outer: Option<Flow>,
    /// Who opened it.
    pub(crate) src: Name,
    /// Who was to answer.
    pub(crate) dst: Name,
    /// What the client had asked for, if DNAT changed the destination.
    pub(crate) asked_for: Option<(Name, Option<u16>)>,
    /// What became of the attempt; `None` for a single drop.
    pub(crate) outcome: Option<Outcome>,
    /// Whether the packet was seen to reach the namespace of its destination, or to leave towards it.
    pub(crate) arrived: bool,
    /// When it happened.
    pub(crate) at: SystemTime,
    /// The UID of the pod whose program has refused the packet through NFQUEUE.
    pub(crate) program_pod: Option<String>,
}

impl Scene<'_> {
    fn view(&self) -> &View {
        self.cluster.view()
    }

    /// Whether nothing but silence speaks: no drop was seen, and no answer.
    fn is_silence(&self, verdict: &Verdict) -> bool {
        self.outcome == Some(Outcome::Unanswered)
            && matches!(verdict.point, Point::Unknown | Point::OffNode)
    }
}

/// How a rule is asked: it may add to the verdict so far, and says whether the verdict is its own
/// now.
type OnObjects = fn(&Scene<'_>, &mut Verdict) -> bool;

/// All rules, in the order in which they are asked.
pub(super) const RULES: &[Rule<OnObjects>] = &[
    Rule {
        name: "service-without-endpoints",
        points: &[Point::Endpoint],
        needs: &[],
        evidence: "the destination (before DNAT) is a Service's address, and its EndpointSlices hold no ready endpoint for the port; together with a drop by kube-proxy's rule, an ICMP error, or silence",
        refuted_by: "a ready endpoint for that port in an EndpointSlice of the Service",
        cannot_tell: "whether the endpoints have become unready only since",
        applies: endpoint::service_without_endpoints,
    },
    Rule {
        name: "no-local-endpoint",
        points: &[Point::Endpoint],
        needs: &[],
        evidence: "a drop by kube-proxy's rule, a Service whose traffic policy for the address that was asked is Local, and ready endpoints, all of them elsewhere",
        refuted_by: "a ready endpoint on this node",
        cannot_tell: "whether an endpoint of this node has become unready only since",
        applies: service::no_local_endpoint,
    },
    Rule {
        name: "service-untranslated",
        points: &[Point::Endpoint],
        needs: &[],
        evidence: "a packet to a ClusterIP that left this node, or was routed, with that address: the Service has no such port, no endpoint on this node, or no rule here; or no Service has the address, which is in the range of the Services",
        refuted_by: "a hop of the packet behind the translation",
        cannot_tell: "rules that kube-proxy has not written yet from rules that something removed",
        applies: service::untranslated,
    },
    Rule {
        name: "stale-endpoint",
        points: &[Point::Endpoint],
        needs: &[],
        evidence: "the destination belonged to a pod that is gone (since when), is in a node's pod range and no pod's, or stands behind a Service's DNAT without being in its EndpointSlices; together with silence, or the `endpoint` of another rule",
        refuted_by: "a running pod with that address, or the address in the Service's EndpointSlices",
        cannot_tell: "a pod that no source reported from one that is gone",
        applies: endpoint::stale,
    },
    Rule {
        name: "policy-by-program",
        points: &[Point::Policy],
        needs: &[],
        evidence: "a program that refused the packet through NFQUEUE and is not known as an enforcer: it runs in a pod of one, or the NetworkPolicies do not admit the flow",
        refuted_by: "a NetworkPolicy that admits the flow",
        cannot_tell: "an enforcer from a filter of the user's that refuses the same flow: `likely` at most, unless the pod is an enforcer's",
        applies: policy::by_program,
    },
    Rule {
        name: "policy-enforced",
        points: &[Point::Policy, Point::Firewall],
        needs: &[],
        evidence: "a drop by a policy engine's rule, and the NetworkPolicies' answer for the flow: not admitted names the policy; no policy on either pod makes it a `firewall` drop by a stale rule",
        refuted_by: "a NetworkPolicy that admits the flow, or none that selects either pod",
        cannot_tell: "a stale rule from an enforcer's own kind of policy where the objects admit the flow",
        applies: policy::enforced,
    },
    Rule {
        name: "policy-rejected",
        points: &[Point::Policy],
        needs: &[],
        evidence: "an ICMP error that a rule makes (port unreachable for a TCP port, or administratively prohibited), no drop that was seen, and a flow that the NetworkPolicies do not admit",
        refuted_by: "a NetworkPolicy that admits the flow",
        cannot_tell: "the enforcer's rule from another one that rejects the same flow: `likely` at most",
        applies: policy::rejected,
    },
    Rule {
        name: "policy-silent",
        points: &[Point::Policy],
        needs: &[],
        evidence: "silence, and a flow that the NetworkPolicies do not admit; never where a probe saw the SYN arrive, nor where nothing enforces policies",
        refuted_by: "the SYN, seen to arrive in its destination's namespace",
        cannot_tell: "whether the policy was the reason: `possible` at most",
        applies: policy::silent,
    },
    Rule {
        name: "pod-state",
        points: &[],
        needs: &[],
        evidence: "a closed port of a known pod: what keeps its containers from running, whether it is ready, and the target port of the Service that was asked beside the ports that the containers name",
        refuted_by: "-",
        cannot_tell: "whether a port is open: containers need not name their ports",
        applies: pod::closed_port,
    },
    Rule {
        name: "address-reused",
        points: &[],
        needs: &[],
        evidence: "an address that was another pod's within the last ten minutes",
        refuted_by: "-",
        cannot_tell: "-",
        applies: pod::predecessor,
    },
    Rule {
        name: "api-server",
        points: &[],
        needs: &[],
        evidence: "the destination is the API server (Service `default/kubernetes` or an endpoint of it) or a node's kubelet (port 10250)",
        refuted_by: "-",
        cannot_tell: "which of the usual gates is shut: it lists them",
        applies: apiserver::destination,
    },
    Rule {
        name: "vtep-node",
        points: &[],
        needs: &[],
        evidence: "an encapsulated packet whose outer destination is a known node's address",
        refuted_by: "-",
        cannot_tell: "-",
        applies: overlay::vtep_node,
    },
];

/// The verdict, with what the objects add to it.
#[must_use]
pub(crate) fn refine(mut verdict: Verdict, scene: &Scene<'_>) -> Verdict {
    for rule in RULES {
        if (rule.applies)(scene, &mut verdict) {
            verdict.rule = Some(rule.name.into());
        }
    }
    verdict
}

/// Puts facts before all others: the text shows the first few.
fn lead(verdict: &mut Verdict, facts: impl IntoIterator<Item = String>) {
    let rest = std::mem::take(&mut verdict.evidence);
    verdict.evidence = facts.into_iter().chain(rest).collect();
}

#[cfg(test)]
mod tests;
