//! The rules on drops, most direct evidence first. The first that applies gives the verdict.
//!
//! A rule reads the kernel's reason, the function that freed the skb, its stack and its headers, and
//! what the node says where it was asked. Older kernels give less of a reason and other functions:
//! rules name both. `docs/verdicts.md` is made of the tables in `rules`.

pub(super) mod answers;
mod bridge;
mod bridge_port;
mod closed_port;
mod conntrack;
mod dead_redirect;
mod decisive;
mod discovery;
mod expired;
mod firewall;
mod forwarded_proxy;
mod host;
mod insertion;
mod ipsec;
mod ipvs;
pub(super) mod listener;
pub(super) mod mtu;
mod next_hop;
mod nfqueue;
pub(super) mod not_here;
mod openvswitch;
pub(super) mod other_host;
pub(super) mod overlay;
pub(super) mod path;
mod program;
pub(super) mod question;
mod queue;
pub(super) mod redirect;
mod routes;
mod rules;
mod service_address;
mod socket;
mod stale_entry;
mod takers;
mod translated;
mod translation;
mod tunnel;
pub(in crate::verdict) mod unanswered;
pub(super) mod unjudged;
mod unruled;
mod untaken_proxy;
mod veth;

pub(crate) use self::closed_port::CLOSED_PORT;
pub(super) use self::rules::rules;
use super::rule::Finding;
use crate::{decode::drop::DropFacts, node::facts::NodeFacts};

/// How a rule is asked about a drop.
pub(super) struct OnDrop {
    /// Whether it comes into question, by the drop alone.
    pub(super) concerns: fn(&DropFacts) -> Concern,
    /// The finding, if it applies; asked only if it comes into question.
    pub(super) finds: fn(&DropFacts, &NodeFacts) -> Option<Finding>,
    /// What rules it out, if it came into question and does not apply.
    pub(super) refutes: Option<fn(&DropFacts, &NodeFacts) -> Option<String>>,
}

/// Whether a rule comes into question for a drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Concern {
    /// It does not.
    No,
    /// What the node says will decide it.
    Maybe,
    /// It applies, whatever the node says.
    Surely,
}

impl Concern {
    fn surely(applies: bool) -> Self {
        if applies { Self::Surely } else { Self::No }
    }

    fn maybe(may_apply: bool) -> Self {
        if may_apply { Self::Maybe } else { Self::No }
    }
}

impl OnDrop {
    const fn new(
        concerns: fn(&DropFacts) -> Concern,
        finds: fn(&DropFacts, &NodeFacts) -> Option<Finding>,
    ) -> Self {
        Self {
            concerns,
            finds,
            refutes: None,
        }
    }

    const fn or_refuted(self, by: fn(&DropFacts, &NodeFacts) -> Option<String>) -> Self {
        Self {
            refutes: Some(by),
            ..self
        }
    }
}

/// The function that freed the skb.
pub(super) fn function(facts: &DropFacts) -> &str {
    facts.function.as_deref().unwrap_or("an unknown function")
}

/// Whether a netfilter hook dropped it.
pub(super) fn is_netfilter(facts: &DropFacts) -> bool {
    facts.reason.is("NETFILTER_DROP")
        || matches!(
            function(facts),
            "nf_hook_slow" | "nft_do_chain" | "nf_hook_slow_list" | "nf_queue"
        )
}

/// Where it happened, as a person would say it.
fn place(facts: &DropFacts) -> String {
    match &facts.ifname {
        Some(ifname) => format!(" at {ifname}"),
        None => String::new(),
    }
}

/// Whether the packet carries another one: it is a tunnel's.
fn is_tunnelled(facts: &DropFacts) -> bool {
    facts.outer.is_some()
}

#[cfg(test)]
pub(super) mod tests;
