//! Somebody's rule or program dropped it.

use super::{Finding, found, place};
use crate::{
    drops::decode::DropFacts,
    node::facts::NodeFacts,
    record::{
        Confidence::{Confirmed, Likely},
        Point,
    },
    verdict::drop::function,
};

/// A verdict that came back from userspace through NFQUEUE.
pub(super) fn nfqueue(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let asked = facts
        .stack
        .iter()
        .take(3)
        .any(|frame| frame == "nfqnl_reinject");
    asked.then(|| {
        // Made in the process' own context: the thread is the one that decided.
        let is_policy = facts.comm.contains("network-polic");
        let point = if is_policy {
            Point::Policy
        } else {
            Point::Firewall
        };
        found(
            point,
            Confirmed,
            format!("the process {} refused it through NFQUEUE", facts.comm),
        )
    })?
}

/// Which rule it was, the ruleset would say; that it was one, the stack does.
pub(super) fn netfilter(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let in_netfilter = facts.reason == "NETFILTER_DROP"
        || matches!(
            function(facts),
            "nf_hook_slow" | "nft_do_chain" | "nf_hook_slow_list"
        );
    in_netfilter.then(|| {
        let hook = facts
            .hook
            .map(|hook| format!(" in {hook}"))
            .unwrap_or_default();
        found(
            Point::Firewall,
            Likely,
            format!("a netfilter rule dropped it{hook}{}", place(facts)),
        )
    })?
}

pub(super) fn bpf_program(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let program = match (facts.reason.as_str(), function(facts)) {
        ("TC_INGRESS", _) => "a tc program or filter at ingress",
        ("TC_EGRESS", _) => "a tc program or filter at egress",
        ("XDP", _) | (_, "do_xdp_generic" | "veth_xdp_rcv_skb" | "veth_xdp_rcv_one") => {
            "an XDP program"
        }
        ("BPF_CGROUP_EGRESS", _) => "a cgroup program at egress",
        ("SOCKET_FILTER", _) => "a socket filter or a cgroup program at ingress",
        _ => return None,
    };
    found(
        Point::Firewall,
        Confirmed,
        format!("{program} dropped it{}", place(facts)),
    )
}
