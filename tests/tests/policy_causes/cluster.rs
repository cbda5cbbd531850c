//! A node with pods whose conversation a policy refuses, is explained, and is mended.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use whydrop_tests::{
    binary, deadline,
    kube::{Objects, Pod, enforce},
    lab::{Family, Host, topology::NodeLab},
    record::{self, Drop, Fix, Policy},
    tracer::{Trace, Tracer, run_to_end, watching},
    traffic::{DnsQuery, DnsServer, Outcome, TcpAttempt, TcpServer},
};

/// Ports that the manifest is tried with; the flow's own is among them.
const PORTS: [u16; 4] = [53, 8080, 8081, 9095];
pub(crate) const NODE: &str = "n1";

/// What is to be refused, and how the verdict has to explain it.
pub(crate) struct Cause {
    /// The pods, with the policies.
    pub(crate) objects: Objects,
    /// Whether the pod on the node is the client. The server, otherwise.
    pub(crate) outgoing: bool,
    pub(crate) port: u16,
    pub(crate) dns: bool,
    pub(crate) policy: Policy,
    /// Words of one sentence of the evidence each.
    pub(crate) evidence: Vec<&'static str>,
}

/// `shop/web` on the node, and another pod on the other one.
pub(crate) struct Cluster {
    pub(crate) lab: NodeLab,
    pub(crate) directory: TempDir,
}

impl Cluster {
    pub(crate) fn build() -> Result<Self> {
        Ok(Self {
            lab: NodeLab::build()?,
            directory: tempfile::tempdir()?,
        })
    }

    pub(crate) fn objects(&self, other: &str, labels: &str, policies: Vec<Value>) -> Objects {
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
    pub(crate) fn refuses(&self, cause: &Cause) -> Result<()> {
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
pub(crate) fn converse(client: &Host, to: SocketAddr, dns: bool) -> Result<bool> {
    if dns {
        let query = DnsQuery::send(client, to, "cart.shop.svc.cluster.local")?;
        // An ICMP error ends the wait.
        return Ok(query.answered(deadline()).unwrap_or(false));
    }
    match TcpAttempt::start(client, None, to)?.outcome(deadline())? {
        Outcome::Connected(_) => Ok(true),
        Outcome::Refused => Ok(false),
        other => anyhow::bail!("neither connected nor refused: {other:?}"),
    }
}

pub(crate) fn explain(from: &str, to: &str, udp: bool, files: &[&Path]) -> Result<Value> {
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
        (verdict.point.name(), verdict.confidence.name()) == ("policy", "confirmed"),
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
    let enforced = |fact: &String| fact.contains("a network policy rule of kube-router");
    ensure!(verdict.evidence.iter().any(enforced), "{verdict:#?}");
    let pods = [&drop.src_pod, &drop.dst_pod].map(|pod| pod.as_ref().map(record::Pod::to_string));
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
    let fix: Vec<String> = drop.verdict.fix.iter().map(Fix::line).collect();
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
    let flags = drop.packet.and_then(|packet| packet.tcp_flags);
    flags.is_none_or(|flags| flags.syn() && !flags.ack())
}

/// All refused conversations are the first one's.
fn expect_nothing_else(trace: &Trace, first: &Drop) -> Result<()> {
    for drop in trace.drops().filter(|drop| opens(drop)) {
        ensure!(drop.flow.sport == first.flow.sport, "and {drop:?}");
    }
    Ok(())
}

pub(crate) fn path(path: &Path) -> String {
    path.display().to_string()
}
