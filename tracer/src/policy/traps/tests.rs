//! Every trap, and its harmless twin.

use std::path::Path;

use super::*;
use crate::cluster::dump::Loaded;

const CLUSTER: &str = r#"# One pod asks another.
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}}, status: {podIP: 10.1.0.2}}
---
{apiVersion: v1, kind: Pod, metadata: {name: api, namespace: shop, labels: {app: api}}, status: {podIP: 10.1.0.3}}
---
{apiVersion: v1, kind: Pod, metadata: {name: coredns-1, namespace: kube-system, labels: {k8s-app: kube-dns}}, status: {podIP: 10.1.0.4}}
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicyList, items: []}
"#;

fn warned(spec: &str, more: &str) -> Vec<String> {
    let text = format!(
        "{CLUSTER}\n---\n{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: \
         {{name: p, namespace: shop}}, spec: {spec}}}\n{more}"
    );
    let mut loaded = Loaded::default();
    loaded.read(Path::new("f"), &text).expect("readable");
    let view = loaded.view;
    let flow = Flow {
        src: Peer::at(&view, "10.1.0.3".parse().expect("address")),
        dst: Peer::at(&view, "10.1.0.2".parse().expect("address")),
        protocol: Protocol::Tcp,
        port: Some(8085),
    };
    warnings(&view, &flow, &evaluate(&view, &flow))
}

fn plugin(name: &str, image: &str) -> String {
    format!(
        "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}-x2x, namespace: kube-system}}, \
         spec: {{containers: [{{name: c, image: '{image}'}}]}}}}\n"
    )
}

#[test]
fn traps_are_reported() {
    let all = [
        (
            "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}]}]}",
            "",
        ),
        (
            "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}, {podSelector: \
             {matchLabels: {app: api}}}]}]}",
            "",
        ),
        (
            "{podSelector: {}, ingress: [{ports: [{port: 8080, endPort: 8090}]}]}",
            "",
        ),
        ("{podSelector: {matchLabels: {app: wbe}}}", ""),
        (
            "{podSelector: {}, policyTypes: [Ingress], egress: [{}], ingress: [{}]}",
            "",
        ),
        (
            "{podSelector: {}}",
            plugin("kube-flannel-ds", "flannel:v0.26").as_str(),
        ),
        (
            "{podSelector: {}}",
            plugin("kindnet", "kindest/kindnetd:v20240202-8f1494ea").as_str(),
        ),
        (
            "{podSelector: {}}",
            "---\n{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: c}}\n",
        ),
    ]
    .map(|(spec, more)| warned(spec, more).join("\n"))
    .join("\n");
    insta::assert_snapshot!(all, @"
    shop/api is isolated for egress, and no rule admits DNS (UDP 53 to kube-system/coredns-1): it resolves no names, whatever else is admitted
    ingress rule 1 of shop/p has namespaceSelector {} and podSelector app=api as two elements: each admits by itself (OR); to require both, write them into one element
    shop/p names port 8085 by the range 8080-8090 (endPort): a CNI plugin that does not know endPort admits 8080 alone
    shop/p selects no pod: none in shop is app=wbe
    shop/p has egress rules, but its policyTypes does not list that direction: they do nothing
    only flannel runs on the nodes, which enforces no NetworkPolicies: all of them are without effect until something does
    only kindnet runs on the nodes, which enforces no NetworkPolicies: all of them are without effect until something does
    not judged, though the CNI plugin heeds them: 1 CiliumNetworkPolicy (cilium.io)
    ");
}

#[test]
fn what_is_no_trap_is_not_reported() {
    let dns = "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 53, protocol: \
               UDP}]}]}";
    let one_element = "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}, podSelector: \
                       {}}]}]}";
    let first_port = "{podSelector: {}, ingress: [{ports: [{port: 8085, endPort: 8090}]}]}";
    for spec in [dns, one_element, first_port] {
        assert_eq!(warned(spec, ""), Vec::<String>::new(), "{spec}");
    }
    let enforcers = [
        plugin("kube-flannel-ds", "flannel:v0.26") + &plugin("calico-node", "calico:v3"),
        plugin("kindnet", "kindest/kindnetd:v20250512-df8de77b"),
        plugin("cilium", "cilium:v1.17"),
    ];
    for more in enforcers {
        assert_eq!(
            warned("{podSelector: {}}", &more),
            Vec::<String>::new(),
            "{more}"
        );
    }
}
