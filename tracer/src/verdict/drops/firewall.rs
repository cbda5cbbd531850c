//! Somebody's rule or program dropped it.

use super::{Concern, Finding, function, place};
use crate::{
    decode::drop::DropFacts,
    model::{
        Confidence::{Confirmed, Likely, Possible},
        Fix, Point,
        shell::Command,
    },
    node::{
        facts::NodeFacts,
        ruleset::{Meaning, Owner, Suspect},
    },
    words,
};

/// Whether a program of the user's has given the packet back.
fn is_reinjected(facts: &DropFacts) -> bool {
    let mut top = facts.stack.iter().take(3);
    top.any(|frame| REINJECT.contains(&frame.as_str()))
}

pub(super) fn is_queued(facts: &DropFacts) -> Concern {
    Concern::surely(function(facts) == "nf_queue" || is_reinjected(facts))
}

/// A verdict that came back from userspace through NFQUEUE, or the lack of one.
pub(super) fn nfqueue(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    if function(facts) != "nf_queue" {
        // Made in the process' own context: the thread is the one that decided.
        let comm = &facts.comm;
        let point = if is_enforcer(comm) {
            Point::Policy
        } else {
            Point::Firewall
        };
        let why = format!("the process {comm} refused it through NFQUEUE");
        return Some(Finding::new(point, Confirmed, why).about(&[comm]));
    }
    let why = format!(
        "a rule hands it to a program through NFQUEUE{}, and no program takes it",
        place(facts)
    );
    let mut finding = Finding::new(Point::Firewall, Confirmed, why).about(&[&place(facts)]);
    let rules = node.suspects.iter().flat_map(|suspects| &suspects.rules);
    let rules = rules.take(LISTED);
    finding
        .evidence
        .extend(rules.map(|rule| format!("candidate: {}", rule.describe())));
    Some(finding)
}

/// The programs that enforce NetworkPolicies through NFQUEUE: kube-network-policies, by the name of
/// its project and by that of the binary in its image, and kindnet.
const ENFORCERS: [&str; 3] = ["kube-network-policies", "netpol", "kindnetd"];

/// Whether a thread of this name belongs to one of them. The kernel keeps the first 15 bytes of a
/// program's name.
fn is_enforcer(comm: &str) -> bool {
    const KEPT: usize = 15;
    let kept = |name: &&str| name.get(..KEPT).unwrap_or(name) == comm;
    ENFORCERS.iter().any(kept)
}

/// What takes a packet back from a program: `nf_reinject` before that moved into nfnetlink_queue.
const REINJECT: [&str; 2] = ["nfqnl_reinject", "nf_reinject"];

/// How many candidates are listed.
const LISTED: usize = 3;

/// That it was netfilter, the stack says. Which rule it was, the ruleset says where only one that
/// can have dropped the packet is left; otherwise the candidates are listed.
pub(super) fn netfilter(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let hook = facts
        .hook
        .map(|hook| format!(" in {hook}"))
        .unwrap_or_default();
    let why = format!("a netfilter rule dropped it{hook}{}", place(facts));
    let some_rule = Finding::new(Point::Firewall, Likely, why).about(&[&hook, &place(facts)]);
    let Some(suspects) = &node.suspects else {
        return Some(some_rule);
    };
    Some(match suspects.rules.as_slice() {
        [] => no_suspect(suspects.complete, some_rule),
        [only] => one_suspect(node, only, suspects.certain),
        several => several_suspects(several, some_rule),
    })
}

/// No rule that was read can have dropped it.
fn no_suspect(complete: bool, mut finding: Finding) -> Finding {
    if complete {
        finding.confidence = Possible;
        finding.fact(
            "no rule that is there now can have dropped it: it may have changed since, or be a BPF \
             netfilter program",
        );
    } else {
        finding.fact("the ruleset could not be read whole");
    }
    finding
}

