//! Whose a program is, by its name.

use crate::node::process;

/// Who attached a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// What it is called.
    pub(crate) name: &'static str,
    /// Whether it enforces NetworkPolicies: a drop of such a program is a policy's, any other's a
    /// firewall's.
    pub(crate) is_policy_engine: bool,
    /// What the kernel calls its agent's process; `None` where that is not known.
    pub(crate) agent: Option<&'static str>,
}

const CILIUM: Owner = engine("Cilium", Some("cilium-agent"));
const AWS: Owner = engine("the AWS network policy agent", None);
const CALICO: Owner = engine("Calico", Some("calico-node"));
const SYSTEMD: Owner = Owner {
    name: "systemd",
    is_policy_engine: false,
    agent: Some("systemd"),
};

/// How names begin, of programs and filters. The kernel cuts those of programs to 15 characters,
/// so no beginning here is longer.
const BEGINNINGS: [(&str, Owner); 10] = [
    ("cil_", CILIUM),
    // Up to Cilium 1.12: the object file and its section.
    ("bpf_lxc.o:", CILIUM),
    ("bpf_host.o:", CILIUM),
    ("bpf_netdev", CILIUM),
    ("bpf_overlay.o:", CILIUM),
    ("cali_", CALICO),
    ("calico_", CALICO),
    ("xdp_calico", CALICO),
    // IPAddressAllow=, IPAddressDeny= and the like of units.
    ("sd_fw_", SYSTEMD),
    ("sd_bind", SYSTEMD),
];
/// Whole names: others may begin like this.
const WHOLE: [(&str, Owner); 2] = [("handle_ingress", AWS), ("handle_egress", AWS)];

const fn engine(name: &'static str, agent: Option<&'static str>) -> Owner {
    Owner {
        name,
        is_policy_engine: true,
        agent,
    }
}

impl Owner {
    /// Whether its agent runs on this node; `None` where that cannot be seen.
    pub(crate) fn is_running(&self) -> Option<bool> {
        process::runs(self.agent?)
    }

    /// The owner of a program, or of a filter as `KIND NAME`; `None` if the name says nothing.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let name = name.strip_prefix("bpf ").unwrap_or(name);
        let by_whole = WHOLE.iter().find(|(whole, _)| name == *whole);
        let mut beginnings = BEGINNINGS.iter();
        by_whole
            .or_else(|| beginnings.find(|(beginning, _)| name.starts_with(beginning)))
            .map(|(_, owner)| *owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_show_owners() {
        for (name, owner) in [
            ("cil_from_contai", Some("Cilium")),
            ("bpf cil_from_container-lxc1", Some("Cilium")),
            ("bpf bpf_lxc.o:[from-container]", Some("Cilium")),
            ("handle_ingress", Some("the AWS network policy agent")),
            ("handle_ingress2", None),
            ("cali_tc_preambl", Some("Calico")),
            ("sd_fw_egress", Some("systemd")),
            ("flower", None),
            ("my_filter", None),
        ] {
            assert_eq!(Owner::of(name).map(|owner| owner.name), owner, "{name}");
        }
        let is_engine = |name| Owner::of(name).is_some_and(|owner| owner.is_policy_engine);
        assert!(is_engine("cil_to_netdev") && !is_engine("sd_fw_ingress"));
    }

    #[test]
    fn the_kernel_keeps_all_that_is_compared() {
        for (name, _) in BEGINNINGS.iter().chain(&WHOLE) {
            assert!(name.len() <= 15, "{name}");
        }
    }
}
