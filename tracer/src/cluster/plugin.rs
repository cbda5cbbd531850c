//! Network plugins, recognized by the pods that run them on the nodes.

use std::fmt;

use super::objects::Pod;

/// A network plugin, or an enforcer of NetworkPolicies beside one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Plugin {
    /// Antrea.
    Antrea,
    /// The AWS VPC CNI with its network policy agent.
    AwsVpcCni,
    /// The AWS VPC CNI without it.
    AwsVpcCniAlone,
    /// Azure Network Policy Manager.
    AzureNpm,
    /// Calico, also under Canal.
    Calico,
    /// Cilium, also as GKE's Dataplane V2.
    Cilium,
    /// Flannel.
    Flannel,
    /// kindnet.
    Kindnet,
    /// kindnet from before it enforced policies.
    OldKindnet,
    /// kube-network-policies.
    KubeNetworkPolicies,
    /// Kube-OVN.
    KubeOvn,
    /// kube-router.
    KubeRouter,
    /// OVN-Kubernetes.
    OvnKubernetes,
    /// Romana.
    Romana,
    /// Weave Net.
    WeaveNet,
    /// Yunion.
    Yunion,
}

/// The names that the pods of a plugin begin with; their labels say the same.
const PODS: [(&str, Plugin); 18] = [
    ("anetd", Plugin::Cilium),
    ("antrea-agent", Plugin::Antrea),
    ("aws-node", Plugin::AwsVpcCni),
    ("azure-npm", Plugin::AzureNpm),
    ("calico-node", Plugin::Calico),
    ("canal", Plugin::Calico),
    ("cilium", Plugin::Cilium),
    ("kindnet", Plugin::Kindnet),
    ("kube-flannel", Plugin::Flannel),
    ("kube-network-policies", Plugin::KubeNetworkPolicies),
    ("kube-ovn", Plugin::KubeOvn),
    ("kube-router", Plugin::KubeRouter),
    ("ovn-kubernetes", Plugin::OvnKubernetes),
    ("ovnkube-node", Plugin::OvnKubernetes),
    ("ovs-node", Plugin::OvnKubernetes),
    ("romana-agent", Plugin::Romana),
    ("weave-net", Plugin::WeaveNet),
    ("yunion-cni", Plugin::Yunion),
];

/// The labels by which plugins' manifests name their pods.
const LABELS: [&str; 3] = ["k8s-app", "app.kubernetes.io/name", "app"];

impl Plugin {
    /// The plugin that a pod runs. Only a pod where administrators put such pods: anyone may call
    /// a pod of their own so.
    #[must_use]
    pub(crate) fn of(pod: &Pod) -> Option<Self> {
        if pod.ended || !is_of_administrators(&pod.id.namespace) {
            return None;
        }
        let by_name = PODS.iter().find(|(name, _)| pod.id.name.starts_with(name));
        let by_label = || {
            let mut values = LABELS.iter().filter_map(|key| pod.labels.get(*key));
            values.find_map(|value| PODS.iter().find(|(name, _)| value == name))
        };
        let (_, plugin) = by_name.or_else(by_label)?;
        Some(match plugin {
            Self::Kindnet if is_old_kindnet(pod) => Self::OldKindnet,
            Self::AwsVpcCni if is_without_agent(pod) => Self::AwsVpcCniAlone,
            plugin => *plugin,
        })
    }

    /// Whether it enforces NetworkPolicies.
    #[must_use]
    pub(crate) fn enforces(self) -> bool {
        !matches!(
            self,
            Self::Flannel | Self::OldKindnet | Self::AwsVpcCniAlone
        )
    }

    /// Whether an `ipBlock` that holds a pod's address matches the pod: one that compares addresses
    /// matches it, one that compares identities does not. The API leaves it open; `None` where it
    /// is not known.
    #[must_use]
    pub(crate) fn blocks_match_pods(self) -> Option<bool> {
        match self {
            Self::Cilium => Some(false),
            Self::Antrea
            | Self::AwsVpcCni
            | Self::AzureNpm
            | Self::Calico
            | Self::Kindnet
            | Self::KubeNetworkPolicies
            | Self::KubeRouter
            | Self::OvnKubernetes
            | Self::WeaveNet => Some(true),
            Self::AwsVpcCniAlone
            | Self::Flannel
            | Self::KubeOvn
            | Self::OldKindnet
            | Self::Romana
            | Self::Yunion => None,
        }
    }

