//! Drop reasons by name.
//!
//! The numbers move between kernels, even inside one stable series, so the names are those of the
//! running kernel. Subsystems keep enums of their own, whose values carry the subsystem in the
//! upper 16 bits (`SKB_DROP_REASON_SUBSYS_SHIFT` in include/net/dropreason.h).

use std::collections::BTreeMap;

use tracer_common::event::StackPolicy;

use super::btf::KernelBtf;
use crate::model::Reason;

const CORE: &str = "skb_drop_reason";
const PREFIX: &str = "SKB_DROP_REASON_";
const SUBSYSTEMS: &str = "skb_drop_reason_subsys";
/// What the enums of subsystems are called; which of them a kernel has differs.
const OF_SUBSYSTEMS: [&str; 4] = [
    "ovs_drop_reason",
    "mac80211_drop_reason",
    "___mac80211_drop_reason",
    "qdisc_drop_reason",
];
const SUBSYSTEM_SHIFT: u32 = 16;
/// Reasons that do not say enough without the stack: see [`Reasons::stacks`].
const STACK_TELLS: [&str; 2] = ["NETFILTER_DROP", "NOT_SPECIFIED"];

/// The running kernel's drop reasons.
#[derive(Debug, Default)]
pub(crate) struct Reasons {
    names: BTreeMap<u32, Reason>,
    subsystems: BTreeMap<u32, String>,
}

impl Reasons {
    /// Reads the enums. A kernel before 5.17 has none of them.
    pub(crate) fn read(btf: &KernelBtf) -> Self {
        Self::new(
            btf.enumerators(CORE),
            OF_SUBSYSTEMS
                .iter()
                .flat_map(|name| btf.enumerators(name))
                .collect(),
            btf.enumerators(SUBSYSTEMS),
        )
    }

    fn new(
        core: BTreeMap<u32, String>,
        of_subsystems: BTreeMap<u32, String>,
        subsystems: BTreeMap<u32, String>,
    ) -> Self {
        let names = of_subsystems
            .into_iter()
            .filter(|(value, _)| value >> SUBSYSTEM_SHIFT != 0);
        let core = core
            .into_iter()
            .map(|(value, name)| (value, without(PREFIX, name)));
        let subsystems = subsystems
            .into_iter()
            .map(|(value, name)| (value, without("SKB_DROP_REASON_SUBSYS_", name)))
            .collect();
        Self {
            names: names
                .chain(core)
                .map(|(value, name)| (value, name.into()))
                .collect(),
            subsystems,
        }
    }

    /// The reason's name without the common prefix. One that this kernel's BTF does not name is its
    /// number, behind its subsystem if that has a name.
    pub(crate) fn name(&self, reason: u32) -> Reason {
        if let Some(name) = self.names.get(&reason) {
            return name.clone();
        }
        let (subsystem, number) = (reason >> SUBSYSTEM_SHIFT, reason & 0xffff);
        match self.subsystems.get(&subsystem) {
            Some(name) if subsystem != 0 => format!("{name}:{number}").into(),
            _ if self.names.is_empty() => Reason::NOT_SPECIFIED.into(),
            _ => reason.to_string().into(),
        }
    }

    /// The drops whose stack shows what nothing else does: which hook netfilter dropped it in, and
    /// where it was when the kernel gives no reason. All of them, where that is so of every drop or
    /// the user wants to see them.
    pub(crate) fn stacks(&self, always: bool) -> StackPolicy {
        let mut policy = StackPolicy {
            always: (always || !self.are_known()).into(),
            ..StackPolicy::default()
        };
        let selected = self
            .names
            .iter()
            .filter(|(_, name)| STACK_TELLS.contains(&name.name()));
        for (wanted, (number, _)) in policy.reasons.iter_mut().zip(selected) {
            *wanted = *number;
        }
        policy
    }

    /// The names of all reasons.
    #[cfg(test)]
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.values().map(Reason::name)
    }

    /// Whether the kernel says why it drops at all.
    pub(crate) fn are_known(&self) -> bool {
        !self.names.is_empty()
    }
}

fn without(prefix: &str, name: String) -> String {
    name.strip_prefix(prefix).map(str::to_owned).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: &[(u32, &str)]) -> BTreeMap<u32, String> {
        of.iter()
            .map(|(value, name)| (*value, (*name).to_owned()))
            .collect()
    }

    #[test]
    fn the_stack_is_wanted_where_it_shows_something() {
        let core = names(&[
            (2, "SKB_DROP_REASON_NOT_SPECIFIED"),
            (3, "SKB_DROP_REASON_NO_SOCKET"),
            (12, "SKB_DROP_REASON_NETFILTER_DROP"),
        ]);
        let reasons = Reasons::new(core, BTreeMap::new(), BTreeMap::new());
        let policy = reasons.stacks(false);
        assert!(policy.wants(2) && policy.wants(12) && !policy.wants(3));
        assert!(reasons.stacks(true).wants(3));
        assert!(
            Reasons::default().stacks(false).wants(0),
            "no reasons at all"
        );
    }

    #[test]
    fn names_lose_their_prefix_and_the_unnamed_keep_their_number() {
        let reasons = Reasons::new(
            names(&[
                (2, "SKB_DROP_REASON_NOT_SPECIFIED"),
                (0, "SKB_NOT_DROPPED_YET"),
            ]),
            names(&[(0x3_0001, "OVS_DROP_EXPLICIT")]),
            names(&[
                (0, "SKB_DROP_REASON_SUBSYS_CORE"),
                (3, "SKB_DROP_REASON_SUBSYS_OPENVSWITCH"),
            ]),
        );
        assert!(reasons.name(2).is("NOT_SPECIFIED"));
        assert!(reasons.name(0).is("SKB_NOT_DROPPED_YET"));
        assert!(reasons.name(0x3_0001).is("OVS_DROP_EXPLICIT"));
        assert!(reasons.name(0x3_0007).is("OPENVSWITCH:7"));
        assert!(reasons.name(0x9_0007).is("589831"));
        assert!(reasons.name(999).is("999"));
    }

    #[test]
    fn a_kernel_without_reasons_specifies_none() {
        assert!(!Reasons::default().name(0).is_specified());
    }
}
