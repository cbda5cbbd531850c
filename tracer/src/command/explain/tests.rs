//! Answers on the recorded cluster, and on small ones.

mod asked;
mod enforcers;
mod files;
mod manifests;
mod many;
mod ports;
mod recorded;
mod services;
mod unread;

use std::path::PathBuf;

use anyhow::bail;
use clap::Parser as _;

use super::*;
use crate::{
    cli::{
        Cli,
        options::{Config, Mode},
    },
    sink::Terminal,
};

fn run_with(args: &[&str]) -> Result<String> {
    let file = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/testdata/cluster-dump.json"
    ));
    let file = file.to_string_lossy();
    let fixed = ["whydrop", "explain", "--cluster", &file];
    let args = fixed.iter().chain(args);
    let mode = Config::new(Cli::try_parse_from(args)?, &Terminal::none())?.mode;
    let Mode::Explain(config) = mode else {
        bail!("not an explanation: {mode:?}")
    };
    let mut out = Vec::new();
    run(&mut out, &mut |_: &str| {}, &config)?;
    Ok(String::from_utf8(out)?)
}

#[test]
fn a_refused_flow_for_people() {
    let text = run_with(&["--from", "10.244.2.2", "--to", "prod/server:8081"]).expect("an answer");
    insta::assert_snapshot!(text, @r#"
    prod/client-ok (10.244.2.2) → prod/server, TCP 8081:
    denied by the NetworkPolicies

    egress   prod/client-ok is isolated by prod/allow-dns-egress, prod/default-deny, and no rule admits this
             - rule 1 of prod/allow-dns-egress admits podSelector k8s-app=kube-dns in namespaceSelector kubernetes.io/metadata.name=kube-system; the server is without k8s-app, in namespace prod (kubernetes.io/metadata.name=prod); and port 8081 is not among 53
             - prod/default-deny has no egress rule and admits nothing
             missing: an egress rule for prod/client-ok that admits TCP 8081 to podSelector app=server in this namespace
    ingress  prod/server is isolated by prod/default-deny, prod/server-allow-ok-8080, and no rule admits this
             - rule 1 of prod/server-allow-ok-8080 admits the client, but port 8081 is not among 8080
             - prod/default-deny has no ingress rule and admits nothing
             missing: an ingress rule for prod/server that admits TCP 8081 from podSelector role=ok in this namespace

    to admit this flow and nothing else, save:
    # allow-egress-client-ok-to-server-tcp-8081-135137.yaml
    apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata:
      name: "allow-egress-client-ok-to-server-tcp-8081-135137"
      namespace: "prod"
    spec:
      podSelector:
        matchLabels:
          "role": "ok"
      policyTypes:
      - Egress
      egress:
      - to:
        - podSelector:
            matchLabels:
              "app": "server"
        ports:
        - protocol: TCP
          port: 8081
    then apply it:
    kubectl apply -f allow-egress-client-ok-to-server-tcp-8081-135137.yaml
    to remove it again:
    kubectl delete networkpolicy -n prod allow-egress-client-ok-to-server-tcp-8081-135137

    to admit this flow and nothing else, save:
    # allow-ingress-client-ok-to-server-tcp-8081-a90710.yaml
    apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata:
      name: "allow-ingress-client-ok-to-server-tcp-8081-a90710"
      namespace: "prod"
    spec:
      podSelector:
        matchLabels:
          "app": "server"
      policyTypes:
      - Ingress
      ingress:
      - from:
        - podSelector:
            matchLabels:
              "role": "ok"
        ports:
        - protocol: TCP
          port: 8081
    then apply it:
    kubectl apply -f allow-ingress-client-ok-to-server-tcp-8081-a90710.yaml
    to remove it again:
    kubectl delete networkpolicy -n prod allow-ingress-client-ok-to-server-tcp-8081-a90710
    "#);
}

#[test]
fn an_admitted_side_for_people() {
    let text = run_with(&["--from", "192.0.2.1", "--to", "10.96.0.1:443"]).expect("an answer");
    insta::assert_snapshot!(text, @"
    192.0.2.1 → 10.88.0.1, TCP 6443:
    allowed by the NetworkPolicies

    egress   no pod that policies could isolate
    ingress  no pod that policies could isolate
    ! policies see the endpoints behind Service default/kubernetes, so these are evaluated: 10.88.0.1 port 6443
    ");
}

#[test]
fn a_refused_flow_for_programs() {
    let args = [
        "--from",
        "prod/client-ok",
        "--to",
        "prod/server:8080",
        "-o",
        "json",
    ];
    let text = run_with(&args).expect("an answer");
    insta::assert_snapshot!(text, @r##"
    {"allowed":false,"egress":{"pod":"prod/client-ok","isolated":true,"allowed":false,"policies":["prod/allow-dns-egress","prod/default-deny"],"admitted_by":[],"missing":"an egress rule for prod/client-ok that admits TCP 8080 to podSelector app=server in this namespace","undecidable_because":null,"exempt_because":null,"near_misses":["rule 1 of prod/allow-dns-egress admits podSelector k8s-app=kube-dns in namespaceSelector kubernetes.io/metadata.name=kube-system; the server is without k8s-app, in namespace prod (kubernetes.io/metadata.name=prod); and port 8080 is not among 53","prod/default-deny has no egress rule and admits nothing"]},"ingress":{"pod":"prod/server","isolated":true,"allowed":true,"policies":["prod/default-deny","prod/server-allow-ok-8080"],"admitted_by":["prod/server-allow-ok-8080"],"missing":null,"undecidable_because":null,"exempt_because":null,"near_misses":[]},"verdict":{"point":"policy","confidence":"likely","why":"prod/client-ok is isolated for egress and no rule admits the flow","evidence":["rule 1 of prod/allow-dns-egress admits podSelector k8s-app=kube-dns in namespaceSelector kubernetes.io/metadata.name=kube-system; the server is without k8s-app, in namespace prod (kubernetes.io/metadata.name=prod); and port 8080 is not among 53","prod/default-deny has no egress rule and admits nothing"],"fix":["# allow-egress-client-ok-to-server-tcp-8080-5a784a.yaml\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: \"allow-egress-client-ok-to-server-tcp-8080-5a784a\"\n  namespace: \"prod\"\nspec:\n  podSelector:\n    matchLabels:\n      \"role\": \"ok\"\n  policyTypes:\n  - Egress\n  egress:\n  - to:\n    - podSelector:\n        matchLabels:\n          \"app\": \"server\"\n    ports:\n    - protocol: TCP\n      port: 8080\n","kubectl apply -f allow-egress-client-ok-to-server-tcp-8080-5a784a.yaml","kubectl delete networkpolicy -n prod allow-egress-client-ok-to-server-tcp-8080-5a784a  # undo"],"policy":{"direction":"egress","pod":"prod/client-ok","policies":["prod/allow-dns-egress","prod/default-deny"],"missing":"an egress rule for prod/client-ok that admits TCP 8080 to podSelector app=server in this namespace"},"rule":"policy-by-objects"},"warnings":[]}
    "##);
}

#[test]
fn a_name_that_is_not_known_gets_the_nearest() {
    let error = run_with(&["--from", "prod/sever", "--to", "10.244.1.2:1"]).expect_err("a typo");
    assert_eq!(
        error.to_string(),
        "there is no pod prod/sever; the nearest names: prod/server, prod/client-ok"
    );
}
