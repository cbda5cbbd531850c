//! NetworkPolicies: which one refused the flow, or that none did.

use super::{Scene, lead};
use crate::{
    cluster::{naming::Name, owner::Owner, plugin::Plugin, policy::Protocol},
    model::{Confidence, Outcome, Point, PolicyVerdict, Verdict},
    policy::{Answer, Flow, Party, Peer, Refusal, evaluate, traps},
};

/// What the policies make of the scene's flow; `None` where they cannot be asked: a flow of which
/// it is not known who opened it, or a protocol that they know nothing of.
fn ask<'a>(scene: &'a Scene<'_>) -> Option<(Flow<'a>, Answer)> {
    let known = matches!(scene.src, Name::Pod(_)) || matches!(scene.dst, Name::Pod(_));
    if !known || !scene.is_opening {
        return None;
    }
    let flow = Flow {
        src: peer(scene, &scene.src, scene.flow.src),
        dst: peer(scene, &scene.dst, scene.flow.dst),
        protocol: Protocol::of_flow(scene.flow.proto)?,
        port: scene.flow.dport,
    };
    let answer = evaluate(scene.view(), &flow);
    Some((flow, answer))
}

/// An end of the flow as it was then, not as it is now.
fn peer<'a>(scene: &'a Scene<'_>, name: &'a Name, address: std::net::IpAddr) -> Peer<'a> {
    match name {
        Name::Pod(pod) => Peer {
            address: Some(address),
            party: Party::Pod(pod),
        },
        Name::Former(pod, _) => Peer {
            address: Some(address),
            party: Party::Unknown(format!("{address} was {}'s, which is gone", pod.id)),
        },
        Name::Here { .. } => Peer {
            address: Some(address),
            party: Party::Host {
                node: node_at(scene, address),
                pods: Vec::new(),
                named: false,
            },
        },
        _ => Peer::at(scene.view(), address),
    }
}

/// The node that has an address of its own in the range of its pods: that of a bridge, or a tunnel.
fn node_at<'a>(scene: &'a Scene<'_>, address: std::net::IpAddr) -> Option<&'a str> {
    match scene.view().owner(address) {
        Owner::Gone(node) => Some(node),
        _ => scene.node.as_deref(),
    }
}

/// A program refused it through NFQUEUE that is not known as an enforcer by its name or its rules.
pub(super) fn by_program(scene: &Scene<'_>, verdict: &mut Verdict) -> bool {
    if !is_rule(verdict, "nfqueue") || verdict.point != Point::Firewall {
        return false;
    }
    let view = scene.view();
    let uid = scene.program_pod.as_ref();
    let pod = uid.and_then(|uid| view.pods().find(|pod| pod.uid.as_ref() == Some(uid)));
    lead(
        verdict,
        pod.map(|pod| format!("it is a process of pod {}", pod.id)),
    );
    if pod.and_then(Plugin::of).is_some_and(Plugin::enforces) {
        verdict.point = Point::Policy;
        return true;
    }
    // Where nothing enforces policies, the program is no enforcer.
    if traps::unenforced(view).is_some() {
        return false;
    }
    let Some((flow, answer)) = ask(scene) else {
        return false;
    };
    let Some(refusal) = Refusal::of(view, &flow, &answer) else {
        return false;
    };
    blame(verdict, &refusal, &traps::warnings(view, &flow, &answer));
    verdict.confidence = Confidence::Likely;
    true
}

pub(super) fn is_rule(verdict: &Verdict, name: &str) -> bool {
    let rule = verdict.rule.as_ref();
    rule.is_some_and(|rule| rule.as_str() == name)
}

/// Blames the policies that refuse the flow. What is wrong with them comes first: text shows the
/// first few facts.
fn blame(verdict: &mut Verdict, refusal: &Refusal, warnings: &[String]) {
    let enforcement = std::mem::replace(&mut verdict.why, refusal.why.clone());
    let near_misses = refusal.near_misses.iter();
    let facts = warnings.iter().chain(near_misses).cloned();
    lead(verdict, facts.chain([enforcement]));
    verdict.point = Point::Policy;
    verdict.policy = Some(PolicyVerdict::from(refusal));
    verdict.subject = subject(refusal);
    // The policy is the cause: to change the engine's rules would not last.
    verdict.fix.clone_from(&refusal.fix);
}

