//! The causes of a connection that a NetworkPolicy refuses, each on real drops by rules that are
//! shaped like kube-router's: the verdict names the policy and the missing rule, and the manifest
//! that it proposes admits this flow and nothing else.

mod cluster;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use whydrop_tests::{
    kube::Pod,
    lab::Family,
    record::{Outcome, Policy, PolicyDirection},
    tracer::{Tracer, watching},
    traffic::{TcpAttempt, TcpServer},
};

use cluster::{Cause, Cluster, NODE, converse, explain, path};

fn policy(name: &str, pods: &Value, types: &[&str], rules: &Value) -> Value {
    let mut spec = json!({"podSelector": pods, "policyTypes": types});
    for (key, value) in rules.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": "shop", "name": name},
        "spec": spec,
    })
}

fn labelled(label: &str, value: &str) -> Value {
    json!({"matchLabels": {label: value}})
}

fn isolated(direction: PolicyDirection, policies: &[&str], missing: &str) -> Policy {
    Policy {
        direction,
        pod: "shop/web".to_owned(),
        policies: policies.iter().map(|name| format!("shop/{name}")).collect(),
        missing: missing.to_owned(),
    }
}

const WEB_8080: &str =
    "an ingress rule for shop/web that admits TCP 8080 from podSelector app=probe";

#[test]
fn default_deny() -> Result<()> {
    let cluster = Cluster::build()?;
    let deny = policy(
        "default-deny",
        &json!({}),
        &["Ingress", "Egress"],
        &json!({}),
    );
    cluster.refuses(&Cause {
        objects: cluster.objects("shop/probe", "app=probe", vec![deny]),
        outgoing: false,
        port: 8080,
        dns: false,
        policy: Policy {
            direction: PolicyDirection::Egress,
            pod: "shop/probe".to_owned(),
            policies: vec!["shop/default-deny".to_owned()],
            missing: "an egress rule for shop/probe that admits TCP 8080 to podSelector app=web in this namespace".to_owned(),
        },
        evidence: vec!["shop/default-deny has no ingress rule and admits nothing"],
    })
}

#[test]
fn ingress_with_no_matching_from() -> Result<()> {
    let cluster = Cluster::build()?;
    let allow = policy(
        "allow-web",
        &labelled("app", "web"),
        &["Ingress"],
        &json!({"ingress": [{"from": [{"podSelector": labelled("app", "api")}]}]}),
    );
    cluster.refuses(&Cause {
        objects: cluster.objects("shop/probe", "app=probe", vec![allow]),
        outgoing: false,
        port: 8080,
        dns: false,
        policy: isolated(PolicyDirection::Ingress, &["allow-web"], &format!("{WEB_8080} in this namespace")),
        evidence: vec!["rule 1 of shop/allow-web admits podSelector app=api in this namespace; the client is app=probe"],
    })
}

#[test]
fn egress_with_no_matching_to() -> Result<()> {
    let cluster = Cluster::build()?;
    let allow = policy(
        "web-egress",
        &labelled("app", "web"),
        &["Egress"],
        &json!({"egress": [{"to": [{"podSelector": labelled("app", "db")}]}]}),
    );
    cluster.refuses(&Cause {
        objects: cluster.objects("shop/ledger", "app=ledger", vec![allow]),
        outgoing: true,
        port: 8080,
        dns: false,
        policy: isolated(
            PolicyDirection::Egress,
            &["web-egress"],
            "an egress rule for shop/web that admits TCP 8080 to podSelector app=ledger in this namespace",
        ),
        evidence: vec!["rule 1 of shop/web-egress admits podSelector app=db in this namespace; the server is app=ledger"],
    })
}

#[test]
fn dns_blocked_by_egress_isolation() -> Result<()> {
    let cluster = Cluster::build()?;
    let allow = policy(
        "web-egress",
        &labelled("app", "web"),
        &["Egress"],
        &json!({"egress": [{"ports": [{"protocol": "TCP", "port": 53}]}]}),
    );
    cluster.refuses(&Cause {
        objects: cluster.objects("kube-system/coredns-0", "k8s-app=kube-dns", vec![allow]),
        outgoing: true,
        port: 53,
        dns: true,
        policy: isolated(
            PolicyDirection::Egress,
            &["web-egress"],
            "an egress rule for shop/web that admits UDP 53 to podSelector k8s-app=kube-dns in namespace kube-system",
        ),
        evidence: vec!["TCP 53 is admitted, UDP 53 is not", "DNS"],
    })
}

