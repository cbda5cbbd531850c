//! NetworkPolicies: which one refused the flow, or that none did.

use super::{Scene, lead};
use crate::{
    cluster::{naming::Name, policy::Protocol},
    model::{Confidence, Point, PolicyVerdict, Verdict},
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
        _ => Peer::at(scene.view(), address),
    }
}

/// A policy engine's rule dropped it.
pub(super) fn enforced(scene: &Scene<'_>, verdict: &mut Verdict) -> bool {
    if verdict.point != Point::Policy || verdict.policy.is_some() {
        return false;
    }
    let Some((flow, answer)) = ask(scene) else {
        return false;
    };
    let view = scene.view();
    if let Some(refusal) = Refusal::of(view, &flow, &answer) {
        let enforcement = std::mem::replace(&mut verdict.why, refusal.why.clone());
        let facts = refusal.near_misses.iter().cloned();
        lead(verdict, facts.chain([enforcement]));
        verdict
            .evidence
            .extend(traps::warnings(view, &flow, &answer));
        verdict.confidence = Confidence::Confirmed;
        verdict.policy = Some(PolicyVerdict::from(&refusal));
        verdict.subject = subject(&refusal);
        // The policy is the cause: to change the engine's rules would not last.
        verdict.fix = refusal.fix;
        return true;
    }
    if answer.allowed.is_none() {
        let sides = [&answer.egress, &answer.ingress];
        let because = sides.into_iter().filter(|side| side.allowed().is_none());
        let because = because.filter_map(|side| side.because.clone());
        lead(
            verdict,
            because.map(|because| {
                format!("whether a NetworkPolicy refuses it is not known: {because}")
            }),
        );
        return false;
    }
    let isolates_nobody =
        answer.egress.isolated == Some(false) && answer.ingress.isolated == Some(false);
    if isolates_nobody {
        let enforcement = &verdict.why;
        verdict.why = format!(
            "{enforcement}; yet no NetworkPolicy selects either end: the rule is stale, or made \
             from something else"
        );
        if view.foreign_policies().is_empty() {
            verdict.point = Point::Firewall;
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
        // Whoever enforces has let it through.
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
