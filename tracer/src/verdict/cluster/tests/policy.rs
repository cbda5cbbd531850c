//! What the NetworkPolicies add to drops, rejections and silence.

use super::*;

#[test]
fn an_enforced_drop_that_the_objects_explain_names_policy_and_rule() {
    let cluster = cluster();
    let verdict = refined(Point::Policy, &scene(&cluster, "10.244.1.2", 8080));
    assert_eq!(verdict.confidence, Confidence::Confirmed);
    assert_eq!(rule(&verdict), Some("policy-enforced"));
    let policy = verdict.policy.expect("the policy");
    assert_eq!(
        (policy.pod.as_str(), policy.direction.name()),
        ("shop/web", "ingress")
    );
    assert_eq!(policy.policies, ["shop/allow-api"]);
    assert!(
        verdict.evidence[0].contains("app=api"),
        "{:?}",
        verdict.evidence
    );
    assert!(verdict.evidence.contains(&"what the node shows".to_owned()));
    let [fix] = verdict.fix.as_slice() else {
        panic!("{:?}", verdict.fix);
    };
    let manifest = fix.as_manifest().expect("a manifest");
    assert!(manifest.yaml.contains("kind: NetworkPolicy"));
    let undo = fix.undo_line().expect("an undo");
    assert!(undo.starts_with("kubectl delete"), "{undo}");
}

#[test]
fn an_enforced_drop_without_a_policy_is_a_firewall_s() {
    let cluster = cluster();
    let verdict = refined(Point::Policy, &scene(&cluster, "10.244.1.4", 8080));
    assert_eq!(verdict.point, Point::Firewall);
    assert_eq!(verdict.policy, None);
    assert!(
        verdict.why.contains("no NetworkPolicy selects either end"),
        "{}",
        verdict.why
    );
}

#[test]
fn an_enforcer_that_drops_what_is_admitted_disagrees() {
    let mut cluster = cluster();
    let mut probe = cluster
        .view()
        .pod(&ObjectName::new("shop", "probe"))
        .unwrap()
        .clone();
    probe.labels.insert("app".to_owned(), "api".to_owned());
    apply(
        &mut cluster,
        Change::Put(Box::new(crate::cluster::view::Object::from(probe))),
    );
    let verdict = refined(Point::Policy, &scene(&cluster, "10.244.1.2", 8080));
    assert_eq!((verdict.point, verdict.policy), (Point::Policy, None));
    assert!(
        verdict.why.contains("disagrees with the API objects"),
        "{}",
        verdict.why
    );
}

#[test]
fn a_plain_rule_stays_a_firewall_s_whatever_the_policies_say() {
    let cluster = cluster();
    let before = verdict(Point::Firewall);
    assert_eq!(
        refine(before.clone(), &scene(&cluster, "10.244.1.2", 8080)),
        before
    );
}

#[test]
fn silence_makes_a_policy_possible_and_no_more() {
    let cluster = cluster();
    let unknown = refined(Point::Unknown, &silence(&cluster, "10.244.1.2", 8080));
    assert_eq!(
        (unknown.point, unknown.confidence),
        (Point::Policy, Confidence::Possible)
    );
    assert_eq!(rule(&unknown), Some("policy-silent"));
    let off_node = refined(Point::OffNode, &silence(&cluster, "10.244.1.2", 8080));
    assert_eq!((off_node.point, rule(&off_node)), (Point::OffNode, None));
    assert!(
        off_node.evidence[0].contains("do not admit"),
        "{:?}",
        off_node.evidence
    );
    assert!(off_node.fix.is_empty());
    let arrived = Scene {
        arrived: true,
        ..silence(&cluster, "10.244.1.2", 8080)
    };
    assert_eq!(refined(Point::Unknown, &arrived).point, Point::Unknown);
    let admitted = refined(Point::Unknown, &silence(&cluster, "10.244.1.4", 8080));
    assert_eq!(admitted, verdict(Point::Unknown));
}

#[test]
fn a_flow_whose_opener_is_not_known_is_not_judged() {
    let cluster = cluster();
    let unclear = Scene {
        is_opening: false,
        ..scene(&cluster, "10.244.1.2", 8080)
    };
    assert_eq!(refined(Point::Policy, &unclear), verdict(Point::Policy));
}

#[test]
fn a_rejection_where_the_policies_refuse_is_a_policys() {
    let cluster = cluster();
    let rejected = |dst: &str| Scene {
        outcome: Some(Outcome::Rejected),
        ..scene(&cluster, dst, 8080)
    };
    let found = refine(
        by_rule("rejected", Point::Firewall),
        &rejected("10.244.1.2"),
    );
    assert_eq!(
        (found.point, found.confidence),
        (Point::Policy, Confidence::Likely)
    );
    assert_eq!(rule(&found), Some("policy-rejected"));
    assert_eq!(
        found.policy.expect("the policy").policies,
        ["shop/allow-api"]
    );
    assert!(!found.fix.is_empty());
    let admitted = refine(
        by_rule("rejected", Point::Firewall),
        &rejected("10.244.1.4"),
    );
    assert_eq!((admitted.point, admitted.policy), (Point::Firewall, None));
    assert_eq!(admitted.evidence[0], "the NetworkPolicies admit the flow");
    // A host that says "unreachable" is no enforcer.
    let unreachable = refine(
        by_rule("rejected", Point::Endpoint),
        &rejected("10.244.1.2"),
    );
    assert_eq!(unreachable.point, Point::Endpoint);
}