#[test]
fn both_selectors_in_one_element() -> Result<()> {
    let cluster = Cluster::build()?;
    let allow = policy(
        "allow-ops",
        &labelled("app", "web"),
        &["Ingress"],
        &json!({"ingress": [{"from": [{
            "namespaceSelector": labelled("kubernetes.io/metadata.name", "ops"),
            "podSelector": labelled("app", "api"),
        }]}]}),
    );
    cluster.refuses(&Cause {
        objects: cluster.objects("ops/probe", "app=probe", vec![allow]),
        outgoing: false,
        port: 8080,
        dns: false,
        policy: isolated(
            PolicyDirection::Ingress,
            &["allow-ops"],
            &format!("{WEB_8080} in namespace ops"),
        ),
        evidence: vec!["must both match, and the namespace does, the pod doesn't"],
    })
}

#[test]
fn another_port_and_a_range_beside_it() -> Result<()> {
    let cluster = Cluster::build()?;
    let allow = policy(
        "allow-web",
        &labelled("app", "web"),
        &["Ingress"],
        &json!({"ingress": [{
            "from": [{"podSelector": labelled("app", "probe")}],
            "ports": [
                {"protocol": "TCP", "port": 8080},
                {"protocol": "TCP", "port": 9090, "endPort": 9100},
            ],
        }]}),
    );
    cluster.refuses(&Cause {
        objects: cluster.objects("shop/probe", "app=probe", vec![allow]),
        outgoing: false,
        port: 8081,
        dns: false,
        policy: isolated(
            PolicyDirection::Ingress,
            &["allow-web"],
            "an ingress rule for shop/web that admits TCP 8081 from podSelector app=probe in this namespace",
        ),
        evidence: vec!["port 8081 is not among 8080, 9090-9100"],
    })
}

/// Policies that are not enforced refuse nothing: what drops is a rule of the user's own.
#[test]
fn a_plugin_that_enforces_nothing() -> Result<()> {
    let cluster = Cluster::build()?;
    let lab = &cluster.lab;
    let deny = policy(
        "default-deny",
        &json!({}),
        &["Ingress", "Egress"],
        &json!({}),
    );
    let mut objects = cluster.objects("shop/probe", "app=probe", vec![deny]);
    let node_ip = lab.node.address(Family::V4);
    objects.pods.push(Pod::new(
        "kube-flannel/kube-flannel-ds-x",
        "app=flannel",
        node_ip,
        NODE,
    ));
    let file = objects.write(cluster.directory.path(), "cluster.json")?;
    let to = lab.pod_a.socket(Family::V4, 8080);
    let _server = TcpServer::echo(&lab.pod_a, to)?;
    let mut arguments = watching(&[&lab.node]);
    arguments.extend([to.to_string(), "--cluster".to_owned(), path(&file)]);
    let mut tracer = Tracer::start(arguments)?;
    ensure!(converse(&lab.outside, to, false)?, "nothing refuses it");
    lab.node.run_with_input(
        "nft -f -",
        "table ip own { chain f { type filter hook forward priority 0; tcp dport 8080 drop; }; }",
    )?;
    let _attempt = TcpAttempt::start(&lab.outside, None, to)?;
    let drop = tracer.wait_for("the dropped SYN", |record| record.as_drop().is_some())?;
    let verdict = &drop.as_drop().context("a drop")?.verdict;
    ensure!(
        (verdict.point.name(), verdict.confidence.name()) == ("firewall", "confirmed"),
        "{verdict:#?}"
    );
    ensure!(verdict.policy.is_none(), "{verdict:#?}");
    let trace = tracer.stop()?;
    let answered = trace
        .attempts()
        .any(|attempt| attempt.outcome == Outcome::Answered);
    ensure!(answered, "the first attempt is to be answered");
    let answer = explain("shop/probe", "shop/web:8080", false, &[&file])?;
    let warned = |warning: &Value| {
        warning
            .as_str()
            .is_some_and(|text| text.contains("only flannel runs"))
    };
    let warnings = answer["warnings"].as_array().context("warnings")?;
    ensure!(warnings.iter().any(warned), "{answer}");
    ensure!(answer["verdict"]["confidence"] == "possible", "{answer}");
    Ok(())
}
