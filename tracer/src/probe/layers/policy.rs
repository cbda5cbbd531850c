//! Policy: the answer of the NetworkPolicies for each flow, beside what was seen.

use std::net::IpAddr;

use super::{report, without};
use crate::{
    cluster::{
        policy::Protocol,
        view::{Kind, View},
    },
    model::{Layer, LayerReport, LayerResult, LayerTest, Point, Verdict},
    policy::{Answer, Flow, Party, Peer, Side, evaluate},
    probe::Plan,
    words,
};

/// A flow that was tried.
#[derive(Debug, Clone)]
pub(crate) struct Tried {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    /// Whether it was answered.
    pub(crate) answered: bool,
    pub(crate) verdict: Option<Verdict>,
}

/// The layer.
pub(crate) fn layer(plan: &Plan, view: &View, tried: &[Tried]) -> LayerReport {
    let blamed = |one: &&Tried| is_policy(one.verdict.as_ref());
    if !view.knows(Kind::NetworkPolicy) && !tried.iter().any(|one| blamed(&one)) {
        let passed = tried.iter().filter(|one| one.answered).count();
        let seen = format!(
            "no NetworkPolicy is known (--cluster, --kubeconfig); {passed} of {} answered",
            words::counted(tried.len(), "flow", "flows")
        );
        return without(Layer::Policy, LayerResult::Skipped, "", seen);
    }
    let tests: Vec<LayerTest> = tried
        .iter()
        .filter(|one| !matches!(Peer::at(view, one.dst).party, Party::Service(_)))
        .map(|one| test(plan, view, one))
        .collect();
    if tests.is_empty() {
        let reason = "no flow to a pod or an address was tried";
        return without(Layer::Policy, LayerResult::Skipped, "", reason);
    }
    let unenforced = tests.iter().filter(|one| {
        let evidence = one.evidence.as_deref().unwrap_or_default();
        one.result == LayerResult::Ok && evidence.contains(UNENFORCED)
    });
    // The row is of all flows, and the one to know of need not be the first.
    let evidence = match (unenforced.count(), tests.len()) {
        (0, _) | (_, 1) => None,
        (some, all) => Some(format!(
            "{some} of {} are refused, but {UNENFORCED}",
            words::counted(all, "flow", "flows")
        )),
    };
    let fails = tests.iter().any(|one| one.result == LayerResult::Failed);
    report(Layer::Policy, tests, evidence.filter(|_| !fails))
}

/// What is said of a flow that came there although the policies refuse it.
const UNENFORCED: &str = "nothing enforces that";

fn is_policy(verdict: Option<&Verdict>) -> bool {
    verdict.is_some_and(|verdict| verdict.point == Point::Policy)
}

fn test(plan: &Plan, view: &View, tried: &Tried) -> LayerTest {
    let end = |ip: IpAddr| match &Peer::at(view, ip).party {
        Party::Pod(pod) => pod.id.to_string(),
        _ => ip.to_string(),
    };
    let to = match (Peer::at(view, tried.dst).party, tried.dst) {
        (Party::Pod(pod), _) => format!("{}:{}", pod.id, tried.port),
        (_, IpAddr::V6(ip)) => format!("[{ip}]:{}", tried.port),
        (_, IpAddr::V4(ip)) => format!("{ip}:{}", tried.port),
    };
    let answer = evaluate(
        view,
        &Flow {
            src: Peer::at(view, tried.src),
            dst: Peer::at(view, tried.dst),
            protocol: tried.protocol,
            port: Some(tried.port),
        },
    );
    let blamed = is_policy(tried.verdict.as_ref());
    let seen = match (tried.answered, blamed) {
        (true, _) => "answered",
        (false, true) => "dropped by policy enforcement",
        (false, false) => "not answered",
    };
    // A closed port or a full queue refuses what no policy has kept away.
    let came_there = tried.answered
        || tried
            .verdict
            .as_ref()
            .is_some_and(|found| matches!(found.point, Point::Socket | Point::Listener));
    let (result, judged) = match (answer.allowed, came_there, blamed) {
        (_, false, true) => (LayerResult::Failed, in_words(&answer)),
        (Some(true), true, _) => (LayerResult::Ok, in_words(&answer)),
        // Nothing was seen that policies would have let pass.
        (Some(true), false, false) => (LayerResult::Skipped, in_words(&answer)),
        // What the policies refuse, and what came there all the same, does not fail.
        (Some(false), true, _) => (
            LayerResult::Ok,
            format!("{}, but {UNENFORCED}", in_words(&answer)),
        ),
        (Some(false), false, _) => (LayerResult::Failed, in_words(&answer)),
        (None, true, _) => (LayerResult::Ok, in_words(&answer)),
        (None, false, _) => (LayerResult::Skipped, in_words(&answer)),
    };
    LayerTest {
        test: plan
            .explain(&end(tried.src), &to, tried.protocol)
            .to_string(),
        result,
        evidence: Some(format!("{judged}; seen: {seen}")),
        verdict: tried
            .verdict
            .clone()
            .filter(|_| result == LayerResult::Failed),
    }
}

fn in_words(answer: &Answer) -> String {
    let refuses = [&answer.egress, &answer.ingress]
        .into_iter()
        .find(|side| side.allowed() == Some(false));
    let names = |side: &Side| {
        let names: Vec<_> = side.policies.iter().map(ToString::to_string).collect();
        names.join(", ")
    };
    match (answer.allowed, refuses) {
        (Some(false), Some(side)) => {
            format!("refused at {} by {}", side.direction.name(), names(side))
        }
        (Some(false), None) => "refused".to_owned(),
        (Some(true), _) => "admitted".to_owned(),
        (None, _) => {
            let sides = [&answer.egress, &answer.ingress];
            let because = sides.into_iter().find_map(|side| side.because.clone());
            match because {
                Some(because) => format!("undecidable: {because}"),
                None => "undecidable".to_owned(),
            }
        }
    }
}
