//! A rule or a program dropped it.

use super::{Concern, Finding, decisive, function, place, unruled};
use crate::{
    decode::drop::DropFacts,
    model::{
        Confidence::{Confirmed, Likely, Possible},
        Fix, Point, PolicyVerdict, Site,
        shell::Command,
    },
    node::{
        change,
        conntrack::Connection,
        facts::NodeFacts,
        ruleset::{
            Meaning, Owner, Suspect, Suspects,
            model::{Counter, Verdict},
        },
    },
    words,
};

/// How many candidates are listed.
pub(super) const LISTED: usize = 3;

/// That it was netfilter, the stack says. Which rule it was, the ruleset says where only one that
/// could have dropped the packet is left; otherwise the candidates are listed.
pub(super) fn netfilter(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let hook = facts
        .hook
        .map(|hook| format!(" in {hook}"))
        .unwrap_or_default();
    let some = |what: &str, confidence| {
        let why = format!("{what} dropped it{hook}{}", place(facts));
        Finding::new(Point::Firewall, confidence, why).about(&[&hook, &place(facts)])
    };
    let some_rule = some("a netfilter rule", Likely);
    let Some(suspects) = &node.suspects else {
        return Some(match function(facts).starts_with("nft_do_chain") {
            true => some_rule,
            // NAT and conntrack drop there, too.
            false => some("netfilter", Possible),
        });
    };
    Some(match suspects.rules.as_slice() {
        [] if suspects.complete => unruled::unexplained(facts, node, &hook),
        [] => unread(some_rule),
        [only] => one_suspect(facts, node, only, suspects),
        several => several_suspects(several, some_rule),
    })
}

/// No rule that was read could have dropped it; one that was not read can.
fn unread(mut finding: Finding) -> Finding {
    finding.confidence = Possible;
    finding.fact("the ruleset could not be read whole");
    finding
}

/// One rule is left.
fn one_suspect(facts: &DropFacts, node: &NodeFacts, suspect: &Suspect, all: &Suspects) -> Finding {
    let certain = all.certain;
    let rule = suspect.describe();
    // Of a counter that was read before the drop, the figure says nothing.
    let counter = suspect.counter.filter(|_| all.have_counted);
    let confidence = match counter {
        Some(Counter { packets: 0, .. }) => Possible,
        _ if certain => Confirmed,
        _ => Likely,
    };
    let is_plain = suspect.meaning == Meaning::Plain;
    let marked = node.marking.as_deref().filter(|_| is_plain);
    let mut finding = match (marked, &node.unestablished) {
        (Some(marking), _) => decisive::for_its_mark(suspect, marking, confidence),
        (None, Some(state)) => decisive::for_its_state(node, state, &rule, confidence),
        (None, None) => {
            let why = one_sentence(suspect, &rule);
            Finding::new(point(suspect.meaning), confidence, why).about(&[&rule])
        }
    };
    let meaning = marked.map_or(suspect.meaning, |marking| marking.rule.meaning);
    if suspect.meaning == Meaning::PolicyEnforcement {
        if let Some(decision) = &suspect.decision {
            finding.fact(format!("Calico's log rule in front of it: {decision}"));
        }
        // Such a rule says little, and takes lines.
        finding.fact(format!("the rule: {rule}"));
        finding.policy = policy_of(suspect);
    }
    match counter {
        Some(Counter { packets: 0, .. }) => finding.fact(
            "its counter is at 0: the rules have been replaced since, or another one dropped it",
        ),
        Some(Counter { packets, .. }) => {
            let packets = words::count(packets, "packet");
            finding.fact(format!("that rule has counted {packets}"));
        }
        None => {}
    }
    if certain && all.by_growth {
        finding.fact("of all rules that could have dropped it, only this one has counted it");
    } else if certain && all.by_answer {
        finding.fact("of all rules that could have dropped it, only this one answers as was seen");
    } else if certain {
        finding.fact("no other rule at this hook could have dropped it");
    }
    if is_plain && facts.key.flow.is_later_fragment() {
        finding.fact(
            "it is a fragment behind the first one, which has no ports: no rule that asks for a port \
             takes it, unless conntrack puts the packet together first",
        );
    }
    let sources = marked.and_then(|marking| marking.sources.as_ref());
    if let Some(sources) = sources.or(node.sources.as_ref()) {
        decisive::add_sources(&mut finding, sources, facts);
    }
    if meaning == Meaning::NoLocalEndpoints {
        finding.fix.push(Fix::advice(
            "run a pod of the Service on this node, send to a node that has one, or set the traffic \
             policy of the Service to Cluster",
        ));
    }
    if let Some(connection) = node.connection {
        explain_invalid(&mut finding, connection);
    }
    finding.fix.extend(node.mending.fixes.clone());
    finding.evidence.extend(node.mending.remarks.clone());
    finding
}

