//! What a rule that drops is there for.

use super::{
    model::{Chain, Rule, Verdict},
    owner::Owner,
};

/// What a rule is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Meaning {
    /// It enforces a network policy.
    PolicyEnforcement,
    /// kube-proxy: the Service has no endpoints.
    NoEndpoints,
    /// kube-proxy: the Service has no endpoint on this node, and its traffic policy is Local.
    NoLocalEndpoints,
    /// kube-proxy: a ClusterIP with no Service, or no such port of the Service.
    NoSuchService,
    /// It drops what conntrack calls invalid.
    Invalid,
    /// A firewall rule.
    Plain,
}

impl Meaning {
    /// The meaning of a rule that gives this verdict; `map` is the verdict map that led to it.
    pub(super) fn of(
        owner: Owner,
        chain: &Chain,
        rule: Option<&Rule>,
        (map, verdict): (Option<&str>, &Verdict),
        as_invalid: bool,
    ) -> Self {
        let comment = rule
            .and_then(|rule| rule.comment.as_deref())
            .unwrap_or_default();
        let is_by_map = map.is_some_and(|map| map.starts_with("no-endpoint"));
        // kube-proxy drops where there is no endpoint here, and rejects where there is none at all.
        let is_about_local =
            comment.contains("has no local endpoints") || is_by_map && *verdict == Verdict::Drop;
        let is_about_endpoints = comment.contains("has no endpoints") || is_by_map;
        if as_invalid {
            Self::Invalid
        } else if owner == Owner::KubeProxy && is_about_local {
            Self::NoLocalEndpoints
        } else if owner == Owner::KubeProxy && is_about_endpoints {
            Self::NoEndpoints
        } else if owner == Owner::KubeProxy && chain.name == "cluster-ips-check" {
            Self::NoSuchService
        } else if owner.enforces_policies_by(chain, rule) {
            Self::PolicyEnforcement
        } else {
            Self::Plain
        }
    }
}

/// The Service, as `namespace/name` or `namespace/name:port`, that a rule of kube-proxy's speaks of.
pub(super) fn service(
    meaning: Meaning,
    rule: Option<&Rule>,
    element: Option<&str>,
) -> Option<String> {
    if !matches!(meaning, Meaning::NoEndpoints | Meaning::NoLocalEndpoints) {
        return None;
    }
    let comment = rule.and_then(|rule| rule.comment.as_deref());
    let by_rule = comment.and_then(|comment| comment.split_once(" has no "));
    by_rule.map(|(name, _)| name).or(element).map(str::to_owned)
}
