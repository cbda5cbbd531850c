use std::{net::IpAddr, path::Path, time::SystemTime};

use super::*;
use crate::{
    cluster::{
        dump::Loaded,
        naming::End,
        objects::ObjectName,
        policy::Protocol,
        update::{Change, Source, Update},
        view::Kind,
    },
    model::{Confidence, Fix, RuleName},
};

const CLUSTER: &str = r#"
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {kubernetes.io/metadata.name: shop}}}
- {apiVersion: v1, kind: Node, metadata: {name: n1}, spec: {podCIDR: 10.244.1.0/24}, status: {addresses: [{type: InternalIP, address: 10.0.0.11}]}}
- {apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}}, spec: {nodeName: n1}, status: {phase: Running, podIP: 10.244.1.2}}
- {apiVersion: v1, kind: Pod, metadata: {name: probe, namespace: shop, labels: {app: probe}}, spec: {nodeName: n1}, status: {phase: Running, podIP: 10.244.1.3}}
- {apiVersion: v1, kind: Pod, metadata: {name: cart, namespace: shop, labels: {app: cart}}, spec: {nodeName: n1}, status: {phase: Running, podIP: 10.244.1.4}}
- {apiVersion: v1, kind: Service, metadata: {name: pay, namespace: shop}, spec: {clusterIP: 10.96.0.7, selector: {app: pay}, ports: [{port: 80}]}}
- {apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {clusterIP: 10.96.0.8, selector: {app: web}, ports: [{port: 80, nodePort: 30080}]}}
- {apiVersion: v1, kind: Service, metadata: {name: kubernetes, namespace: default}, spec: {clusterIP: 10.96.0.1, ports: [{port: 443}]}}
- {apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}, addressType: IPv4, ports: [{port: 8080, name: "", protocol: TCP}], endpoints: [{addresses: [10.244.1.2]}]}
- {apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: kubernetes, namespace: default, labels: {kubernetes.io/service-name: kubernetes}}, addressType: IPv4, ports: [{port: 6443, name: "", protocol: TCP}], endpoints: [{addresses: [10.0.0.5]}]}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: allow-api, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress:
    - from: [{podSelector: {matchLabels: {app: api}}}]
"#;

fn cluster() -> Cluster {
    let mut loaded = Loaded::default();
    loaded.read(Path::new("test"), CLUSTER).expect("YAML");
    let mut cluster = Cluster::default();
    for change in Change::all_of(loaded.view) {
        tell(&mut cluster, change);
    }
    cluster
}

fn tell(cluster: &mut Cluster, change: Change) {
    let source = Source::Api;
    cluster.apply(Update { source, change }, SystemTime::now());
}

/// A SYN from pod probe.
fn scene<'a>(cluster: &'a Cluster, dst: &str, dport: u16) -> Scene<'a> {
    let name = |ip: IpAddr| {
        cluster.name(&End {
            ip,
            port: None,
            protocol: Some(Protocol::Tcp),
            at: SystemTime::now(),
            asked: false,
        })
    };
    let flow = Flow {
        proto: crate::model::Protocol::Tcp,
        src: "10.244.1.3".parse().unwrap(),
        sport: Some(40000),
        dst: dst.parse().unwrap(),
        dport: Some(dport),
    };
    Scene {
        cluster,
        is_opening: true,
        outer: None,
        src: name(flow.src),
        dst: name(flow.dst),
        asked_for: None,
        outcome: None,
        arrived: false,
        at: SystemTime::now(),
        program_pod: None,
        flow,
    }
}

fn silence<'a>(cluster: &'a Cluster, dst: &str, dport: u16) -> Scene<'a> {
    Scene {
        outcome: Some(Outcome::Unanswered),
        ..scene(cluster, dst, dport)
    }
}

fn verdict(point: Point) -> Verdict {
    Verdict {
        evidence: vec!["a figure".to_owned()],
        ..Verdict::new(point, Confidence::Likely, "what the node shows")
    }
}

fn rule(verdict: &Verdict) -> Option<&str> {
    verdict.rule.as_ref().map(RuleName::as_str)
}

fn refined(point: Point, scene: &Scene<'_>) -> Verdict {
    refine(verdict(point), scene)
}

