//! Services, NodePorts and workloads as ends of a flow.

use serde_json::{Value, json};

use super::asked::{Files, warnings};

fn because(answer: &Value) -> &str {
    let text = answer["ingress"]["undecidable_because"].as_str();
    text.unwrap_or_default()
}

/// A policy for blue/reply that admits some addresses.
fn admits(from: &Value) -> String {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "some", "namespace": "blue"},
        "spec": {"podSelector": {"matchLabels": {"app": "reply"}}, "ingress": [{"from": from}]}})
    .to_string()
}

const NODE_PORT: &str = "--from 198.51.100.7 --to 10.30.0.11:30700";

#[test]
fn a_node_port_leads_to_the_pod_that_a_policy_isolates() {
    let files = Files::of(&["service", "slice", "nodes", "deny"]);
    let answer = files.answer(NODE_PORT);
    assert_eq!(answer["allowed"], false, "{answer}");
    assert_eq!(answer["ingress"]["policies"], json!(["blue/shut"]));
    assert!(warnings(&answer).contains("policies see the endpoints behind Service blue/reply"));
    // At the pod's own node as well; and by a port that no Service has, it is the node.
    let own = files.answer("--from 198.51.100.7 --to 10.30.0.12:30700");
    assert_eq!(own["allowed"], false, "{own}");
    let other = files.answer("--from 198.51.100.7 --to 10.30.0.11:30701");
    assert_eq!(
        (&other["allowed"], &other["ingress"]["pod"]),
        (&json!(true), &Value::Null)
    );
    // What the pod's node sends by itself is let in.
    let node = files.answer("--from 10.30.0.12 --to 10.30.0.12:30700");
    assert_eq!(node["allowed"], true, "{node}");
}

#[test]
fn a_client_s_address_that_may_be_the_node_s_by_then_decides_nothing() {
    let files = |from: Value, service: &str| {
        Files::of(&["slice", "nodes"])
            .and(service)
            .and(admits(&from))
    };
    let service = include_str!("../../../../testdata/policies/service.yaml");
    let client = json!([{"ipBlock": {"cidr": "198.51.100.0/24"}}]);
    let answer = files(client.clone(), service).answer(NODE_PORT);
    assert_eq!(answer["allowed"], Value::Null, "{answer}");
    assert!(because(&answer).contains("SNAT"), "{answer}");
    // A node's address alone, too; everyone's, not.
    let node = json!([{"ipBlock": {"cidr": "10.30.0.0/24"}}]);
    assert_eq!(
        files(node, service).answer(NODE_PORT)["allowed"],
        Value::Null
    );
    let all = json!([{"ipBlock": {"cidr": "0.0.0.0/0"}}]);
    assert_eq!(files(all, service).answer(NODE_PORT)["allowed"], true);
    // With Local, the address stays; but the node must have an endpoint.
    let local = service.replace(
        "type: NodePort",
        "type: NodePort, externalTrafficPolicy: Local",
    );
    let at_pod = "--from 198.51.100.7 --to 10.30.0.12:30700";
    let slice = include_str!("../../../../testdata/policies/slice.yaml")
        .replace("{addresses:", "{nodeName: n2, addresses:");
    let files = Files::of(&["nodes"])
        .and(&local)
        .and(&slice)
        .and(admits(&client));
    assert_eq!(files.answer(at_pod)["allowed"], true);
    let elsewhere = files.answer(NODE_PORT);
    assert_eq!(elsewhere["allowed"], Value::Null, "{elsewhere}");
    assert!(
        warnings(&elsewhere)
            .contains("no ready endpoint on node n1 (externalTrafficPolicy: Local)"),
        "{elsewhere}"
    );
}

