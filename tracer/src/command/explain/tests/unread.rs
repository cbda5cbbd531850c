//! What could not be read is not taken for absent.

use serde_json::{Value, json};

use super::asked::Files;

const ADDRESS: &str = "10.50.2.2";

/// A policy isolates all of shop, where two pods are.
fn cluster() -> Value {
    json!({"kind": "List", "apiVersion": "v1", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"env": "prod"}}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
         "status": {"phase": "Running", "podIP": "10.50.1.2", "podIPs": [{"ip": "10.50.1.2"}]}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "cart", "namespace": "shop", "labels": {"app": "cart"}},
         "spec": {"nodeName": "n1", "hostNetwork": false, "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 80}]}]},
         "status": {"phase": "Running", "podIP": ADDRESS, "podIPs": [{"ip": ADDRESS}]}},
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "deny", "namespace": "shop"},
         "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": []}},
    ]})
}

fn allowed(cluster: &Value, to: &str) -> Option<bool> {
    let files = Files::none().and(cluster.to_string());
    files.allowed("10.50.1.2", to)
}

#[test]
fn a_pod_that_cannot_be_read_may_be_isolated() {
    let to = format!("{ADDRESS}:80");
    assert_eq!(allowed(&cluster(), &to), Some(false));
    let pointers = [
        "/metadata",
        "/metadata/name",
        "/metadata/namespace",
        "/metadata/labels",
        "/metadata/labels/app",
        "/spec",
        "/spec/nodeName",
        "/spec/hostNetwork",
        "/spec/containers",
        "/spec/containers/0/ports/0/containerPort",
        "/status",
        "/status/phase",
        "/status/podIP",
        "/status/podIPs",
        "/status/podIPs/0/ip",
        "/kind",
    ];
    let odd = [json!(7), json!("$(touch x)"), json!([1]), json!({"a": []})];
    for pointer in pointers {
        for odd in &odd {
            let mut cluster = cluster();
            let pod = &mut cluster["items"][2];
            *pod.pointer_mut(pointer).unwrap() = odd.clone();
            // A kind of another name is another kind.
            let is_none = pointer == "/kind" && odd.is_string();
            // And a status without an address gives the address to nothing.
            let is_empty = pointer == "/status" && odd.is_object();
            if !is_none && !is_empty {
                assert_ne!(allowed(&cluster, &to), Some(true), "{pointer}: {odd}");
            }
        }
    }
    let mut cluster = cluster();
    cluster["items"][2]["metadata"]["labels"]["t"] = json!("$(touch x)");
    assert_eq!(allowed(&cluster, "shop/cart:80"), None);
    // Its neighbor's answer is not spoiled.
    let files = Files::none().and(cluster.to_string());
    assert_eq!(files.allowed("198.51.100.1", "10.50.1.2:80"), Some(false));
}

#[test]
fn a_namespace_that_cannot_be_read_may_have_any_labels() {
    let mut cluster = cluster();
    cluster["items"][3]["spec"]["ingress"] =
        json!([{"from": [{"namespaceSelector": {"matchLabels": {"env": "dev"}}}]}]);
    let to = format!("{ADDRESS}:80");
    assert_eq!(allowed(&cluster, &to), Some(false));
    for pointer in [
        "/metadata",
        "/metadata/name",
        "/metadata/labels",
        "/metadata/labels/env",
    ] {
        for odd in [json!(7), json!("$(touch x)"), json!([1])] {
            let mut cluster = cluster.clone();
            *cluster["items"][0].pointer_mut(pointer).unwrap() = odd.clone();
            assert_eq!(allowed(&cluster, &to), None, "{pointer}: {odd}");
        }
    }
}

#[test]
fn a_service_and_its_endpoints_that_cannot_be_read_are_not_absent() {
    let mut cluster = cluster();
    let items = cluster["items"].as_array_mut().unwrap();
    items.push(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "cart", "namespace": "shop"},
        "spec": {"clusterIP": "10.96.0.9", "ports": "all"}}));
    assert_eq!(allowed(&cluster, "10.96.0.9:80"), None);
}
