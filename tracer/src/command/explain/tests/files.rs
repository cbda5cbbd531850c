//! Files as shells, kubectl and people write them.

use serde_json::{Value, json};

use super::asked::{Files, warnings};
use crate::cluster::dump::Loaded;

/// The objects of some files as kubectl lists them.
fn list(names: &[&str]) -> Value {
    let mut items = Vec::new();
    for name in names {
        let path = format!(
            "{}/testdata/policies/{name}.yaml",
            env!("CARGO_MANIFEST_DIR")
        );
        let text = std::fs::read_to_string(path).unwrap();
        for tree in crate::cluster::dump::trees(&text) {
            match tree["items"].as_array() {
                Some(inner) => items.extend(inner.iter().cloned()),
                None => items.push(tree),
            }
        }
    }
    json!({"kind": "List", "apiVersion": "v1", "items": items})
}

const ASKED: (&str, &str) = ("blue/ask", "blue/reply:8080");

fn allowed(file: impl AsRef<[u8]>) -> Option<bool> {
    Files::none().and(file).allowed(ASKED.0, ASKED.1)
}

#[test]
fn a_whole_list_without_policies_is_a_cluster_without_policies() {
    let whole = list(&["base", "service", "slice", "nodes"]).to_string();
    let answer = Files::none()
        .and(&whole)
        .answer("--from blue/ask --to blue/reply:8080");
    assert_eq!(answer["allowed"], true);
    assert!(
        warnings(&answer).contains("holds no NetworkPolicy: taken for a cluster without any"),
        "{answer}"
    );
    // With policies, it is as it always was.
    let denied = list(&["base", "service", "slice", "nodes", "deny"]).to_string();
    assert_eq!(allowed(denied), Some(false));
    let elsewhere = Files::of(&["deny"]).and(&whole);
    assert_eq!(elsewhere.allowed(ASKED.0, ASKED.1), Some(false));
}

#[test]
fn what_may_have_left_policies_out_says_nothing_about_them() {
    // Pods and namespaces only; or each kind in a file of its own.
    assert_eq!(allowed(list(&["base"]).to_string()), None);
    let apart = Files::of(&["service", "slice", "nodes"]);
    assert_eq!(apart.allowed(ASKED.0, ASKED.1), None);
    // `kubectl get all` has workloads, but neither namespaces nor nodes.
    let all = json!({"kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ask", "namespace": "blue"}, "status": {"podIP": "10.30.20.2"}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "reply", "namespace": "blue"}, "status": {"podIP": "10.30.20.3"}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "blue"}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "blue"}},
    ]});
    assert_eq!(allowed(all.to_string()), None);
    // One that could not be read is one.
    let mut odd = list(&["base", "service", "slice", "nodes"]);
    odd["items"].as_array_mut().unwrap().push(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "odd", "namespace": "blue"}, "spec": {"podSelector": 7},
    }));
    assert_eq!(allowed(odd.to_string()), None);
    let empty = "\n---\n{apiVersion: networking.k8s.io/v1, kind: NetworkPolicyList, items: []}";
    let answer = Files::of(&[])
        .and(empty)
        .answer("--from blue/ask --to blue/reply:8080");
    assert_eq!(
        (&answer["allowed"], warnings(&answer).as_str()),
        (&json!(true), "")
    );
}

#[test]
fn a_policy_of_a_removed_version_could_not_be_read() {
    let old = include_str!("../../../../testdata/policies/deny.yaml")
        .replace("networking.k8s.io/v1", "extensions/v1beta1");
    let answer = Files::of(&[])
        .and(&old)
        .answer("--from blue/ask --to blue/reply:8080");
    assert_eq!(answer["allowed"], Value::Null);
    let because = answer["ingress"]["undecidable_because"].as_str().unwrap();
    assert_eq!(because, "NetworkPolicy blue/shut could not be read");
    let mut loaded = Loaded::default();
    loaded.read("old.yaml".as_ref(), &old).unwrap();
    assert_eq!(
        loaded.notes,
        [
            "old.yaml:1: NetworkPolicy blue/shut is left out: extensions/v1beta1 was removed in \
          Kubernetes 1.16: write networking.k8s.io/v1"
        ]
    );
}

