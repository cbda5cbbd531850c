//! The verdicts of an independent evaluator over random clusters.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::super::*;
use crate::{cluster::dump::Loaded, model::Fix};

#[derive(Deserialize)]
struct Case {
    cluster: Value,
    flows: Vec<Given>,
}

#[derive(Deserialize)]
struct Given {
    src: std::net::IpAddr,
    dst: std::net::IpAddr,
    dport: u16,
    proto: String,
    expect: Expected,
}

#[derive(Deserialize)]
struct Expected {
    allowed: bool,
    egress: ExpectedSide,
    ingress: ExpectedSide,
}

#[derive(Deserialize, PartialEq, Debug)]
struct ExpectedSide {
    isolated: bool,
    allowed: bool,
    policies: Vec<String>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../../../testdata/policy-corpus-sample.json"))
        .expect("the corpus is JSON")
}

fn view(cluster: &Value, more: &[Fix]) -> View {
    let mut loaded = Loaded::default();
    let mut read = |text: &str| loaded.read(Path::new("corpus"), text).expect("readable");
    read(&cluster.to_string());
    for manifest in more {
        read(&manifest.as_manifest().expect("a manifest").yaml);
    }
    assert_eq!(loaded.notes, Vec::<String>::new());
    loaded.view
}

fn flow<'v>(view: &'v View, given: &Given) -> Flow<'v> {
    Flow {
        src: Peer::at(view, given.src),
        dst: Peer::at(view, given.dst),
        protocol: Protocol::from_api(Some(&given.proto)).expect("a protocol"),
        port: Some(given.dport),
    }
}

fn judged(side: &Side) -> ExpectedSide {
    ExpectedSide {
        isolated: side.isolated.expect("decidable"),
        allowed: side.allowed().expect("decidable"),
        policies: side.policies.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn all_verdicts_are_those_of_the_independent_evaluator() {
    let mut flows = 0;
    for case in cases() {
        let view = view(&case.cluster, &[]);
        for given in &case.flows {
            let flow = flow(&view, given);
            let answer = evaluate(&view, &flow);
            let words = format!("{} → {}: {answer:?}", flow.src, flow.dst);
            assert_eq!(answer.allowed, Some(given.expect.allowed), "{words}");
            assert_eq!(judged(&answer.egress), given.expect.egress, "{words}");
            assert_eq!(judged(&answer.ingress), given.expect.ingress, "{words}");
            flows += 1;
        }
    }
    assert_eq!(flows, 309);
}

/// Pods of the same labels are one to every selector.
fn alike(one: &Peer<'_>, other: &Peer<'_>) -> bool {
    match (one.as_pod(), other.as_pod()) {
        (Some(one), Some(other)) => {
            one.id.namespace == other.id.namespace && one.labels == other.labels
        }
        _ => one.address == other.address,
    }
}

#[test]
fn the_manifest_admits_the_flow_and_nothing_else_more() {
    for case in cases() {
        let before = view(&case.cluster, &[]);
        for given in case.flows.iter().filter(|given| !given.expect.allowed) {
            let refused = flow(&before, given);
            let manifests = manifests(&before, &refused, &evaluate(&before, &refused));
            let after = view(&case.cluster, &manifests);
            assert_eq!(
                evaluate(&after, &flow(&after, given)).allowed,
                Some(true),
                "{} → {}: {manifests:#?}",
                refused.src,
                refused.dst
            );
            for other in &case.flows {
                let other_flow = flow(&before, other);
                let same = alike(&refused.src, &other_flow.src)
                    && alike(&refused.dst, &other_flow.dst)
                    && (given.dport, &given.proto) == (other.dport, &other.proto);
                let now = evaluate(&after, &flow(&after, other)).allowed;
                if !same {
                    assert_eq!(now, Some(other.expect.allowed), "{manifests:#?}");
                }
            }
        }
    }
}