/// A policy engine's rule dropped it.
pub(super) fn enforced(scene: &Scene<'_>, verdict: &mut Verdict) -> bool {
    let is_by_program = is_rule(verdict, "policy-by-program") && verdict.policy.is_some();
    if verdict.point != Point::Policy || is_by_program {
        return false;
    }
    let Some((flow, answer)) = ask(scene) else {
        return false;
    };
    let view = scene.view();
    if let Some(refusal) = Refusal::of(view, &flow, &answer) {
        blame(verdict, &refusal, &traps::warnings(view, &flow, &answer));
        verdict.confidence = Confidence::Confirmed;
        return true;
    }
    if answer.allowed.is_none() {
        let sides = [&answer.egress, &answer.ingress];
        let because = sides.into_iter().filter(|side| side.allowed().is_none());
        let mut because: Vec<_> = because.filter_map(|side| side.because.clone()).collect();
        // Both sides may be undecided for one reason.
        because.dedup();
        let unknown = because
            .iter()
            .map(|because| format!("whether a NetworkPolicy refuses it is not known: {because}"));
        // Where the enforcer's rules name the policies, that is the answer.
        if verdict.policy.is_none() {
            lead(verdict, unknown);
        } else {
            verdict.evidence.extend(unknown);
        }
        return false;
    }
    let isolates_no_pod =
        answer.egress.isolated == Some(false) && answer.ingress.isolated == Some(false);
    if isolates_no_pod {
        let enforcement = &verdict.why;
        verdict.why = format!(
            "{enforcement}; yet no NetworkPolicy selects either end: the rule is stale, or made \
             from something else"
        );
        if view.foreign_policies().is_empty() {
            verdict.point = Point::Firewall;
            verdict.policy = None;
        } else {
            verdict
                .evidence
                .extend(traps::warnings(view, &flow, &answer));
        }
        return true;
    }
    let mut admitting: Vec<_> = [&answer.egress, &answer.ingress]
        .into_iter()
        .flat_map(|side| side.admitted_by.iter().map(ToString::to_string))
        .collect();
    admitting.dedup();
    let by = match admitting.as_slice() {
        [] => String::new(),
        names => format!(" ({})", names.join(", ")),
    };
    verdict.why = format!(
        "{}; yet the NetworkPolicies admit the flow{by}: the enforcer disagrees with the API \
         objects (stale rules, or a rule that is made from no NetworkPolicy)",
        verdict.why
    );
    true
}

/// An ICMP error came back that a rule makes, and nothing was seen of the drop: on another node, say.
pub(super) fn rejected(scene: &Scene<'_>, verdict: &mut Verdict) -> bool {
    let is_by_rule = is_rule(verdict, "rejected") && verdict.point == Point::Firewall;
    if scene.outcome != Some(Outcome::Rejected) || !is_by_rule {
        return false;
    }
    let Some((flow, answer)) = ask(scene) else {
        return false;
    };
    let view = scene.view();
    if answer.allowed == Some(true) {
        lead(verdict, ["the NetworkPolicies admit the flow".to_owned()]);
        return false;
    }
    let Some(refusal) = Refusal::of(view, &flow, &answer) else {
        return false;
    };
    if let Some(unenforced) = traps::unenforced(view) {
        let policies = refusal.policies.join(", ");
        lead(
            verdict,
            [format!(
                "the NetworkPolicies do not admit the flow ({policies}), but {unenforced}"
            )],
        );
        return false;
    }
    blame(verdict, &refusal, &traps::warnings(view, &flow, &answer));
    verdict.confidence = Confidence::Likely;
    true
}

/// What a refusal blames.
fn subject(refusal: &Refusal) -> String {
    let direction = refusal.direction.name();
    format!("{} {direction} {}", refusal.pod, refusal.policies.join(" "))
}

/// Nothing but silence, where a policy would refuse the flow.
pub(super) fn silent(scene: &Scene<'_>, verdict: &mut Verdict) -> bool {
    if !scene.is_silence(verdict) {
        return false;
    }
    let Some((flow, answer)) = ask(scene) else {
        return false;
    };
    let view = scene.view();
    let Some(refusal) = Refusal::of(view, &flow, &answer) else {
        return false;
    };
    if let Some(unenforced) = traps::unenforced(view) {
        lead(
            verdict,
            [format!(
                "the NetworkPolicies do not admit the flow ({}), but {unenforced}",
                refusal.policies.join(", ")
            )],
        );
        return false;
    }
    let refused = format!(
        "the NetworkPolicies do not admit the flow: {}; no drop by an enforcer was seen",
        refusal.why
    );
    if scene.arrived {
        // The enforcer has let it through.
        lead(verdict, [refused]);
        return false;
    }
    if verdict.point == Point::OffNode {
        // Where it may have been refused cannot be seen from here, and much else can be there.
        lead(verdict, [refused]);
        verdict.evidence.extend(refusal.near_misses);
        return false;
    }
    let seen = std::mem::replace(&mut verdict.why, refusal.why.clone());
    lead(
        verdict,
        refusal
            .near_misses
            .iter()
            .cloned()
            .chain(["no drop by an enforcer was seen: this is inferred from silence".to_owned()])
            .chain([seen]),
    );
    verdict.point = Point::Policy;
    verdict.confidence = Confidence::Possible;
    verdict.policy = Some(PolicyVerdict::from(&refusal));
    verdict.subject = subject(&refusal);
    verdict.fix = refusal.fix;
    true
}
