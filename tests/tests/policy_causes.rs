//! The causes of a connection that a NetworkPolicy refuses, each on real drops by rules that are
//! shaped like kube-router's: the verdict names the policy and the missing rule, and the manifest
//! that it proposes admits this flow and nothing else.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use whydrop_tests::{
    DEADLINE,
    kube::{Objects, Pod, enforce},
    lab::{Family, Host, topology::NodeLab},
    record::{Drop, Policy},
    tracer::{Trace, Tracer, binary, run_to_end, watching},
    traffic::{DnsQuery, DnsServer, Outcome, TcpAttempt, TcpServer},
};

/// Ports that the manifest is tried with; the flow's own is among them.
const PORTS: [u16; 4] = [53, 8080, 8081, 9095];
const NODE: &str = "n1";

/// What is to be refused, and how the verdict has to explain it.
struct Cause {
    /// The pods, with the policies.
    objects: Objects,
    /// Whether the pod on the node is the client. The server, otherwise.
    outgoing: bool,
    port: u16,
    dns: bool,
    policy: Policy,
    /// Words of one sentence of the evidence each.
    evidence: Vec<&'static str>,
}

/// `shop/web` on the node, and another pod on the other one.
struct Cluster {
    lab: NodeLab,
    directory: TempDir,
}

impl Cluster {
    fn build() -> Result<Self> {
        Ok(Self {
            lab: NodeLab::build()?,
            directory: tempfile::tempdir()?,
        })
    }

    fn objects(&self, other: &str, labels: &str, policies: Vec<Value>) -> Objects {
        let lab = &self.lab;
        Objects {
            pods: vec![
                Pod::new("shop/web", "app=web", lab.pod_a.address(Family::V4), NODE),
                Pod::new("shop/cart", "app=cart", lab.pod_b.address(Family::V4), NODE),
                Pod::new(other, labels, lab.outside.address(Family::V4), "n2"),
            ],
            policies,
            others: Vec::new(),
        }
    }

    /// Holds the conversation, lets the node enforce the policies, tries again, applies what the
    /// verdict proposes, and tries a third time.
    fn refuses(&self, cause: &Cause) -> Result<()> {
        let Self { lab, directory } = self;
        let directory = directory.path();
        let (client, server) = if cause.outgoing {
            (&lab.pod_a, &lab.outside)
        } else {
            (&lab.outside, &lab.pod_a)
        };
        let to = server.socket(Family::V4, cause.port);
        let _server = Served::at(server, to, cause.dns)?;
        let file = cause.objects.write(directory, "cluster.json")?;
        let mut arguments = watching(&[&lab.node]);
        arguments.extend([to.to_string(), "--cluster".to_owned(), path(&file)]);
        let mut tracer = Tracer::start(arguments)?;

        ensure!(
            converse(client, to, cause.dns)?,
            "refused before any policy"
        );
        enforce(&lab.node, NODE, &cause.objects)?;
        ensure!(!converse(client, to, cause.dns)?, "the policy lets it pass");
        let drop = tracer
            .wait_for("the refused packet", |record| {
                record.as_drop().is_some_and(opens)
            })?
            .as_drop()
            .context("a drop")?
            .clone();
        judged(&drop, cause)?;

        let manifests = proposed(&drop)?;
        self.admits_only_the_flow(cause, &file, &manifests)?;
        let mut mended = cause.objects.clone();
        for manifest in &manifests {
            mended.policies.push(serde_saphyr::from_str(manifest)?);
        }
        enforce(&lab.node, NODE, &mended)?;
        ensure!(
            converse(client, to, cause.dns)?,
            "refused, though what was proposed is in force: {manifests:#?}"
        );
        expect_nothing_else(&tracer.stop()?, &drop)
    }

    /// The evaluator's answers with and without the manifests differ for the flow, and for no other.
    fn admits_only_the_flow(&self, cause: &Cause, file: &Path, manifests: &[String]) -> Result<()> {
        let directory = self.directory.path();
        let added = directory.join("manifest.yaml");
        fs::write(&added, manifests.join("---\n"))?;
        let before = self.answers(cause, &[file])?;
        let after = self.answers(cause, &[file, &added])?;
        let changed: Vec<_> = after
            .iter()
            .filter(|(flow, allowed)| before[*flow] != **allowed)
            .collect();
        let (web, other) = (&cause.objects.pods[0], &cause.objects.pods[2]);
        let (from, to) = if cause.outgoing {
            (web, other)
        } else {
            (other, web)
        };
        let flow = (from.id(), to.id(), cause.port);
        ensure!(
            changed == [(&flow, &Some(true))],
            "the manifests change {changed:?}, and not just {flow:?}: {manifests:#?}"
        );
        Ok(())
    }

    fn answers(
        &self,
        cause: &Cause,
        files: &[&Path],
    ) -> Result<BTreeMap<(String, String, u16), Option<bool>>> {
        let mut answers = BTreeMap::new();
        let pods = &cause.objects.pods;
        for from in pods {
            for to in pods.iter().filter(|to| to.id() != from.id()) {
                for port in PORTS {
                    let answer =
                        explain(&from.id(), &format!("{}:{port}", to.id()), cause.dns, files)?;
                    let key = (from.id(), to.id(), port);
                    answers.insert(key, answer["allowed"].as_bool());
                }
            }
        }
        Ok(answers)
    }
}