#[test]
fn kubectl_s_warnings_and_powershell_s_text_are_read() {
    let text = list(&["base", "service", "slice", "nodes", "deny"]).to_string();
    let warned = format!(
        "Warning: v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 \
         EndpointSlice\n{text}"
    );
    assert_eq!(allowed(warned), Some(false));
    let wide = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
        let text = format!("\u{feff}{text}");
        text.encode_utf16().flat_map(unit).collect()
    };
    assert_eq!(allowed(wide(u16::to_le_bytes)), Some(false));
    assert_eq!(allowed(wide(u16::to_be_bytes)), Some(false));
    let error = Files::none()
        .and(b"\x1f\x8b\x08\x00")
        .print("--from blue/ask --to blue/reply:8080")
        .unwrap_err();
    assert!(
        error.ends_with("it is compressed: gunzip it first"),
        "{error}"
    );
}

#[test]
fn keys_that_yaml_1_1_takes_for_others_are_those_of_kubectl() {
    let files = Files::of(&["keys", "keys-policy.json"]);
    let answer = files.answer("--from blue/ask --to blue/odd:80");
    assert_eq!(answer["allowed"], false, "{answer}");
    // Quoted, the key is itself.
    let quoted = include_str!("../../../../testdata/policies/keys.yaml").replace("{y:", "{\"y\":");
    let files = Files::of(&["keys-policy.json"]).and(&quoted);
    assert_eq!(files.allowed("blue/ask", "blue/odd:80"), Some(true));
    let octal = include_str!("../../../../testdata/policies/keys.yaml").replace("{y:", "{010:");
    let policy =
        include_str!("../../../../testdata/policies/keys-policy.json").replace("\"true\"", "\"8\"");
    let files = Files::of(&[]).and(&octal).and(&policy);
    assert_eq!(files.allowed("blue/ask", "blue/odd:80"), Some(false));
}

#[test]
fn many_pods_are_no_bomb() {
    use std::fmt::Write as _;

    let mut text = "apiVersion: v1\nkind: List\nitems:\n".to_owned();
    for i in 0..2000 {
        let environment = "{name: E, value: v}, ".repeat(20);
        writeln!(
            text,
            "- {{apiVersion: v1, kind: Pod, metadata: {{name: p{i}, namespace: blue, labels: \
             {{app: a, tier: t}}}}, spec: {{containers: [{{name: c, env: [{environment}]}}]}}, \
             status: {{phase: Running, podIP: 10.30.{}.{}}}}}",
            100 + i / 250,
            i % 250 + 1
        )
        .unwrap();
    }
    let mut loaded = Loaded::default();
    loaded.read("big.yaml".as_ref(), &text).unwrap();
    assert_eq!((loaded.view.pods().count(), loaded.notes.len()), (2000, 0));
}

#[test]
fn aliases_that_make_a_file_much_larger_are_refused() {
    use std::fmt::Write as _;

    let mut text = "a: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let one = format!("*a{}", level - 1);
        writeln!(
            text,
            "b{level}: &a{level} [{}]",
            [one.as_str(); 9].join(", ")
        )
        .unwrap();
    }
    let error = Loaded::default().read("f".as_ref(), &text).unwrap_err();
    assert_eq!(
        error.to_string(),
        "f:5: aliases make it many times as large"
    );
    // And one that is used as people use them.
    let shared = "\
x: &labels {app: web}
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: b, labels: {<<: *labels, tier: t}}
";
    let mut loaded = Loaded::default();
    loaded.read("f".as_ref(), shared).unwrap();
    let pod = loaded.view.pods().next().unwrap();
    let labels: Vec<_> = pod.labels.iter().collect();
    assert_eq!(labels.len(), 2, "{labels:?}");
}

#[test]
fn devices_and_directories_are_refused() {
    for (path, why) in [
        ("/dev/zero", "it is a device"),
        ("/proc", "it is a directory"),
    ] {
        let error = crate::cluster::dump::load(&[path]).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
}