/// Why conntrack calls it invalid, and what to look for.
fn explain_invalid(finding: &mut Finding, connection: Connection) {
    let (fact, fix) = match connection {
        Connection::Unknown => (
            "conntrack has no entry of its connection: it has expired or was flushed, or the first \
             packet did not pass here",
            Fix::advice(
                "find out where the first packet of the connection went: both directions have to pass \
                 this node",
            ),
        ),
        Connection::Unanswered => (
            "conntrack has seen the first packet of the connection, and no answer: the answers take \
             another way",
            Fix::advice("route both directions of the connection by this node"),
        ),
        Connection::Answered => (
            "conntrack has an entry of its connection, and the packet does not fit it (out of window)",
            change::sysctl("net/netfilter/nf_conntrack_tcp_be_liberal", 0, 1)
                .noting("if these are segments out of window"),
        ),
    };
    finding.fact(fact);
    finding.fix.push(fix);
}

/// What the rule did, in one sentence.
pub(super) fn one_sentence(suspect: &Suspect, rule: &str) -> String {
    let by = match suspect.owner {
        Owner::User => None,
        owner => Some(owner.name()),
    };
    let of = by.map(|owner| format!(" of {owner}")).unwrap_or_default();
    let service = match &suspect.service {
        Some(service) => format!("the Service {service}"),
        None => "the Service".to_owned(),
    };
    match suspect.meaning {
        Meaning::PolicyEnforcement => {
            let pod = suspect.pod.as_ref();
            let of_pod = pod.map(|pod| format!(" for the pod {pod}"));
            format!(
                "a network policy rule{of}{} refuses it",
                of_pod.unwrap_or_default()
            )
        }
        Meaning::NoEndpoints => format!("{service} has no endpoints, says {rule}"),
        Meaning::NoLocalEndpoints => {
            format!("{service} has no endpoint on this node, says {rule}")
        }
        Meaning::NoSuchService => format!("no Service has this address and port, says {rule}"),
        Meaning::Invalid => {
            format!("conntrack calls the packet invalid, and a rule{of} drops that: {rule}")
        }
        Meaning::Plain => {
            let did = match suspect.verdict {
                Verdict::Reject(_) => "rejected",
                _ => "dropped",
            };
            match by {
                None => format!("{did} by {rule}"),
                Some(_) => format!("{did} by a rule{of}: {rule}"),
            }
        }
    }
}

/// The policies that the rules around it name.
fn policy_of(suspect: &Suspect) -> Option<PolicyVerdict> {
    let named = suspect.policies.as_ref()?;
    Some(PolicyVerdict {
        direction: named.direction,
        pod: suspect.pod.clone()?,
        policies: named.names.clone(),
        missing: format!(
            "a rule of one of them that admits this {}",
            named.direction.peer()
        ),
    })
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
    finding.fact(format!("{rules} could have dropped it"));
    for suspect in suspects.iter().take(LISTED) {
        finding.fact(format!(
            "candidate: {} ({})",
            suspect.describe(),
            suspect.owner.name()
        ));
    }
    finding
}

pub(super) fn point(meaning: Meaning) -> Point {
    match meaning {
        Meaning::PolicyEnforcement => Point::Policy,
        Meaning::NoEndpoints | Meaning::NoLocalEndpoints | Meaning::NoSuchService => {
            Point::Endpoint
        }
        Meaning::Invalid => Point::Conntrack,
        Meaning::Plain => Point::Firewall,
    }
}

pub(super) fn is_security_module(facts: &DropFacts) -> Concern {
    Concern::surely(facts.reason.is("SECURITY_HOOK"))
}

/// A security module keeps the packet from the socket (`security_sock_rcv_skb`).
pub(super) fn security_module(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let why = format!(
        "a Linux security module (SELinux, Smack, AppArmor or BPF LSM) keeps it from the socket of \
         {}",
        facts.flow.dst
    );
    let mut finding = Finding::new(Point::Firewall, Confirmed, why).about(&[&facts.flow.dst]);
    finding.fix.push(
        Fix::advice("look for the denial in the audit log (`ausearch -m avc -ts recent`), and allow it in the module's policy")
            .at(Site::Host),
    );
    Some(finding)
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
