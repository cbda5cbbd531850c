//! The verdict on one dropped packet.

use super::drops::{Finding, RULES, function, is_netfilter};
use crate::{
    decode::drop::DropFacts,
    model::{Confidence, Point, Verdict},
    node::{
        facts::{NodeFacts, Wants},
        gather::Fact,
    },
};

/// Judges a drop by the first rule that applies. `node` is what the node says of it, as far as it
/// was asked.
pub fn judge(facts: &DropFacts, node: &NodeFacts) -> Verdict {
    let found = RULES.iter().find_map(|rule| (rule.applies)(facts, node));
    let Finding {
        point,
        confidence,
        why,
        evidence: of_rule,
        fix,
    } = found.unwrap_or_else(|| Finding {
        point: Point::Unknown,
        confidence: Confidence::Possible,
        why: format!(
            "dropped by this kernel in {} ({})",
            function(facts),
            facts.reason
        ),
        evidence: Vec::new(),
        fix: Vec::new(),
    });
    // The text shows the first few: what is special about this drop comes first.
    let mut evidence = of_rule;
    evidence.extend(general(facts));
    evidence.extend(node.gaps.iter().map(|gap| format!("not known: {gap}")));
    Verdict {
        point,
        confidence,
        why,
        evidence,
        fix,
        policy: None,
    }
}

/// What the node could say to sharpen the verdict that a drop was given without it.
pub fn wants(facts: &DropFacts, verdict: &Verdict) -> Wants {
    let around: &[Fact] = match verdict.point {
        Point::Mtu => &[Fact::Mtu],
        Point::Overlay => &[Fact::Overlay],
        Point::Rpfilter => &[Fact::RpFilter],
        Point::Endpoint => &[Fact::Neighbor, Fact::Overlay, Fact::World],
        Point::Route => &[Fact::Route, Fact::Overlay, Fact::World],
        Point::Listener => &[Fact::Listener],
        Point::Queue => &[Fact::Qdisc],
        Point::Firewall if !is_netfilter(facts) => match facts.reason.name() {
            "BPF_CGROUP_EGRESS" | "SOCKET_FILTER" => &[Fact::CgroupPrograms],
            _ => &[Fact::Programs],
        },
        Point::Unknown if !facts.reason.is_specified() => &[Fact::Link],
        _ => &[],
    };
    Wants {
        ruleset: is_netfilter(facts),
        around: around.iter().copied().collect(),
    }
}

/// What every drop shows.
fn general(facts: &DropFacts) -> Vec<String> {
    let mut evidence = vec![format!(
        "the kernel freed the packet in {}, reason {}",
        function(facts),
        facts.reason
    )];
    if let Some(hook) = facts.hook {
        evidence.push(format!("the stack shows the netfilter hook {hook}"));
    }
    if let Some(outer) = &facts.outer {
        evidence.push(format!(
            "it was encapsulated, {} to {}",
            outer.src, outer.dst
        ));
    }
    evidence
}
