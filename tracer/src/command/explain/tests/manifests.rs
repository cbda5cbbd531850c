//! Proposed policies: they admit the flow, isolate nothing that was free, and say what else they
//! admit.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::asked::Files;

/// The manifests of an answer, as files.
fn manifests(answer: &Value) -> Vec<String> {
    let fix = answer["verdict"]["fix"].as_array().unwrap().iter();
    let texts = fix.filter_map(Value::as_str);
    let manifests = texts.filter(|text| text.contains("kind: NetworkPolicy"));
    manifests.map(str::to_owned).collect()
}

fn parsed(manifest: &str) -> Value {
    crate::cluster::dump::trees(manifest).remove(0)
}

fn only_manifest(files: &Files, arguments: &str) -> (String, Value) {
    let answer = files.answer(arguments);
    let mut manifests = manifests(&answer);
    assert_eq!(manifests.len(), 1, "{answer}");
    let text = manifests.remove(0);
    let tree = parsed(&text);
    (text, tree)
}

fn is_label(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 63 && name.chars().all(fits) && !name.starts_with('-') && !name.ends_with('-')
}

#[test]
fn different_policies_have_different_names() {
    let files = Files::of(&["names"]);
    let names: BTreeSet<String> = ["in", "out"]
        .iter()
        .flat_map(|end| [80, 65535].map(|port| (end, port)))
        .map(|(end, port)| {
            let to = format!("--from blue/ask --to blue/notification-hub-{end}:{port}");
            let (_, tree) = only_manifest(&files, &to);
            tree["metadata"]["name"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(names.iter().all(|name| is_label(name)), "{names:?}");
    // And the same policy has the same name.
    let again = only_manifest(&files, "--from blue/ask --to blue/notification-hub-in:80").1;
    assert!(names.contains(again["metadata"]["name"].as_str().unwrap()));
}

#[test]
fn namesakes_in_two_namespaces_get_a_policy_each() {
    let pod = |namespace: &str, ip: &str| {
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web", "namespace": namespace, "labels": {"app": "web"}},
            "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}})
        .to_string()
    };
    let files = Files::of(&["deny"])
        .and(pod("red", "10.30.20.20"))
        .and(pod("green", "10.30.20.21"));
    let name = |from: &str| {
        let (_, tree) = only_manifest(&files, &format!("--from {from} --to blue/reply:8080"));
        tree["metadata"]["name"].as_str().unwrap().to_owned()
    };
    assert_ne!(name("red/web"), name("green/web"));
}

#[test]
fn a_name_that_is_taken_is_not_used_again() {
    let ask = "--from blue/ask --to blue/reply:8080";
    let (_, tree) = only_manifest(&Files::of(&["deny"]), ask);
    let taken = tree["metadata"]["name"].as_str().unwrap();
    let other = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": taken, "namespace": "blue"},
        "spec": {"podSelector": {"matchLabels": {"app": "else"}}}});
    let (_, tree) = only_manifest(&Files::of(&["deny"]).and(other.to_string()), ask);
    assert_ne!(tree["metadata"]["name"].as_str().unwrap(), taken);
}

#[test]
fn the_labels_are_those_that_the_next_release_has_too() {
    let files = Files::of(&["labels", "deny"]);
    let (text, tree) = only_manifest(&files, "--from blue/ask-6c9f-x2 --to blue/reply:8080");
    let from = &tree["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"];
    assert_eq!(*from, json!({"app.kubernetes.io/name": "ask"}), "{text}");
    let own = &tree["spec"]["podSelector"];
    assert_eq!(*own, json!({"matchLabels": {"app": "reply"}}), "{text}");
}

/// Pods with these labels, made by nothing, and a policy that shuts `app: reply`.
fn with_pods(pods: &[(&str, Value)]) -> Files {
    let pods = pods.iter().enumerate().map(|(n, (name, labels))| {
        let ip = format!("10.30.21.{}", n + 1);
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "blue", "labels": labels},
            "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}})
    });
    let list = json!({"kind": "List", "items": pods.collect::<Vec<_>>()});
    Files::of(&["deny"]).and(list.to_string())
}

#[test]
fn pods_that_the_labels_cannot_tell_apart_are_counted() {
    let labels = json!({"app": "twin"});
    let files = with_pods(&[("one", labels.clone()), ("two", labels)]);
    let text = files.print("--from blue/one --to blue/reply:8080").unwrap();
    assert!(
        text.contains("admits the same from 1 more pod (blue/two)"),
        "{text}"
    );
    assert!(!text.contains("nothing else"), "{text}");
}

#[test]
fn a_pod_with_distinct_labels_is_selected_alone() {
    let files = with_pods(&[
        ("one", json!({"app": "client"})),
        ("two", json!({"app": "client", "tier": "batch"})),
    ]);
    let (text, tree) = only_manifest(&files, "--from blue/one --to blue/reply:8080");
    let with_it = files.and(&text);
    assert_eq!(
        with_it.allowed("blue/one", "blue/reply:8080"),
        Some(true),
        "{tree}"
    );
    assert_eq!(with_it.allowed("blue/two", "blue/reply:8080"), Some(false));
}

#[test]
fn a_pod_that_no_policy_isolates_stays_free() {
    // The Deployment's labels are wider than the policy's: with them, the canary would be isolated.
    let pod = |name: &str, track: &str, ip: &str| {
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "blue",
                "labels": {"app": "shop", "track": track, "pod-template-hash": "1a2b"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet",
                    "name": "shop-1a2b", "uid": "u", "controller": true}]},
            "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}})
    };
    let list = json!({"kind": "List", "items": [
        pod("stable", "stable", "10.30.22.1"),
        pod("canary", "canary", "10.30.22.2"),
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop", "namespace": "blue"},
         "spec": {"selector": {"matchLabels": {"app": "shop"}}}},
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
         "metadata": {"name": "stable-only", "namespace": "blue"},
         "spec": {"podSelector": {"matchLabels": {"track": "stable"}}, "ingress": []}},
    ]});
    let files = Files::of(&[]).and(list.to_string());
    assert_eq!(files.allowed("blue/ask", "blue/canary:80"), Some(true));
    let (text, tree) = only_manifest(&files, "--from blue/ask --to blue/stable:80");
    let after = files.and(&text);
    assert_eq!(
        after.allowed("blue/ask", "blue/stable:80"),
        Some(true),
        "{tree}"
    );
    assert_eq!(
        after.allowed("blue/ask", "blue/canary:80"),
        Some(true),
        "{tree}"
    );
    assert_eq!(
        after.allowed("blue/reply", "blue/canary:80"),
        Some(true),
        "{tree}"
    );
}