    /// Whether a rule whose named port no pod has admits every port (kube-router reads the empty
    /// set as "all").
    #[must_use]
    pub(crate) fn takes_unknown_port_names_for_all(self) -> bool {
        self == Self::KubeRouter
    }
}

impl fmt::Display for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Antrea => "Antrea",
            Self::AwsVpcCni => "the AWS VPC CNI",
            Self::AwsVpcCniAlone => "the AWS VPC CNI without its network policy agent",
            Self::AzureNpm => "Azure NPM",
            Self::Calico => "Calico",
            Self::Cilium => "Cilium",
            Self::Flannel => "flannel",
            Self::Kindnet | Self::OldKindnet => "kindnet",
            Self::KubeNetworkPolicies => "kube-network-policies",
            Self::KubeOvn => "Kube-OVN",
            Self::KubeRouter => "kube-router",
            Self::OvnKubernetes => "OVN-Kubernetes",
            Self::Romana => "Romana",
            Self::WeaveNet => "Weave Net",
            Self::Yunion => "Yunion",
        })
    }
}

fn is_of_administrators(namespace: &str) -> bool {
    let prefixes = [
        "kube-",
        "openshift-",
        "calico",
        "cilium",
        "antrea",
        "weave",
        "ovn-",
    ];
    prefixes.iter().any(|prefix| namespace.starts_with(prefix)) || namespace.ends_with("-system")
}

/// kindnet enforces policies since v20240813 (kind v0.24); its images carry the date.
fn is_old_kindnet(pod: &Pod) -> bool {
    let tag = pod
        .images
        .iter()
        .find_map(|image| image.split_once("kindnetd:v"));
    let date = tag
        .and_then(|(_, tag)| tag.get(..8))
        .and_then(|date| date.parse::<u32>().ok());
    date.is_some_and(|date| date < 20_240_813)
}

/// Policies are enforced by a container of its own. Where no images are known, it may be there.
fn is_without_agent(pod: &Pod) -> bool {
    let is_agent = |image: &String| image.contains("network-policy-agent");
    !pod.images.is_empty() && !pod.images.iter().any(is_agent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::objects::ObjectName;

    fn pod(namespace: &str, name: &str) -> Pod {
        Pod {
            id: ObjectName::new(namespace, name),
            ..Pod::default()
        }
    }

    #[test]
    fn plugins_are_known_by_name_or_label_where_administrators_put_them() {
        let of = |namespace, name| Plugin::of(&pod(namespace, name));
        assert_eq!(
            of("kube-system", "kube-router-x1"),
            Some(Plugin::KubeRouter)
        );
        assert_eq!(of("calico-system", "calico-node-x1"), Some(Plugin::Calico));
        assert_eq!(
            of("kube-flannel", "kube-flannel-ds-x1"),
            Some(Plugin::Flannel)
        );
        assert_eq!(of("shop", "cilium-x1"), None);
        assert_eq!(of("kube-system", "coredns-x1"), None);
        let mut labeled = pod("kube-system", "net-x1");
        let label = ("k8s-app".to_owned(), "cilium".to_owned());
        labeled.labels.extend([label]);
        assert_eq!(Plugin::of(&labeled), Some(Plugin::Cilium));
        labeled.ended = true;
        assert_eq!(Plugin::of(&labeled), None);
    }

    #[test]
    fn versions_that_enforce_nothing_are_told_apart() {
        let with = |name, image: &str| {
            let images = vec![image.to_owned()];
            Plugin::of(&Pod {
                images,
                ..pod("kube-system", name)
            })
        };
        let old = with("kindnet-x", "kindest/kindnetd:v20240202-8f1494ea");
        let new = with("kindnet-x", "kindest/kindnetd:v20250512-df8de77b");
        assert_eq!(
            (old, new),
            (Some(Plugin::OldKindnet), Some(Plugin::Kindnet))
        );
        let alone = with("aws-node-x", "amazon-k8s-cni:v1.20");
        let agent = with("aws-node-x", "amazon/aws-network-policy-agent:v1.2");
        assert_eq!(
            (alone, agent),
            (Some(Plugin::AwsVpcCniAlone), Some(Plugin::AwsVpcCni))
        );
    }
}
