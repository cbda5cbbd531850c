//! What the API leaves open and the enforcer decides; and what only other policies know.

use serde_json::{Value, json};

use super::asked::{Files, warnings};

fn plugin(name: &str) -> String {
    format!(
        "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}-x1, namespace: kube-system, \
         labels: {{k8s-app: {name}}}}}, status: {{phase: Running}}}}\n"
    )
}

const ASK: &str = "--from blue/ask --to blue/reply:8080";

#[test]
fn an_ip_block_over_a_pod_s_address_is_the_enforcer_s_choice() {
    for (plugins, allowed, does) in [
        ("", Value::Null, ""),
        ("kube-router", json!(true), "kube-router matches it"),
        ("calico-node", json!(true), "Calico matches it"),
        ("cilium", json!(false), "Cilium does not match it"),
        // One that enforces nothing beside it changes nothing; two that do leave it open.
        ("kube-flannel canal", json!(true), "Calico matches it"),
        ("kube-router cilium", Value::Null, ""),
    ] {
        let pods: String = plugins.split_whitespace().map(plugin).collect();
        let answer = Files::of(&["range"]).and(pods + "---\n{}").answer(ASK);
        assert_eq!(answer["allowed"], allowed, "{plugins}: {answer}");
        assert!(warnings(&answer).contains(does), "{plugins}: {answer}");
    }
}

#[test]
fn an_exception_over_a_pod_s_address_is_one() {
    let range = include_str!("../../../../testdata/policies/range.yaml").replace(
        "cidr: 10.30.20.0/24",
        "cidr: 10.0.0.0/8, except: [10.30.20.0/24]",
    );
    let answer = |plugin: &str| Files::of(&[]).and(&range).and(plugin).answer(ASK);
    assert_eq!(answer(&plugin("kube-router"))["allowed"], false);
    assert_eq!(answer(&plugin("cilium"))["allowed"], false);
}

#[test]
fn sctp_is_a_protocol_of_its_own() {
    let files = Files::of(&["sctp"]);
    let ask = |more: &str| files.answer(&format!("--from blue/ask --to blue/reply:3868 {more}"));
    let sctp = ask("--proto sctp");
    assert_eq!(sctp["allowed"], true, "{sctp}");
    assert!(
        warnings(&sctp).contains("some CNI plugins do not enforce NetworkPolicies for SCTP"),
        "{sctp}"
    );
    let tcp = ask("--proto tcp");
    assert_eq!(tcp["allowed"], false);
    let near = tcp["ingress"]["near_misses"][0].as_str().unwrap();
    assert!(
        near.contains("SCTP 3868 is admitted, TCP 3868 is not"),
        "{near}"
    );
    // A rule without ports admits it; one for a port without a protocol is TCP's.
    for (rule, allowed) in [("{}", true), ("{ports: [{port: 3868}]}", false)] {
        let policy = include_str!("../../../../testdata/policies/sctp.yaml")
            .replace("{ports: [{port: 3868, protocol: SCTP}]}", rule);
        let answer = Files::of(&[])
            .and(&policy)
            .answer("--from blue/ask --to blue/reply:3868 --proto sctp");
        assert_eq!(answer["allowed"], allowed, "{rule}");
    }
    let error = files
        .print("--from blue/ask --to blue/reply --proto sctp")
        .unwrap_err();
    assert!(error.contains("--to needs a port for sctp"), "{error}");
}

#[test]
fn policies_of_other_kinds_are_named_with_who_heeds_them() {
    let answer = Files::of(&["open", "mesh"]).answer(ASK);
    assert_eq!(answer["allowed"], true);
    assert!(
        warnings(&answer).contains(
            "not judged, though the proxies of a service mesh heed them: 1 AuthorizationPolicy \
             (security.istio.io)"
        ),
        "{answer}"
    );
    for (version, kind, expected) in [
        ("networking.k8s.aws/v1alpha1", "ClusterNetworkPolicy", true),
        (
            "networking.k8s.aws/v1alpha1",
            "ApplicationNetworkPolicy",
            true,
        ),
        ("networking.k8s.aws/v1alpha1", "PolicyEndpoint", false),
        ("networking.gke.io/v1alpha3", "FQDNNetworkPolicy", true),
        ("k8s.ovn.org/v1", "EgressFirewall", true),
        ("k8s.cni.cncf.io/v1beta1", "MultiNetworkPolicy", true),
        ("net.example.com/v1", "PodFirewall", true),
        ("kyverno.io/v1", "ClusterPolicy", false),
    ] {
        let spec = match kind {
            "ClusterPolicy" => json!({"rules": [{"match": {"any": []}}]}),
            _ => json!({"podSelector": {}}),
        };
        let object =
            json!({"apiVersion": version, "kind": kind, "metadata": {"name": "o"}, "spec": spec});
        let answer = Files::of(&["open"]).and(object.to_string()).answer(ASK);
        let warned = warnings(&answer);
        assert_eq!(
            warned.contains(&format!("1 {kind} ")),
            expected,
            "{kind}: {warned}"
        );
        assert_eq!(answer["allowed"], true);
    }
}

#[test]
fn a_port_name_that_no_pod_has_is_all_ports_to_kube_router() {
    let policy = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: named, \
                  namespace: blue}, spec: {podSelector: {matchLabels: {app: reply}}, ingress: \
                  [{ports: [{port: metrics}]}]}}";
    let answer = Files::of(&[])
        .and(policy)
        .and(plugin("kube-router"))
        .answer(ASK);
    assert_eq!(answer["allowed"], false);
    assert!(
        warnings(&answer).contains("kube-router admits every port by it"),
        "{answer}"
    );
    // A name that a pod has, and another enforcer.
    let known = policy.replace("metrics", "web");
    let answer = Files::of(&[])
        .and(known)
        .and(plugin("kube-router"))
        .answer(ASK);
    assert_eq!(
        (&answer["allowed"], warnings(&answer).as_str()),
        (&json!(true), "")
    );
    let answer = Files::of(&[])
        .and(policy)
        .and(plugin("calico-node"))
        .answer(ASK);
    assert_eq!(warnings(&answer), "");
}
