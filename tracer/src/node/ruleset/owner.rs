//! Who made a rule: by the names of its chain and table, by its comment, and by the rules around it.

use super::{
    calico,
    condition::{Condition, Field},
    model::{Chain, Rule, Statement, Table, Verdict},
};

/// Who made a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
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
    /// Weave Net's network policy controller.
    Weave,
    /// Flannel.
    Flannel,
    /// The CNI plugins `firewall` and `portmap`.
    CniPlugin,
    /// Istio.
    Istio,
    /// firewalld.
    Firewalld,
    /// Uncomplicated firewall.
    Ufw,
    /// Docker.
    Docker,
    /// Podman's netavark.
    Podman,
    /// libvirt.
    Libvirt,
    /// LXD or Incus.
    Lxd,
    /// OpenStack Neutron.
    Neutron,
    /// Tailscale.
    Tailscale,
    /// fail2ban.
    Fail2ban,
    /// CrowdSec's firewall bouncer.
    CrowdSec,
    /// None of them: the node's administrator.
    User,
}

/// Starts of chain names; the first that fits counts.
const CHAINS: [(&str, Owner); 42] = [
    // These are there for rules of the user's.
    ("DOCKER-USER", Owner::User),
    ("CNI-ADMIN", Owner::User),
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
    ("CNI-", Owner::CniPlugin),
    ("ISTIO_", Owner::Istio),
    ("ufw-", Owner::Ufw),
    ("ufw6-", Owner::Ufw),
    ("DOCKER", Owner::Docker),
    ("NETAVARK", Owner::Podman),
    ("LIBVIRT_", Owner::Libvirt),
    ("neutron-", Owner::Neutron),
    ("nova-", Owner::Neutron),
    ("ts-input", Owner::Tailscale),
    ("ts-forward", Owner::Tailscale),
    ("ts-postrouting", Owner::Tailscale),
    ("f2b-", Owner::Fail2ban),
    ("fail2ban-", Owner::Fail2ban),
    ("CROWDSEC_CHAIN", Owner::CrowdSec),
    ("crowdsec-", Owner::CrowdSec),
    ("INPUT_direct", Owner::Firewalld),
    ("INPUT_ZONES", Owner::Firewalld),
    ("FORWARD_direct", Owner::Firewalld),
    ("FORWARD_IN_ZONES", Owner::Firewalld),
    ("FORWARD_OUT_ZONES", Owner::Firewalld),
    ("FORWARD_POLICIES", Owner::Firewalld),
    ("OUTPUT_direct", Owner::Firewalld),
    ("OUTPUT_POLICIES", Owner::Firewalld),
    ("INPUT_POLICIES", Owner::Firewalld),
    ("PREROUTING_ZONES", Owner::Firewalld),
];

/// Starts of the names of firewalld's chains for a zone each. Users call their own chains like that, so
/// they say something only beside [`ZONES`].
const OF_ZONES: [&str; 4] = ["IN_", "FWDI_", "FWDO_", "FWD_"];

/// Ends of the names of the chains that lead to those.
const ZONES: &str = "_ZONES";

/// Starts of table names.
const TABLES: [(&str, Owner); 18] = [
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
    ("crowdsec", Owner::CrowdSec),
    ("netavark", Owner::Podman),
    ("cni_hostport", Owner::CniPlugin),
    ("lxd", Owner::Lxd),
    ("incus", Owner::Lxd),
    ("tailscale", Owner::Tailscale),
    ("istio-", Owner::Istio),
];

/// Starts of rules' comments.
const COMMENTS: [(&str, Owner); 10] = [
    ("cali:", Owner::Calico),
    ("CNI firewall plugin", Owner::CniPlugin),
    ("CNI portfwd", Owner::CniPlugin),
    ("netavark", Owner::Podman),
    ("flanneld", Owner::Flannel),
    ("cilium", Owner::Cilium),
    ("generated for LXD", Owner::Lxd),
    ("generated for Incus", Owner::Lxd),
    ("managed by lxd", Owner::Lxd),
    ("kube-router", Owner::KubeRouter),
];

impl Owner {
    /// The owner of a rule, or of a chain's policy.
    pub(super) fn of(table: &Table, chain: &Chain, rule: Option<usize>) -> Self {
        let by_comment = || {
            let comment = chain.rules.get(rule?)?.comment.as_deref()?;
            start(&COMMENTS, comment)
        };
        let by_neighbors = || match rule {
            Some(rule) => Self::of_neighbors(chain, rule),
            None => Self::of_policy(chain),
        };
        start(&TABLES, &table.name)
            .or_else(|| start(&CHAINS, &chain.name))
            .or_else(|| is_of_zone(table, chain).then_some(Self::Firewalld))
            .or_else(by_comment)
            .or_else(by_neighbors)
            .unwrap_or(Self::User)
    }

