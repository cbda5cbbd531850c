//! A program has refused it through NFQUEUE, or there was none to decide.

use super::{Concern, Finding, function, place};
use crate::{
    decode::drop::DropFacts,
    model::{
        Confidence::{Confirmed, Possible},
        Point,
    },
    node::{facts::NodeFacts, queue_program::QueueProgram, ruleset::Owner},
};

/// What takes a packet back from a program: `nf_reinject` before that moved into nfnetlink_queue.
const REINJECT: [&str; 2] = ["nfqnl_reinject", "nf_reinject"];

/// The programs that enforce NetworkPolicies through NFQUEUE: kube-network-policies, by the name of
/// its project and by that of the binary in its image, and kindnet.
const ENFORCERS: [&str; 3] = ["kube-network-policies", "netpol", "kindnetd"];

/// How many candidates are listed.
const LISTED: usize = 3;

pub(super) fn is_unserved(facts: &DropFacts) -> Concern {
    Concern::surely(function(facts) == "nf_queue")
}

/// There was no program to decide.
pub(super) fn unserved(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
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

pub(super) fn was_refused(facts: &DropFacts) -> Concern {
    let mut top = facts.stack.iter().take(3);
    Concern::surely(top.any(|frame| REINJECT.contains(&frame.as_str())))
}

/// A verdict that came back from userspace. The kernel carries it out in the process' own context:
/// the thread is the one that decided.
pub(super) fn refused(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let comm = facts.comm.as_str();
    let program = node.queue_program.as_ref();
    let executable = program.and_then(|program| program.executable.as_deref());
    let owner = queue_owner(node);
    let is_policy = is_enforcer_by_comm(comm)
        || executable.is_some_and(|name| ENFORCERS.contains(&name))
        || owner.is_some();
    let point = if is_policy {
        Point::Policy
    } else {
        Point::Firewall
    };
    if comm.is_empty() {
        let why = "a program refused it through NFQUEUE";
        return Some(Finding::new(point, Possible, why));
    }
    let why = format!("the process {comm} refused it through NFQUEUE");
    let mut finding = Finding::new(point, Confirmed, why).about(&[&comm]);
    if let Some(name) = executable.filter(|name| *name != comm) {
        finding.fact(format!("its executable is {name}"));
    }
    if let Some(owner) = owner {
        finding.fact(format!("the queue rule is one of {}", owner.name()));
    }
    if let Some(QueueProgram {
        pod_uid: Some(uid), ..
    }) = program
    {
        finding.fact(format!("it runs in the pod with the UID {uid}"));
    }
    Some(finding)
}

/// The enforcer whose rules hand the packet to the queue.
fn queue_owner(node: &NodeFacts) -> Option<Owner> {
    let rules = node.suspects.iter().flat_map(|suspects| &suspects.rules);
    let mut owners = rules.map(|rule| rule.owner);
    let first = owners.next()?;
    (first.enforces_policies() && owners.all(|owner| owner == first)).then_some(first)
}

/// Whether a thread of this name belongs to an enforcer. The kernel keeps the first 15 bytes of a
/// program's name.
fn is_enforcer_by_comm(comm: &str) -> bool {
    const KEPT: usize = 15;
    let kept = |name: &&str| name.get(..KEPT).unwrap_or(name) == comm;
    ENFORCERS.iter().any(kept)
}