/// One rule is left.
fn one_suspect(node: &NodeFacts, suspect: &Suspect, certain: bool) -> Finding {
    let by = match suspect.owner {
        Owner::User => String::new(),
        owner => format!(" of {}", owner.name()),
    };
    let rule = suspect.describe();
    let why = match suspect.meaning {
        Meaning::PolicyEnforcement => match &suspect.pod {
            Some(pod) => format!("network policy enforcement{by} for the pod {pod}: {rule}"),
            None => format!("network policy enforcement{by}: {rule}"),
        },
        Meaning::NoEndpoints => match &suspect.service {
            Some(service) => format!("the Service {service} has no endpoints, says {rule}"),
            None => format!("the Service has no endpoints, says {rule}"),
        },
        Meaning::NoSuchService => format!("no Service has this address and port, says {rule}"),
        Meaning::Invalid => {
            format!("conntrack calls the packet invalid, and a rule{by} drops that: {rule}")
        }
        Meaning::Plain if by.is_empty() => format!("dropped by {rule}"),
        Meaning::Plain => format!("dropped by a rule{by}: {rule}"),
    };
    let confidence = if certain { Confirmed } else { Likely };
    let mut finding = Finding::new(point(suspect.meaning), confidence, why).about(&[&rule]);
    if let Some(counter) = suspect.counter {
        let packets = words::count(counter.packets, "packet");
        finding.fact(format!("that rule has counted {packets}"));
    }
    if certain {
        finding.fact("no other rule at this hook can have dropped it");
    }
    finding.fix.extend(node.mending.fixes.clone());
    finding.evidence.extend(node.mending.remarks.clone());
    finding
}

/// Several rules are left: what they have in common is likely, and no more.
fn several_suspects(suspects: &[Suspect], mut finding: Finding) -> Finding {
    let meaning = suspects[0].meaning;
    if suspects.iter().all(|suspect| suspect.meaning == meaning) {
        finding.point = point(meaning);
    } else {
        finding.confidence = Possible;
    }
    let rules = words::count(suspects.len() as u64, "rule");
    finding.fact(format!("{rules} can have dropped it"));
    for suspect in suspects.iter().take(LISTED) {
        finding.fact(format!(
            "candidate: {} ({})",
            suspect.describe(),
            suspect.owner.name()
        ));
    }
    finding
}

fn point(meaning: Meaning) -> Point {
    match meaning {
        Meaning::PolicyEnforcement => Point::Policy,
        Meaning::NoEndpoints | Meaning::NoSuchService => Point::Endpoint,
        Meaning::Invalid => Point::Conntrack,
        Meaning::Plain => Point::Firewall,
    }
}

pub(super) fn is_ipsec(facts: &DropFacts) -> Concern {
    Concern::surely(facts.reason.is("XFRM_POLICY"))
}

/// A policy of IPsec that blocks, or that asks for an encryption which the packet has not.
pub(super) fn ipsec(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let why = format!(
        "an IPsec policy refuses it{}: `ip xfrm policy` shows it",
        place(facts)
    );
    Some(Finding::new(Point::Firewall, Confirmed, why).about(&[&place(facts)]))
}

/// The kernel gives no reason, and frees the packet in a function that does so for other reasons,
/// too.
pub(super) fn may_be_isolated(facts: &DropFacts) -> Concern {
    let unsaid = !facts.reason.is_specified() && function(facts) == "br_handle_frame_finish";
    Concern::maybe(unsaid)
}

/// A bridge that keeps some of its ports apart.
pub(super) fn isolated_port(_: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let port = node
        .around
        .link
        .as_ref()
        .filter(|link| link.is_isolated())?;
    let why = format!(
        "the bridge port {} is isolated: the bridge passes nothing from it to other isolated ports",
        port.name
    );
    let mut finding = Finding::new(Point::Firewall, Likely, why).about(&[&port.name]);
    let set = |value: &str| {
        Command::new("bridge link set dev")
            .arg(&port.name)
            .words("isolated")
            .arg(value)
    };
    finding.fix.push(Fix::change(set("off"), set("on")));
    Some(finding)
}

pub(super) fn port_is_not_isolated(_: &DropFacts, node: &NodeFacts) -> Option<String> {
    let port = node
        .around
        .link
        .as_ref()
        .filter(|link| !link.is_isolated())?;
    Some(format!("the bridge port {} is not isolated", port.name))
}