#[test]
fn a_program_that_refuses_what_the_policies_refuse_is_likely_theirs() {
    let mut cluster = cluster();
    let program = by_rule("nfqueue", Point::Firewall);
    let likely = refine(program.clone(), &scene(&cluster, "10.244.1.2", 8080));
    assert_eq!(
        (likely.point, likely.confidence),
        (Point::Policy, Confidence::Likely)
    );
    assert_eq!(rule(&likely), Some("policy-by-program"));
    let admitted = refine(program.clone(), &scene(&cluster, "10.244.1.4", 8080));
    assert_eq!(admitted.point, Point::Firewall);
    // Nothing enforces policies there.
    let mut flannel = self::cluster();
    let pod = crate::cluster::objects::Pod {
        id: ObjectName::new("kube-flannel", "kube-flannel-ds-7k2x"),
        labels: [("app".to_owned(), "flannel".to_owned())].into(),
        ..Default::default()
    };
    let pod = crate::cluster::view::Object::from(pod);
    apply(&mut flannel, Change::Put(Box::new(pod)));
    assert!(crate::policy::traps::unenforced(flannel.view()).is_some());
    let unenforced = refine(program.clone(), &scene(&flannel, "10.244.1.2", 8080));
    assert_eq!(
        (unenforced.point, unenforced.policy),
        (Point::Firewall, None)
    );
    // It runs in a pod of an enforcer.
    let pod = crate::cluster::objects::Pod {
        id: ObjectName::new("kube-system", "knp-7k2x"),
        uid: Some("5f0c".to_owned()),
        labels: [("k8s-app".to_owned(), "kube-network-policies".to_owned())].into(),
        ..Default::default()
    };
    let pod = crate::cluster::view::Object::from(pod);
    apply(&mut cluster, Change::Put(Box::new(pod)));
    let of_pod = Scene {
        program_pod: Some("5f0c".to_owned()),
        ..scene(&cluster, "10.244.1.2", 8080)
    };
    let sure = refine(
        Verdict {
            confidence: Confidence::Confirmed,
            ..program
        },
        &of_pod,
    );
    assert_eq!(
        (sure.point, sure.confidence),
        (Point::Policy, Confidence::Confirmed)
    );
    assert_eq!(
        sure.policy.expect("the policy").policies,
        ["shop/allow-api"]
    );
}

#[test]
fn policies_that_the_rules_name_stay_where_the_api_is_silent() {
    let silent = Cluster::default();
    let named = Verdict {
        policy: Some(crate::model::PolicyVerdict {
            direction: crate::model::PolicyDirection::Ingress,
            pod: "shop/web".to_owned(),
            policies: vec!["shop/allow-api".to_owned()],
            missing: String::new(),
        }),
        ..by_rule("netfilter", Point::Policy)
    };
    let found = refine(named.clone(), &scene(&silent, "10.244.1.2", 8080));
    assert_eq!(found.policy, named.policy);
    // So do they where the container runtime alone has listed the pods. That no more is known is said
    // once, though it holds for both ends.
    let mut runtime = Cluster::default();
    for pod in cluster().view().pods() {
        let pod = crate::cluster::view::Object::from(pod.clone());
        apply(&mut runtime, Change::Put(Box::new(pod)));
    }
    let unnamed = by_rule("netfilter", Point::Policy);
    for verdict in [named.clone(), unnamed] {
        let policy = verdict.policy.clone();
        let found = refine(verdict, &scene(&runtime, "10.244.1.2", 8080));
        assert_eq!((found.point, &found.policy), (Point::Policy, &policy));
        let facts = found.evidence.join("\n") + &found.why;
        let times = facts.matches("hold none, not even an empty list").count();
        assert_eq!(times, 1, "{facts}");
        // It is the first thing to say only where nothing else is known of the policies.
        let leads = found.evidence[0].contains("hold none");
        assert_eq!(leads, policy.is_none(), "{facts}");
    }
    // Where the objects are known, they say more.
    let cluster = cluster();
    let found = refine(named.clone(), &scene(&cluster, "10.244.1.2", 8080));
    assert!(!found.policy.expect("the policy").missing.is_empty());
    let stale = refine(named, &scene(&cluster, "10.244.1.4", 8080));
    assert_eq!((stale.point, stale.policy), (Point::Firewall, None));
}

#[test]
fn what_is_wrong_with_the_policies_comes_before_the_kernels_facts() {
    let mut cluster = cluster();
    let policy: k8s_openapi::api::networking::v1::NetworkPolicy =
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "either", "namespace": "shop"},
            "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{"from": [
                {"namespaceSelector": {"matchLabels": {"team": "ops"}}},
                {"podSelector": {"matchLabels": {"app": "client"}}},
            ]}]},
        }))
        .unwrap();
    let policy = crate::cluster::convert::policy(policy).unwrap();
    let policy = crate::cluster::view::Object::Policy(policy);
    apply(&mut cluster, Change::Put(Box::new(policy)));
    let found = refined(Point::Policy, &scene(&cluster, "10.244.1.2", 8080));
    let trap = found.evidence.iter().position(|fact| fact.contains("(OR)"));
    assert_eq!(trap, Some(0), "{:#?}", found.evidence);
}

/// The bridge of a node has an address in the range of its pods.
#[test]
fn the_pods_own_node_is_always_let_in() {
    let cluster = cluster();
    let from_bridge = Scene {
        src: Name::Here {
            ifname: "cni0".to_owned(),
            is_probe: false,
        },
        ..scene(&cluster, "10.244.1.2", 8080)
    };
    let from_bridge = Scene {
        flow: Flow {
            src: "10.244.1.1".parse().unwrap(),
            ..from_bridge.flow
        },
        ..from_bridge
    };
    let verdict = refine(verdict(Point::Policy), &from_bridge);
    assert!(
        verdict.why.contains("disagrees with the API objects"),
        "{}",
        verdict.why
    );
}
