//! The verdict on one dropped packet.

pub(crate) use super::drops::CLOSED_PORT;
use super::{
    drops::{Concern, answers, function, mtu, other_host, overlay, redirect, rules, unjudged},
    rule::Finding,
};
use crate::{
    decode::drop::DropFacts,
    model::{Confidence, Point, Verdict},
    node::facts::{NodeFacts, Wants},
};

/// Judges a drop by the first rule that applies. `node` is what the node says of it, as far as it
/// was asked.
pub(crate) fn judge(facts: &DropFacts, node: &NodeFacts) -> Verdict {
    let mut refuted = Vec::new();
    let mut in_question = rules().filter(|rule| (rule.applies.concerns)(facts) != Concern::No);
    let found = in_question.find_map(|rule| {
        let finding = (rule.applies.finds)(facts, node);
        if finding.is_none() {
            let because = rule.applies.refutes.and_then(|by| by(facts, node));
            refuted.extend(because.map(|because| rule.refuted(because)));
        }
        Some((rule.name, finding?))
    });
    let mut verdict = match found {
        Some((rule, finding)) => finding.into_verdict(Some(rule)),
        None => unexplained(facts).into_verdict(None),
    };
    // The text shows the first few: what is special about this drop comes first.
    verdict.evidence.extend(general(facts));
    let gaps = node.gaps.iter();
    verdict
        .evidence
        .extend(gaps.map(|gap| format!("not known: {gap}")));
    verdict.refuted = refuted;
    verdict
}

/// Whether what the node says makes a drop one that healthy traffic makes too.
pub(crate) fn is_noise(facts: &DropFacts, node: &NodeFacts) -> bool {
    answers::is_leftover(facts, node)
        || redirect::is_refused_by_nat(facts, node)
        || other_host::is_flooded(facts, node)
}

/// Whether a packet was in a tunnel whose sender is no tunnel endpoint known here: anyone may have
/// written it.
pub(crate) fn is_from_stranger(facts: &DropFacts, node: &NodeFacts) -> bool {
    overlay::is_from_stranger(facts, node)
}

/// Whether a packet was dropped because it is too large for the next hop.
pub(crate) fn is_too_large(facts: &DropFacts) -> bool {
    mtu::is_too_large(facts) != Concern::No
}

/// Whether what was dropped is a message that would make a sender use smaller packets.
pub(crate) fn is_too_big_message(facts: &DropFacts) -> bool {
    mtu::says_too_big(facts)
}

/// What the node is to be asked for the rules that come into question: up to the first that applies
/// whatever the node says.
pub(crate) fn wants(facts: &DropFacts) -> Wants {
    let mut wants = Wants::default();
    for rule in rules() {
        let concern = (rule.applies.concerns)(facts);
        if concern != Concern::No {
            wants.0.extend(rule.needs);
        }
        if concern == Concern::Surely {
            break;
        }
    }
    wants
}

fn unexplained(facts: &DropFacts) -> Finding {
    let meaning = unjudged::meaning(facts.reason.name()).filter(|_| facts.reason.is_specified());
    let meaning = meaning.map_or_else(String::new, |meaning| format!(": {meaning}"));
    let why = format!(
        "dropped by this kernel in {} ({}){meaning}",
        function(facts),
        facts.reason
    );
    Finding::new(Point::Unknown, Confidence::Possible, why)
        .about(&[&function(facts), &facts.reason])
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
    evidence.extend(mtu::unrelated_message(facts));
    if let Some(outer) = &facts.outer {
        evidence.push(format!(
            "it was encapsulated, {} to {}",
            outer.src, outer.dst
        ));
    }
    evidence
}