    /// An agent's rules in a chain without an owner follow its jump: those for the same
    /// interface, and those that catch what its chains let through.
    fn of_neighbors(chain: &Chain, rule: usize) -> Option<Self> {
        let own = interfaces(&chain.rules[rule]);
        let in_front = chain.rules[..rule].iter().rev();
        if own.is_empty() {
            // firewalld rejects at the end what no zone has accepted, and what is invalid.
            let is_last = is_for_all(&chain.rules[rule]);
            let mut owners = in_front.filter_map(jumped_to);
            return owners.find(|owner| is_last && *owner == Self::Firewalld);
        }
        let mut block = in_front.take_while(|rule| interfaces(rule) == own);
        block.find_map(jumped_to)
    }

    /// A policy is set by an agent that has chains there: Docker drops what it does not forward.
    fn of_policy(chain: &Chain) -> Option<Self> {
        let setters = [Self::Ufw, Self::Firewalld, Self::Docker];
        let owners: Vec<_> = chain.rules.iter().filter_map(jump_target).collect();
        let has = |setter: &Self| owners.iter().any(|name| any_owner(name) == Some(*setter));
        setters.into_iter().find(has)
    }

    /// Its rules enforce network policies.
    pub(crate) fn enforces_policies(self) -> bool {
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

    /// A rule of its in this chain does so: agents have others, too.
    pub(super) fn enforces_policies_by(self, chain: &Chain, rule: Option<&Rule>) -> bool {
        match self {
            Self::Calico => calico::is_of_policies(chain, rule),
            // It drops what other nodes should have encrypted.
            Self::Weave => !chain.name.starts_with("WEAVE-IPSEC"),
            _ => self.enforces_policies(),
        }
    }

    /// Its name, for sentences.
    pub(crate) fn name(self) -> &'static str {
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
            Self::Weave => "Weave Net",
            Self::Flannel => "Flannel",
            Self::CniPlugin => "the CNI firewall plugin",
            Self::Istio => "Istio",
            Self::Firewalld => "firewalld",
            Self::Ufw => "ufw",
            Self::Docker => "Docker",
            Self::Podman => "Podman",
            Self::Libvirt => "libvirt",
            Self::Lxd => "LXD or Incus",
            Self::Neutron => "OpenStack Neutron",
            Self::Tailscale => "Tailscale",
            Self::Fail2ban => "fail2ban",
            Self::CrowdSec => "CrowdSec",
            Self::User => "the user",
        }
    }
}

fn start(names: &[(&str, Owner)], name: &str) -> Option<Owner> {
    let found = names.iter().find(|(start, _)| name.starts_with(start));
    found.map(|(_, owner)| *owner)
}

fn is_of_zone(table: &Table, chain: &Chain) -> bool {
    let is_called_so = OF_ZONES.iter().any(|start| chain.name.starts_with(start));
    let mut chains = table.chains.iter();
    is_called_so && chains.any(|other| other.name.ends_with(ZONES))
}

/// The agent whose chain a rule leads to.
fn jumped_to(rule: &Rule) -> Option<Owner> {
    any_owner(jump_target(rule)?).filter(|owner| *owner != Owner::User)
}

/// The owner of a chain; one for the user's rules is there because its agent made it.
fn any_owner(chain: &str) -> Option<Owner> {
    if chain == "DOCKER-USER" {
        return Some(Owner::Docker);
    }
    start(&CHAINS, chain)
}

fn jump_target(rule: &Rule) -> Option<&str> {
    rule.statements
        .iter()
        .find_map(|statement| match statement {
            Statement::Verdict(Verdict::Jump(target) | Verdict::Goto(target)) => {
                Some(target.as_str())
            }
            _ => None,
        })
}

/// The conditions of a rule on interfaces.
fn interfaces(rule: &Rule) -> Vec<&Condition> {
    let is_device = |field: &Field| matches!(field, Field::Input | Field::Output);
    let conditions = rule
        .statements
        .iter()
        .filter_map(|statement| match statement {
            Statement::Match(condition) => Some(condition),
            _ => None,
        });
    conditions
        .filter(|condition| match condition {
            Condition::In { key, .. } => key.iter().any(is_device),
            _ => false,
        })
        .collect()
}

/// Whether a rule asks for nothing but the state.
fn is_for_all(rule: &Rule) -> bool {
    let mut statements = rule.statements.iter();
    statements.all(|statement| {
        matches!(
            statement,
            Statement::Verdict(_) | Statement::Match(Condition::State { .. })
        )
    })
}
