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

mod destination;
mod endpoint;
mod pod;
mod policy;

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
        apply(&mut cluster, change);
    }
    cluster
}

fn apply(cluster: &mut Cluster, change: Change) {
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
        node: Some("n1".to_owned()),
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

/// A verdict of one of the node's own rules.
fn by_rule(rule: &'static str, point: Point) -> Verdict {
    Verdict {
        rule: Some(rule.into()),
        ..verdict(point)
    }
}
