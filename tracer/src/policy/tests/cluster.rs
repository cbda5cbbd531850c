//! Small clusters in YAML, and one question to them.

use std::path::Path;

use super::super::*;
use crate::cluster::{dump::Loaded, objects::ObjectName};

/// Two namespaces and pods in them; `shop/web` answers.
const CLUSTER: &str = r#"
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {env: prod}}}
- {apiVersion: v1, kind: Namespace, metadata: {name: test, labels: {env: dev}}}
- {apiVersion: v1, kind: Node, metadata: {name: n1}, spec: {podCIDRs: [10.1.0.0/24, "fd01::/64"]}, status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}}
- {apiVersion: v1, kind: Node, metadata: {name: n2}, spec: {podCIDRs: [10.2.0.0/24]}, status: {addresses: [{type: InternalIP, address: 192.168.0.2}]}}
- apiVersion: v1
  kind: Pod
  metadata: {name: web, namespace: shop, labels: {app: web}}
  spec:
    nodeName: n1
    containers:
    - {name: c, ports: [{name: http, containerPort: 8080}, {name: dns, containerPort: 53, protocol: UDP}]}
  status: {phase: Running, hostIP: 192.168.0.1, podIP: 10.1.0.2, podIPs: [{ip: 10.1.0.2}, {ip: "fd01::2"}]}
- {apiVersion: v1, kind: Pod, metadata: {name: api, namespace: shop, labels: {app: api}}, spec: {nodeName: n2}, status: {phase: Running, podIP: 10.2.0.3}}
- {apiVersion: v1, kind: Pod, metadata: {name: probe, namespace: shop, labels: {app: probe}}, spec: {nodeName: n1}, status: {phase: Running, podIP: 10.1.0.4}}
- {apiVersion: v1, kind: Pod, metadata: {name: api, namespace: test, labels: {app: api}}, spec: {nodeName: n2}, status: {phase: Running, podIP: 10.2.0.5}}
- {apiVersion: v1, kind: Pod, metadata: {name: lost, namespace: nowhere, labels: {app: api}}, spec: {nodeName: n2}, status: {phase: Running, podIP: 10.2.0.6}}
- {apiVersion: v1, kind: Pod, metadata: {name: done, namespace: shop, labels: {app: api}}, spec: {nodeName: n2}, status: {phase: Succeeded, podIP: 10.2.0.7}}
- {apiVersion: v1, kind: Pod, metadata: {name: agent, namespace: shop, labels: {app: api}}, spec: {nodeName: n2, hostNetwork: true}, status: {phase: Running, hostIP: 192.168.0.2, podIP: 192.168.0.2}}
"#;

/// The small cluster, with these NetworkPolicies' specs in namespace `shop`, and a list of them
/// even if it is empty.
pub(super) fn with(specs: &[&str]) -> View {
    let mut text = format!(
        "{CLUSTER}\n---\nkind: NetworkPolicyList\napiVersion: networking.k8s.io/v1\nitems: []\n"
    );
    for (n, spec) in specs.iter().enumerate() {
        text += &format!(
            "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p{n}, \
             namespace: shop}}\nspec: {spec}\n"
        );
    }
    let mut loaded = Loaded::default();
    loaded.read(Path::new("cluster"), &text).expect("readable");
    loaded.view
}

/// The end that a word names: a pod or an address.
pub(super) fn end<'v>(view: &'v View, word: &str) -> Peer<'v> {
    match word.split_once('/') {
        Some((namespace, name)) => {
            Peer::pod(view.pod(&ObjectName::new(namespace, name)).expect(word))
        }
        None => Peer::at(view, word.parse().expect(word)),
    }
}

/// Judges one flow.
pub(super) fn ask(view: &View, src: &str, dst: &str, protocol: Protocol, port: u16) -> Answer {
    let flow = Flow {
        src: end(view, src),
        dst: end(view, dst),
        protocol,
        port: Some(port),
    };
    evaluate(view, &flow)
}

/// Whether a policy with this spec lets TCP 8080 in from a peer to `shop/web`.
pub(super) fn lets_in(spec: &str, src: &str) -> Option<bool> {
    ask(&with(&[spec]), src, "shop/web", Protocol::Tcp, 8080).allowed
}

/// The nearest miss of such a policy.
pub(super) fn miss(spec: &str, src: &str, protocol: Protocol, port: u16) -> String {
    let side = ask(&with(&[spec]), src, "shop/web", protocol, port).ingress;
    assert_eq!(side.outcome, Outcome::NotAdmitted, "{side:?}");
    side.misses
        .first()
        .map(|miss| miss.words.clone())
        .expect("a miss")
}
