//! Who made a rule, and what for: by the names of its chain and table, and by its comment.

use super::model::{Chain, Rule, Table};

/// Who made a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// kube-proxy, in iptables or nftables mode.
    KubeProxy,
    /// kube-router's network policies.
    KubeRouter,
    /// The kubelet.
    Kubelet,
    /// Calico.
    Calico,
    /// Cilium's iptables rules.
    Cilium,
    /// The AWS VPC CNI.
    Aws,
    /// Azure's network policy manager.
    AzureNpm,
    /// kube-network-policies, which decides in a process of its own.
    KubeNetworkPolicies,
    /// Antrea.
    Antrea,
    /// Weave's network policy controller.
    Weave,
    /// Flannel.
    Flannel,
    /// Istio.
    Istio,
    /// firewalld.
    Firewalld,
    /// Uncomplicated firewall.
    Ufw,
    /// Docker.
    Docker,
    /// libvirt.
    Libvirt,
    /// fail2ban.
    Fail2ban,
    /// None of them, so whoever runs the node.
    User,
}

/// Starts of chain names.
const CHAINS: [(&str, Owner); 24] = [
    ("KUBE-ROUTER-", Owner::KubeRouter),
    ("KUBE-POD-FW-", Owner::KubeRouter),
    ("KUBE-NWPLCY-", Owner::KubeRouter),
    ("KUBE-FIREWALL", Owner::Kubelet),
    ("KUBE-KUBELET-", Owner::Kubelet),
    ("KUBE-", Owner::KubeProxy),
    ("cali-", Owner::Calico),
    ("CILIUM_", Owner::Cilium),
    ("OLD_CILIUM_", Owner::Cilium),
    ("AWS-", Owner::Aws),
    ("AZURE-NPM", Owner::AzureNpm),
    ("ANTREA-", Owner::Antrea),
    ("WEAVE-", Owner::Weave),
    ("FLANNEL-", Owner::Flannel),
    ("ISTIO_", Owner::Istio),
    ("ufw-", Owner::Ufw),
    ("ufw6-", Owner::Ufw),
    ("DOCKER", Owner::Docker),
    ("LIBVIRT_", Owner::Libvirt),
    ("f2b-", Owner::Fail2ban),
    ("INPUT_direct", Owner::Firewalld),
    ("INPUT_ZONES", Owner::Firewalld),
    ("FORWARD_direct", Owner::Firewalld),
    ("FWD_", Owner::Firewalld),
];

/// Starts of table names.
const TABLES: [(&str, Owner); 11] = [
    ("kube-proxy", Owner::KubeProxy),
    ("kube-router-", Owner::KubeRouter),
    ("kube-network-policies", Owner::KubeNetworkPolicies),
    ("kindnet-network-policies", Owner::KubeNetworkPolicies),
    ("calico", Owner::Calico),
    ("cilium", Owner::Cilium),
    ("firewalld", Owner::Firewalld),
    ("docker", Owner::Docker),
    ("libvirt_", Owner::Libvirt),
    ("f2b-", Owner::Fail2ban),
    ("flannel-", Owner::Flannel),
];

impl Owner {
    /// The owner of a rule, or of a chain's policy.
    pub(super) fn of(table: &Table, chain: &Chain, rule: Option<&Rule>) -> Self {
        let by_comment = rule
            .and_then(|rule| rule.comment.as_deref())
            .filter(|comment| comment.starts_with("cali:"))
            .map(|_| Self::Calico);
        Self::of_names(&table.name, &chain.name)
            .or(by_comment)
            .or_else(|| rule.is_none().then(|| Self::of_policy(chain)).flatten())
            .unwrap_or(Self::User)
    }

    fn of_names(table: &str, chain: &str) -> Option<Self> {
        let start = |names: &[(&str, Self)], name: &str| {
            let found = names.iter().find(|(start, _)| name.starts_with(start));
            found.map(|(_, owner)| *owner)
        };
        start(&TABLES, table).or_else(|| start(&CHAINS, chain))
    }

    /// A policy is set by whoever else has chains there: Docker drops what it does not forward.
    fn of_policy(chain: &Chain) -> Option<Self> {
        let setters = [Self::Ufw, Self::Firewalld, Self::Docker];
        setters.into_iter().find(|owner| {
            let texts = chain.rules.iter().map(|rule| rule.text.as_str());
            let mut targets = texts.filter_map(|text| text.rsplit(' ').next());
            targets.any(|target| Self::of_names("", target) == Some(*owner))
        })
    }

    /// Its rules enforce network policies.
    pub fn enforces_policies(self) -> bool {
        matches!(
            self,
            Self::KubeRouter
                | Self::Calico
                | Self::Cilium
                | Self::AzureNpm
                | Self::KubeNetworkPolicies
                | Self::Antrea
                | Self::Weave
        )
    }

    /// Its name, for sentences.
    pub fn name(self) -> &'static str {
        match self {
            Self::KubeProxy => "kube-proxy",
            Self::KubeRouter => "kube-router",
            Self::Kubelet => "the kubelet",
            Self::Calico => "Calico",
            Self::Cilium => "Cilium",
            Self::Aws => "the AWS VPC CNI",
            Self::AzureNpm => "Azure NPM",
            Self::KubeNetworkPolicies => "kube-network-policies",
            Self::Antrea => "Antrea",
            Self::Weave => "Weave",
            Self::Flannel => "Flannel",
            Self::Istio => "Istio",
            Self::Firewalld => "firewalld",
            Self::Ufw => "ufw",
            Self::Docker => "Docker",
            Self::Libvirt => "libvirt",
            Self::Fail2ban => "fail2ban",
            Self::User => "the user",
        }
    }
}
