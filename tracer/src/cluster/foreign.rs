//! Policies of kinds that are not judged here, although something in the cluster heeds them.

use std::fmt;

use serde_json::Value;

/// A kind of such policies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ForeignKind {
    /// What heeds them.
    pub(crate) heeded_by: HeededBy,
    /// Its name.
    pub(crate) kind: String,
    /// Its API group.
    pub(crate) group: String,
}

/// What heeds a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HeededBy {
    /// The CNI plugin, or the enforcer beside it.
    Cni,
    /// The proxies of a service mesh.
    Mesh,
    /// Something unknown to whydrop.
    Something,
}

impl fmt::Display for ForeignKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.kind, self.group)
    }
}

/// API groups whose `…NetworkPolicy` and `…Firewall` kinds CNI plugins enforce, and that of the
/// cluster-wide policies that several of them know.
const CNI: [&str; 9] = [
    "cilium.io",
    "projectcalico.org",
    "antrea.io",
    "policy.networking.k8s.io",
    "networking.k8s.aws",
    "networking.gke.io",
    "k8s.ovn.org",
    "k8s.cni.cncf.io",
    "network.openshift.io",
];

/// The kinds by which service meshes refuse connections.
const MESH: [(&str, &str); 7] = [
    ("security.istio.io", "AuthorizationPolicy"),
    ("security.istio.io", "PeerAuthentication"),
    ("policy.linkerd.io", "AuthorizationPolicy"),
    ("policy.linkerd.io", "Server"),
    ("policy.linkerd.io", "ServerAuthorization"),
    ("consul.hashicorp.com", "ServiceIntentions"),
    ("kuma.io", "MeshTrafficPermission"),
];

impl ForeignKind {
    /// The kind, if it is one whose policies are known to be heeded.
    #[must_use]
    pub(crate) fn known(kind: &str, group: &str) -> Option<Self> {
        // Calico's staged policies are only looked at; AWS's PolicyEndpoints are NetworkPolicies,
        // compiled.
        let filters = kind.ends_with("NetworkPolicy") || kind.ends_with("Firewall");
        let is_of = |known: &str| {
            let parent = group.strip_suffix(known);
            parent.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let by_cni = filters && !kind.starts_with("Staged") && CNI.into_iter().any(is_of);
        let heeded_by = if by_cni {
            HeededBy::Cni
        } else if MESH.contains(&(group, kind)) {
            HeededBy::Mesh
        } else {
            return None;
        };
        Some(Self::new(heeded_by, kind, group))
    }

    /// The kind, if it may be one that whydrop does not know: called a policy or a firewall,
    /// and not of Kubernetes itself. Whether it is one, an object of it shows: see
    /// [`selects_pods`].
    #[must_use]
    pub(crate) fn suspected(kind: &str, group: &str) -> Option<Self> {
        let is_own = !group.contains('.') || group.ends_with(".k8s.io");
        let is_called_so = kind.contains("Policy") || kind.contains("Firewall");
        // Groups that are known have been looked through.
        let is_known = CNI.iter().any(|known| group.ends_with(known));
        (!is_own && is_called_so && !is_known).then(|| Self::new(HeededBy::Something, kind, group))
    }

    fn new(heeded_by: HeededBy, kind: &str, group: &str) -> Self {
        Self {
            heeded_by,
            kind: kind.to_owned(),
            group: group.to_owned(),
        }
    }
}

/// Whether an object says to which pods it applies.
#[must_use]
pub(crate) fn selects_pods(object: &Value) -> bool {
    const SELECTORS: [&str; 6] = [
        "podSelector",
        "endpointSelector",
        "workloadSelector",
        "appliedTo",
        "selector",
        "podSelectors",
    ];
    let has_one = |value: &Value| SELECTORS.iter().any(|key| value.get(key).is_some());
    let spec = &object["spec"];
    let below = spec.as_object().into_iter().flat_map(|spec| spec.values());
    has_one(spec) || below.into_iter().any(has_one)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn heeded_by(kind: &str, group: &str) -> Option<HeededBy> {
        ForeignKind::known(kind, group).map(|foreign| foreign.heeded_by)
    }

    #[test]
    fn the_kinds_of_vendors_are_known_by_who_heeds_them() {
        for (kind, group) in [
            ("CiliumNetworkPolicy", "cilium.io"),
            ("GlobalNetworkPolicy", "crd.projectcalico.org"),
            ("ClusterNetworkPolicy", "crd.antrea.io"),
            ("AdminNetworkPolicy", "policy.networking.k8s.io"),
            ("ClusterNetworkPolicy", "networking.k8s.aws"),
            ("ApplicationNetworkPolicy", "networking.k8s.aws"),
            ("FQDNNetworkPolicy", "networking.gke.io"),
            ("EgressFirewall", "k8s.ovn.org"),
            ("MultiNetworkPolicy", "k8s.cni.cncf.io"),
            ("EgressNetworkPolicy", "network.openshift.io"),
        ] {
            assert_eq!(heeded_by(kind, group), Some(HeededBy::Cni), "{kind}");
        }
        for (kind, group) in [
            ("AuthorizationPolicy", "security.istio.io"),
            ("ServerAuthorization", "policy.linkerd.io"),
        ] {
            assert_eq!(heeded_by(kind, group), Some(HeededBy::Mesh), "{kind}");
        }
        for (kind, group) in [
            ("PolicyEndpoint", "networking.k8s.aws"),
            ("StagedNetworkPolicy", "crd.projectcalico.org"),
            ("NetworkPolicy", "evilcilium.io"),
            ("NetworkPolicy", "networking.k8s.io"),
        ] {
            assert_eq!(heeded_by(kind, group), None, "{kind}");
        }
    }

    #[test]
    fn an_unheard_of_kind_is_one_if_it_selects_pods() {
        assert!(ForeignKind::suspected("TrafficPolicy", "net.example.com").is_some());
        assert!(ForeignKind::suspected("Firewall", "net.example.com").is_some());
        for (kind, group) in [
            ("PodSecurityPolicy", "policy"),
            ("ValidatingAdmissionPolicy", "admissionregistration.k8s.io"),
            ("Certificate", "cert-manager.io"),
        ] {
            assert!(ForeignKind::suspected(kind, group).is_none(), "{kind}");
        }
        assert!(selects_pods(&json!({"spec": {"podSelector": {}}})));
        assert!(selects_pods(
            &json!({"spec": {"subject": {"podSelector": {}}}})
        ));
        // Kyverno's say which objects they are about, at the depth of a rule.
        let rules = json!({"spec": {"rules": [{"match": {"resources": {"selector": {}}}}]}});
        assert!(!selects_pods(&rules));
        assert!(!selects_pods(&json!({})));
    }
}
