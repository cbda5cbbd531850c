//! What a rule that drops is there for.

use super::{
    model::{Chain, Rule},
    owner::Owner,
};

/// What a rule is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Meaning {
    /// It enforces a network policy.
    PolicyEnforcement,
    /// kube-proxy: the Service has no endpoints, or none on this node.
    NoEndpoints,
    /// kube-proxy: a ClusterIP with no Service, or no such port of the Service.
    NoSuchService,
    /// It drops what conntrack calls invalid.
    Invalid,
    /// A firewall rule.
    Plain,
}

impl Meaning {
    /// The dropping point, as verdicts name it.
    pub fn point(self) -> &'static str {
        match self {
            Self::PolicyEnforcement => "policy",
            Self::NoEndpoints | Self::NoSuchService => "endpoint",
            Self::Invalid => "conntrack",
            Self::Plain => "firewall",
        }
    }

    /// The meaning of a rule; `map` is the verdict map that led to it.
    pub(super) fn of(
        owner: Owner,
        chain: &Chain,
        rule: Option<&Rule>,
        map: Option<&str>,
        as_invalid: bool,
    ) -> Self {
        let comment = rule
            .and_then(|rule| rule.comment.as_deref())
            .unwrap_or_default();
        let is_about_endpoints = comment.contains("has no endpoints")
            || comment.contains("has no local endpoints")
            || map.is_some_and(|map| map.starts_with("no-endpoint"));
        if as_invalid {
            Self::Invalid
        } else if owner == Owner::KubeProxy && is_about_endpoints {
            Self::NoEndpoints
        } else if owner == Owner::KubeProxy && chain.name == "cluster-ips-check" {
            Self::NoSuchService
        } else if owner.enforces_policies() {
            Self::PolicyEnforcement
        } else {
            Self::Plain
        }
    }
}

/// The pod, as `namespace/name`, that a rule of kube-router's speaks of.
pub(super) fn pod(owner: Owner, chain: &Chain, rule: Option<&Rule>) -> Option<String> {
    if owner != Owner::KubeRouter {
        return None;
    }
    let by_rule = rule.and_then(|rule| rule.comment.as_deref()?.strip_suffix(" reject"));
    let by_chain = || chain.comment.as_deref()?.strip_prefix("podfw ");
    by_rule
        .or_else(by_chain)
        .filter(|name| name.contains('/'))
        .map(str::to_owned)
}

/// The Service, as `namespace/name` or `namespace/name:port`, that a rule of kube-proxy's speaks of.
pub(super) fn service(
    meaning: Meaning,
    rule: Option<&Rule>,
    element: Option<&str>,
) -> Option<String> {
    if meaning != Meaning::NoEndpoints {
        return None;
    }
    let comment = rule.and_then(|rule| rule.comment.as_deref());
    let by_rule = comment.and_then(|comment| comment.split_once(" has no "));
    by_rule.map(|(name, _)| name).or(element).map(str::to_owned)
}