#[expect(dead_code, reason = "held for their `Drop`")]
enum Served {
    Tcp(TcpServer),
    Dns(DnsServer),
}

impl Served {
    fn at(host: &Host, address: SocketAddr, dns: bool) -> Result<Self> {
        Ok(if dns {
            Self::Dns(DnsServer::start(host, address)?)
        } else {
            Self::Tcp(TcpServer::echo(host, address)?)
        })
    }
}

/// Whether the conversation gets through; a refusal comes at once.
fn converse(client: &Host, to: SocketAddr, dns: bool) -> Result<bool> {
    if dns {
        let query = DnsQuery::send(client, to, "cart.shop.svc.cluster.local")?;
        // An ICMP error ends the wait.
        return Ok(query.answered(DEADLINE).unwrap_or(false));
    }
    match TcpAttempt::start(client, None, to)?.outcome(DEADLINE)? {
        Outcome::Connected(_) => Ok(true),
        Outcome::Refused => Ok(false),
        other => anyhow::bail!("neither connected nor refused: {other:?}"),
    }
}

fn explain(from: &str, to: &str, udp: bool, files: &[&Path]) -> Result<Value> {
    let mut command = Command::new(binary());
    command.args(["explain", "-o", "json", "--from", from, "--to", to]);
    if udp {
        command.args(["--proto", "udp"]);
    }
    for file in files {
        command.arg("--cluster").arg(file);
    }
    let output = run_to_end(&mut command)?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn judged(drop: &Drop, cause: &Cause) -> Result<()> {
    let verdict = &drop.verdict;
    ensure!(
        (verdict.point.as_str(), verdict.confidence.as_str()) == ("policy", "confirmed"),
        "{verdict:#?}"
    );
    ensure!(
        verdict.policy.as_ref() == Some(&cause.policy),
        "the policy is {:#?} and should be {:#?}",
        verdict.policy,
        cause.policy
    );
    for words in &cause.evidence {
        let said = verdict.evidence.iter().any(|fact| fact.contains(words));
        ensure!(said, "no fact says {words:?}: {:#?}", verdict.evidence);
    }
    let enforced = |fact: &String| fact.contains("enforcement of kube-router");
    ensure!(verdict.evidence.iter().any(enforced), "{verdict:#?}");
    let pods =
        [&drop.src_pod, &drop.dst_pod].map(|pod| pod.as_ref().map(whydrop_tests::record::Pod::id));
    let (web, other) = (cause.objects.pods[0].id(), cause.objects.pods[2].id());
    let expected = if cause.outgoing {
        [web, other]
    } else {
        [other, web]
    };
    ensure!(
        pods == expected.clone().map(Some),
        "{pods:?} should be {expected:?}"
    );
    Ok(())
}

/// The manifests among the fixes: one for each side that refuses.
fn proposed(drop: &Drop) -> Result<Vec<String>> {
    let fix = &drop.verdict.fix;
    let manifests = fix.iter().filter(|fix| fix.contains("kind: NetworkPolicy"));
    let manifests: Vec<String> = manifests.cloned().collect();
    ensure!(!manifests.is_empty(), "no manifest is proposed: {fix:?}");
    ensure!(
        fix.iter().any(|fix| fix.starts_with("kubectl apply -f ")),
        "{fix:?}"
    );
    ensure!(
        fix.iter()
            .any(|fix| fix.starts_with("kubectl delete networkpolicy ")),
        "{fix:?}"
    );
    Ok(manifests)
}

/// Whether it is a conversation's first packet: the last ones of the admitted conversation may be on
/// their way while the rules change.
fn opens(drop: &Drop) -> bool {
    let flags = drop.packet.as_ref().and_then(|it| it.tcp_flags.as_deref());
    flags.is_none_or(|flags| flags == "S")
}

/// All refused conversations are the first one's.
fn expect_nothing_else(trace: &Trace, first: &Drop) -> Result<()> {
    for drop in trace.drops().filter(|drop| opens(drop)) {
        ensure!(drop.flow.sport == first.flow.sport, "and {drop}");
    }
    Ok(())
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

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

fn isolated(direction: &str, policies: &[&str], missing: &str) -> Policy {
    Policy {
        direction: direction.to_owned(),
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
            direction: "egress".to_owned(),
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
        policy: isolated("ingress", &["allow-web"], &format!("{WEB_8080} in this namespace")),
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
            "egress",
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
            "egress",
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
            "ingress",
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
            "ingress",
            &["allow-web"],
            "an ingress rule for shop/web that admits TCP 8081 from podSelector app=probe in this namespace",
        ),
        evidence: vec!["port 8081 is not among 8080, 9090-9100"],
    })
}

/// Policies that nobody enforces refuse nothing: what drops is a rule of somebody's own.
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
        (verdict.point.as_str(), verdict.confidence.as_str()) == ("firewall", "confirmed"),
        "{verdict:#?}"
    );
    ensure!(verdict.policy.is_none(), "{verdict:#?}");
    let trace = tracer.stop()?;
    let answered = trace
        .attempts()
        .any(|attempt| attempt.outcome == "answered");
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