#[test]
fn a_selector_stands_in_for_endpoint_slices_that_are_not_known() {
    let ask = "--from blue/ask --to 10.30.60.7:80";
    let answer = Files::of(&["service", "deny"]).answer(ask);
    assert_eq!(answer["allowed"], false, "{answer}");
    assert_eq!(answer["ingress"]["pod"], "blue/reply");
    let warned = warnings(&answer);
    assert!(
        warned.contains("its selector app=reply selects stand in"),
        "{warned}"
    );
    assert!(warned.contains("blue/reply port 8080"), "{warned}");
    // Known slices without one for the Service: it has no endpoint.
    let none = "{apiVersion: discovery.k8s.io/v1, kind: EndpointSliceList, items: []}";
    let answer = Files::of(&["service", "deny"]).and(none).answer(ask);
    assert_eq!(answer["allowed"], Value::Null);
    assert!(
        warnings(&answer).contains("has no ready endpoint"),
        "{answer}"
    );
    // Without a selector, nothing says what stands behind it.
    let service = include_str!("../../../../testdata/policies/service.yaml")
        .replace("selector: {app: reply}, ", "");
    let answer = Files::of(&["deny"]).and(&service).answer(ask);
    assert_eq!(answer["allowed"], Value::Null);
}

#[test]
fn endpoints_with_different_answers_are_named() {
    let two = "{apiVersion: v1, kind: Pod, metadata: {name: second, namespace: blue, labels: {app: \
               reply, free: 'yes'}}, spec: {containers: [{name: c, ports: [{name: web, \
               containerPort: 8081}]}]}, status: {phase: Running, podIP: 10.30.20.9}}";
    let policy = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p, \
                  namespace: blue}, spec: {podSelector: {matchExpressions: [{key: free, operator: \
                  DoesNotExist}]}, ingress: []}}";
    let files = Files::of(&["service"]).and(two).and(policy);
    let answer = files.answer("--from blue/ask --to svc/blue/reply:80");
    assert_eq!(answer["allowed"], Value::Null, "{answer}");
    let warned = warnings(&answer);
    for each in [
        "blue/reply, TCP 8080 is not",
        "blue/second, TCP 8081 is admitted",
    ] {
        assert!(warned.contains(each), "{warned}");
    }
}

#[test]
fn a_service_by_name_is_its_address() {
    let files = Files::of(&["service", "slice", "deny"]);
    let by_name = files.answer("--from blue/ask --to svc/blue/reply:80");
    let by_address = files.answer("--from blue/ask --to 10.30.60.7:80");
    assert_eq!(by_name["allowed"], false, "{by_name}");
    assert_eq!(by_name, by_address);
    let error = |arguments: &str| files.print(arguments).unwrap_err();
    assert_eq!(
        error("--from blue/ask --to svc/blue/reply:81"),
        "svc/blue/reply has no TCP port 81, but TCP 80 (http)"
    );
    assert!(error("--from blue/ask --to svc/blue/rely:80").contains("blue/reply"));
    assert!(error("--from svc/blue/reply --to blue/ask:80").contains("--from svc/blue/reply"));
}

/// Two pods of a Deployment, of which one has a label more.
fn deployment() -> Files {
    let pod = |name: &str, ip: &str, more: &str| {
        format!(
            "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: blue, labels: \
             {{app: front, pod-template-hash: 7d9{more}}}, ownerReferences: [{{apiVersion: \
             apps/v1, kind: ReplicaSet, name: front-7d9, uid: u, controller: true}}]}}, status: \
             {{phase: Running, podIP: {ip}}}}}\n"
        )
    };
    let pods = pod("front-7d9-a", "10.30.20.30", "") + &pod("front-7d9-b", "10.30.20.31", ", x: z");
    Files::of(&["deny"]).and(pods)
}

#[test]
fn a_workload_is_each_of_its_pods() {
    let files = deployment();
    let answer = files.answer("--from deploy/blue/front --to blue/reply:8080");
    assert_eq!(answer["allowed"], false, "{answer}");
    let to = files.answer("--from blue/ask --to deploy/blue/front:80");
    assert_eq!(to["allowed"], true, "{to}");
    let some = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: some, \
                namespace: blue}, spec: {podSelector: {matchLabels: {app: reply}}, ingress: \
                [{from: [{podSelector: {matchLabels: {x: z}}}]}]}}";
    let answer = deployment()
        .and(some)
        .answer("--from deploy/blue/front --to blue/reply:8080");
    assert_eq!(answer["allowed"], Value::Null, "{answer}");
    assert!(
        warnings(&answer).contains("blue/front-7d9-b → blue/reply"),
        "{answer}"
    );
    let error = files
        .print("--from deploy/blue/fron --to blue/reply:8080")
        .unwrap_err();
    assert_eq!(
        error,
        "no known pod belongs to deploy/blue/fron; the nearest names: deploy/blue/front"
    );
}