#[test]
fn an_enforced_drop_that_the_objects_want_names_policy_and_rule() {
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
fn an_enforced_drop_that_no_policy_wants_is_no_policy() {
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
    tell(
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
fn a_service_without_endpoints_says_what_its_selector_matches() {
    let cluster = cluster();
    for point in [Point::Endpoint, Point::Unknown] {
        let verdict = refined(point, &silence(&cluster, "10.96.0.7", 80));
        assert_eq!(verdict.point, Point::Endpoint);
        let fact = "Service shop/pay selects app=pay, which matches no pod in shop";
        // The labels of the other pods are no slip of the pen, but others.
        assert_eq!(verdict.evidence[0], fact);
    }
    let healthy = refined(Point::Unknown, &silence(&cluster, "10.96.0.8", 80));
    assert_eq!(healthy.point, Point::Unknown);
}

#[test]
fn an_address_that_was_a_pod_s_is_a_stale_endpoint() {
    let mut cluster = cluster();
    let id = ObjectName::new("shop", "cart");
    tell(&mut cluster, Change::Gone(Kind::Pod, id));
    let verdict = refined(Point::OffNode, &silence(&cluster, "10.244.1.4", 80));
    assert_eq!(
        (verdict.point, verdict.confidence),
        (Point::Endpoint, Confidence::Likely)
    );
    assert!(
        verdict
            .why
            .contains("was the address of pod shop/cart, which has been gone since"),
        "{}",
        verdict.why
    );
    let vacant = refined(Point::Unknown, &silence(&cluster, "10.244.1.99", 80));
    assert_eq!(
        (vacant.point, vacant.confidence),
        (Point::Endpoint, Confidence::Possible)
    );
}

#[test]
fn dnat_to_somebody_who_is_no_endpoint_is_stale() {
    let cluster = cluster();
    let asked_for = |ip: &str, port| {
        let end = End {
            ip: ip.parse().unwrap(),
            port: Some(port),
            protocol: Some(Protocol::Tcp),
            at: SystemTime::now(),
            asked: true,
        };
        Some((cluster.name(&end), Some(port)))
    };
    // By the Service's own address, and by its NodePort.
    for (ip, port) in [("10.96.0.8", 80), ("10.0.0.11", 30080)] {
        let stale = Scene {
            asked_for: asked_for(ip, port),
            ..silence(&cluster, "10.244.1.4", 8080)
        };
        let verdict = refined(Point::Unknown, &stale);
        assert_eq!(verdict.point, Point::Endpoint);
        assert!(
            verdict
                .why
                .contains("is no ready endpoint of Service shop/web (1 is ready)"),
            "{}",
            verdict.why
        );
    }
    let right = Scene {
        asked_for: asked_for("10.96.0.8", 80),
        arrived: true,
        ..silence(&cluster, "10.244.1.2", 8080)
    };
    assert_eq!(refined(Point::Unknown, &right).point, Point::Unknown);
}

#[test]
fn the_api_server_and_the_kubelets_are_named_with_their_gates() {
    let cluster = cluster();
    let api = refined(Point::OffNode, &silence(&cluster, "10.0.0.5", 6443));
    assert!(api.evidence[0].contains("API server"), "{:?}", api.evidence);
    // A ClusterIP that left the node has met none of the gates.
    let untranslated = refined(Point::OffNode, &silence(&cluster, "10.96.0.1", 443));
    assert_eq!(rule(&untranslated), Some("service-untranslated"));
    let lines: Vec<_> = untranslated.fix.iter().map(Fix::line).collect();
    assert!(
        !lines.iter().any(|line| line.contains("authorized")),
        "{lines:?}"
    );
    assert!(
        api.fix
            .iter()
            .any(|fix| fix.line().contains("authorized IP ranges"))
    );
    let kubelet = refined(Point::OffNode, &silence(&cluster, "10.0.0.11", 10250));
    assert!(kubelet.evidence[0].contains("kubelet of node n1"));
    let other = refined(Point::OffNode, &silence(&cluster, "10.0.0.11", 80));
    assert_eq!(other, verdict(Point::OffNode));
}

#[test]
fn a_tunnel_s_far_end_is_named_by_its_node() {
    let cluster = cluster();
    let mut tunnelled = scene(&cluster, "10.244.1.4", 8080);
    tunnelled.outer = Some(Flow {
        proto: crate::model::Protocol::Udp,
        src: "10.0.0.12".parse().unwrap(),
        sport: Some(50000),
        dst: "10.0.0.11".parse().unwrap(),
        dport: Some(4789),
    });
    let verdict = refined(Point::Overlay, &tunnelled);
    assert!(
        verdict
            .evidence
            .contains(&"the VTEP 10.0.0.11 is node n1".to_owned())
    );
}

/// A verdict of one of the node's own rules.
fn by_rule(rule: &'static str, point: Point) -> Verdict {
    Verdict {
        rule: Some(rule.into()),
        ..verdict(point)
    }
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
    // It runs in a pod of an enforcer.
    let pod = crate::cluster::objects::Pod {
        id: ObjectName::new("kube-system", "knp-7k2x"),
        uid: Some("5f0c".to_owned()),
        labels: [("k8s-app".to_owned(), "kube-network-policies".to_owned())].into(),
        ..Default::default()
    };
    let pod = crate::cluster::view::Object::from(pod);
    tell(&mut cluster, Change::Put(Box::new(pod)));
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
    // Where the objects are known, they say more.
    let cluster = cluster();
    let found = refine(named.clone(), &scene(&cluster, "10.244.1.2", 8080));
    assert!(!found.policy.expect("the policy").missing.is_empty());
    let stale = refine(named, &scene(&cluster, "10.244.1.4", 8080));
    assert_eq!((stale.point, stale.policy), (Point::Firewall, None));
}

#[test]
fn a_cluster_ip_that_leaves_the_node_is_no_route_s_fault() {
    let mut cluster = cluster();
    let routed = |cluster: &Cluster, dst: &str, port| {
        let scene = Scene {
            outcome: Some(Outcome::Rejected),
            ..scene(cluster, dst, port)
        };
        refine(by_rule("rejected", Point::Route), &scene)
    };
    let none = routed(&cluster, "10.96.0.7", 80);
    assert_eq!(
        (none.point, none.confidence),
        (Point::Endpoint, Confidence::Confirmed)
    );
    assert!(
        none.why.contains("shop/pay has no ready endpoint"),
        "{}",
        none.why
    );
    let port = routed(&cluster, "10.96.0.8", 8080);
    assert_eq!(rule(&port), Some("service-untranslated"));
    assert!(
        port.why
            .contains("svc/shop/web has no TCP port 8080, but TCP 80"),
        "{}",
        port.why
    );
    let nobodys = routed(&cluster, "10.96.0.9", 80);
    assert!(
        nobodys.why.contains("no Service has the address 10.96.0.9"),
        "{}",
        nobodys.why
    );
    let unwritten = routed(&cluster, "10.96.0.8", 80);
    assert_eq!(
        (unwritten.point, unwritten.confidence),
        (Point::Endpoint, Confidence::Likely)
    );
    assert!(
        unwritten.why.contains("did not translate it"),
        "{}",
        unwritten.why
    );
    // An address outside, and a Service's that was translated, stay what they are.
    assert_eq!(routed(&cluster, "10.97.0.9", 80).point, Point::Route);
    let translated = Scene {
        asked_for: Some((scene(&cluster, "10.96.0.8", 80).dst, Some(80))),
        outcome: Some(Outcome::Rejected),
        ..scene(&cluster, "10.244.1.2", 8080)
    };
    assert_eq!(
        refine(by_rule("rejected", Point::Route), &translated).point,
        Point::Route
    );
    // Its endpoint is on another node, and it may not go there.
    let mut local = cluster
        .view()
        .service(&ObjectName::new("shop", "web"))
        .unwrap()
        .clone();
    local.internal_local = true;
    let mut slice = crate::cluster::objects::EndpointSlice {
        id: ObjectName::new("shop", "web-1"),
        service: Some("web".to_owned()),
        ports: vec![local.ports[0].clone()],
        backends: vec![crate::cluster::objects::Backend {
            ip: "10.244.2.9".parse().unwrap(),
            ready: true,
            node: Some("n2".to_owned()),
        }],
    };
    slice.ports[0].port = 8080;
    for object in [
        crate::cluster::view::Object::Service(local),
        crate::cluster::view::Object::EndpointSlice(slice),
    ] {
        tell(&mut cluster, Change::Put(Box::new(object)));
    }
    let elsewhere = routed(&cluster, "10.96.0.8", 80);
    assert!(
        elsewhere.why.contains("no endpoint on node n1 (internalTrafficPolicy: Local); its endpoint is 10.244.2.9 on n2"),
        "{}",
        elsewhere.why
    );
    // kube-proxy's own rule says the same.
    let by_kube_proxy = refine(
        by_rule("netfilter", Point::Endpoint),
        &scene(&cluster, "10.96.0.8", 80),
    );
    assert_eq!(rule(&by_kube_proxy), Some("no-local-endpoint"));
    assert!(
        by_kube_proxy.why.contains("no endpoint on this node"),
        "{}",
        by_kube_proxy.why
    );
    let fix = by_kube_proxy.fix[1].line();
    assert!(fix.contains("patch service web"), "{fix}");
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
    tell(&mut cluster, Change::Put(Box::new(policy)));
    let found = refined(Point::Policy, &scene(&cluster, "10.244.1.2", 8080));
    let trap = found.evidence.iter().position(|fact| fact.contains("(OR)"));
    assert_eq!(trap, Some(0), "{:#?}", found.evidence);
}

#[test]
fn a_closed_port_of_a_pod_in_trouble_says_so() {
    let mut cluster = cluster();
    let id = ObjectName::new("shop", "web");
    let mut web = cluster.view().pod(&id).unwrap().clone();
    web.ready = Some(false);
    web.trouble = Some(crate::cluster::objects::ContainerTrouble {
        container: "app".to_owned(),
        reason: "CrashLoopBackOff".to_owned(),
        since: Some(3600),
        restarts: 5,
    });
    web.container_ports = vec![(Protocol::Tcp, 8080), (Protocol::Tcp, 9090)];
    web.ports = vec![crate::cluster::objects::NamedPort {
        name: "http".to_owned(),
        protocol: Protocol::Tcp,
        port: 8080,
    }];
    let mut service = cluster.view().service(&id).unwrap().clone();
    service.ports[0].target = crate::cluster::objects::TargetPort::Number(8081);
    for object in [
        crate::cluster::view::Object::from(web),
        crate::cluster::view::Object::Service(service),
    ] {
        tell(&mut cluster, Change::Put(Box::new(object)));
    }
    let asked = Scene {
        asked_for: Some((scene(&cluster, "10.96.0.8", 80).dst, Some(80))),
        ..scene(&cluster, "10.244.1.2", 8081)
    };
    let found = refine(by_rule("closed-port", Point::Socket), &asked);
    assert_eq!(
        found.evidence[..2],
        [
            "shop/web is in CrashLoopBackOff since 01:00:00 UTC (container app, 5 restarts), not \
             ready",
            "Service shop/web sends port 80 to 8081; the containers of shop/web name 8080 (http) \
             and 9090"
        ]
    );
    // It stays a closed port, and a healthy pod's says no more.
    assert_eq!(
        (found.point, rule(&found)),
        (Point::Socket, Some("closed-port"))
    );
    let healthy = by_rule("closed-port", Point::Socket);
    assert_eq!(
        refine(healthy.clone(), &scene(&cluster, "10.244.1.4", 9)),
        healthy
    );
}

#[test]
fn an_address_that_was_another_pod_s_a_moment_ago_says_so() {
    let mut cluster = cluster();
    let id = ObjectName::new("shop", "cart");
    let mut heir = cluster.view().pod(&id).unwrap().clone();
    heir.id = ObjectName::new("shop", "heir");
    tell(&mut cluster, Change::Gone(Kind::Pod, id));
    let heir = crate::cluster::view::Object::from(heir);
    tell(&mut cluster, Change::Put(Box::new(heir)));
    let found = refined(Point::Endpoint, &scene(&cluster, "10.244.1.4", 80));
    assert!(
        found.evidence[0].starts_with("10.244.1.4 was shop/cart's until ")
            && found.evidence[0].ends_with(", and is shop/heir's now"),
        "{:?}",
        found.evidence
    );
    let other = refined(Point::Endpoint, &scene(&cluster, "10.244.1.2", 80));
    assert_eq!(other.evidence, ["a figure"]);
}
