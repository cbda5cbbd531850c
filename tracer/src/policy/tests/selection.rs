//! Which pods are isolated, and for what.

use super::{
    super::*,
    cluster::{ask, lets_in, with},
};

const OUTSIDE: &str = "203.0.113.9";

fn isolated(spec: &str) -> (Option<bool>, Option<bool>) {
    let view = with(&[spec]);
    let ingress = ask(&view, OUTSIDE, "shop/web", Protocol::Tcp, 80).ingress;
    let egress = ask(&view, "shop/web", OUTSIDE, Protocol::Tcp, 80).egress;
    (ingress.isolated, egress.isolated)
}

#[test]
fn policy_types_have_defaults() {
    let (yes, no) = (Some(true), Some(false));
    assert_eq!(isolated("{podSelector: {}}"), (yes, no));
    assert_eq!(isolated("{podSelector: {}, egress: []}"), (yes, no));
    assert_eq!(isolated("{podSelector: {}, egress: [{}]}"), (yes, yes));
    assert_eq!(
        isolated("{podSelector: {}, policyTypes: [Egress]}"),
        (no, yes)
    );
    // Rules for a direction that is not listed do nothing.
    assert_eq!(
        isolated("{podSelector: {}, policyTypes: [Ingress], egress: [{}]}"),
        (yes, no)
    );
    assert_eq!(
        isolated("{podSelector: {matchLabels: {app: api}}}"),
        (no, no)
    );
}

#[test]
fn absent_rules_admit_no_peer_and_absent_peers_admit_all() {
    for closed in ["{podSelector: {}}", "{podSelector: {}, ingress: []}"] {
        assert_eq!(lets_in(closed, "shop/api"), Some(false));
        assert_eq!(lets_in(closed, OUTSIDE), Some(false));
    }
    for everybody in ["[{}]", "[{from: []}]", "[{from: [], ports: []}]"] {
        let spec = format!("{{podSelector: {{}}, ingress: {everybody}}}");
        for src in [
            "shop/api",
            "test/api",
            "nowhere/lost",
            "shop/agent",
            OUTSIDE,
        ] {
            assert_eq!(lets_in(&spec, src), Some(true), "{everybody} from {src}");
        }
    }
}

#[test]
fn policies_only_add() {
    let deny = "{podSelector: {}}";
    let allow = "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {}}]}]}";
    let answer = ask(
        &with(&[deny, allow]),
        "shop/api",
        "shop/web",
        Protocol::Tcp,
        80,
    );
    assert_eq!(answer.allowed, Some(true));
    assert_eq!(answer.ingress.policies.len(), 2);
    assert_eq!(answer.ingress.admitted_by.len(), 1);
}

#[test]
fn what_is_not_known_is_not_taken_for_empty() {
    let mut view = View::default();
    let unknown = Peer::at(&view, "10.0.0.1".parse().expect("address"));
    let flow = Flow {
        src: unknown.clone(),
        dst: unknown,
        protocol: Protocol::Tcp,
        port: Some(1),
    };
    let answer = evaluate(&view, &flow);
    assert_eq!((answer.allowed, answer.egress.isolated), (None, None));
    // Pods alone are not enough either.
    view.insert(crate::cluster::view::Object::from(
        crate::cluster::objects::Pod {
            ips: vec!["10.0.0.1".parse().expect("address")],
            ..Default::default()
        },
    ));
    let flow = Flow {
        src: Peer::at(&view, "192.0.2.1".parse().expect("address")),
        dst: Peer::at(&view, "10.0.0.1".parse().expect("address")),
        protocol: Protocol::Tcp,
        port: Some(1),
    };
    let answer = evaluate(&view, &flow);
    assert_eq!((answer.allowed, answer.ingress.isolated), (None, None));
}

#[test]
fn a_policy_that_could_not_be_read_leaves_only_what_it_cannot_change() {
    let unreadable = "{podSelector: {}, ingress: [{from: [{}]}]}";
    let allow = "{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}";
    let ask = |specs: &[&str], src| {
        ask(&with(specs), src, "shop/web", Protocol::Tcp, 80)
            .ingress
            .allowed()
    };
    assert_eq!(ask(&[unreadable], "shop/api"), None);
    assert_eq!(ask(&[unreadable, allow], "shop/api"), Some(true));
    assert_eq!(ask(&[unreadable, allow], "test/api"), None);
}

#[test]
fn icmp_is_the_implementations_choice() {
    let ask = |specs: &[&str]| {
        ask(&with(specs), "shop/api", "shop/web", Protocol::Icmp, 0)
            .ingress
            .outcome
    };
    assert_eq!(ask(&[]), Outcome::NotIsolated);
    assert_eq!(
        ask(&["{podSelector: {}, ingress: [{}]}"]),
        Outcome::Undecidable
    );
}
