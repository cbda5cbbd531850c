//! What holds for all policies.

use proptest::prelude::*;

use super::{
    super::*,
    cluster::{ask, with},
};

const ENDS: [&str; 6] = [
    "shop/web",
    "shop/api",
    "shop/probe",
    "test/api",
    "203.0.113.9",
    "192.168.0.2",
];

fn element() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("{podSelector: {}}".to_owned()),
        "(api|web|probe)"
            .prop_map(|app| format!("{{podSelector: {{matchLabels: {{app: {app}}}}}}}")),
        "(prod|dev)"
            .prop_map(|env| format!("{{namespaceSelector: {{matchLabels: {{env: {env}}}}}}}")),
        r"(0|203\.0\.113|10\.1\.0)".prop_map(|net| match net.as_str() {
            "0" => "{ipBlock: {cidr: 0.0.0.0/0}}".to_owned(),
            net => format!("{{ipBlock: {{cidr: {net}.0/24}}}}"),
        }),
    ]
}

fn spec(pods: &'static str) -> impl Strategy<Value = String> {
    let port = (79..82u16).prop_map(|port| format!("{{port: {port}}}"));
    let ports = proptest::collection::vec(port, 0..3);
    let peers = proptest::collection::vec(element(), 0..3);
    let rules = proptest::collection::vec((peers, ports), 0..3);
    (rules, "(Ingress|Egress)").prop_map(move |(rules, kind)| {
        let (word, preposition) = if kind == "Ingress" {
            ("ingress", "from")
        } else {
            ("egress", "to")
        };
        let rules: Vec<_> = rules
            .iter()
            .map(|(peers, ports)| {
                format!(
                    "{{{preposition}: [{}], ports: [{}]}}",
                    peers.join(","),
                    ports.join(",")
                )
            })
            .collect();
        format!(
            "{{podSelector: {pods}, policyTypes: [{kind}], {word}: [{}]}}",
            rules.join(",")
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_policy_that_selects_neither_pod_changes_nothing(
        some in spec("{}"), other in spec("{matchLabels: {app: absent}}"),
        src in 0..ENDS.len(), dst in 0..ENDS.len(),
    ) {
        let judge = |specs: &[&str]| {
            let answer = ask(&with(specs), ENDS[src], ENDS[dst], Protocol::Tcp, 80);
            (answer.allowed, answer.egress.policies, answer.ingress.policies)
        };
        prop_assert_eq!(judge(&[&some]), judge(&[&some, &other]));
    }

    #[test]
    fn more_policies_for_the_same_pods_only_ever_admit_more(
        some in spec("{}"), other in spec("{}"),
        src in 0..ENDS.len(), dst in 0..ENDS.len(),
    ) {
        // Isolated already, so that no policy can isolate.
        let deny = "{podSelector: {}, policyTypes: [Ingress, Egress]}";
        let judge = |specs: &[&str]| ask(&with(specs), ENDS[src], ENDS[dst], Protocol::Tcp, 80);
        if judge(&[deny, &some]).allowed == Some(true) {
            prop_assert_eq!(judge(&[deny, &some, &other]).allowed, Some(true));
        }
    }

    #[test]
    fn an_empty_from_admits_all_peers(some in spec("{}"), src in 0..ENDS.len()) {
        let open = "{podSelector: {}, ingress: [{from: []}]}";
        let answer = ask(&with(&[&some, open]), ENDS[src], "shop/web", Protocol::Tcp, 80);
        prop_assert_eq!(answer.ingress.allowed(), Some(true));
    }

    #[test]
    fn the_manifest_admits_a_refused_flow(
        some in spec("{}"), other in spec("{}"),
        src in 0..ENDS.len(), dst in 0..ENDS.len(),
    ) {
        let view = with(&[&some, &other]);
        let flow = Flow {
            src: super::cluster::end(&view, ENDS[src]),
            dst: super::cluster::end(&view, ENDS[dst]),
            protocol: Protocol::Tcp,
            port: Some(80),
        };
        let answer = evaluate(&view, &flow);
        if answer.allowed == Some(false) {
            let mut loaded = crate::cluster::dump::Loaded::default();
            loaded.view = view.clone();
            for manifest in manifests(&view, &flow, &answer) {
                let yaml = &manifest.as_manifest().expect("a manifest").yaml;
                loaded.read(std::path::Path::new("m"), yaml).expect("YAML");
            }
            let now = ask(&loaded.view, ENDS[src], ENDS[dst], Protocol::Tcp, 80);
            // The other side may be an undecidable one.
            prop_assert_ne!(now.allowed, Some(false));
            // No pod is isolated that was not.
            let isolated = |view: &View| {
                let pods = ENDS.iter().filter(|end| end.contains('/'));
                let answers = pods.map(|pod| ask(view, pod, pod, Protocol::Tcp, 1));
                let sides = answers.map(|answer| (answer.egress.isolated, answer.ingress.isolated));
                sides.collect::<Vec<_>>()
            };
            prop_assert_eq!(isolated(&view), isolated(&loaded.view));
        }
    }
}
