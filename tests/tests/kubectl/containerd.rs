//! The Job's pod in a real container runtime: Debian's containerd, in the namespace of a node.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tracer_model::Point;
use whydrop_tests::{
    poll_until,
    record::{self, Record},
    runtime::{self, Containerd, JobPod},
};

use super::Cluster;

/// A node that runs containers, and the Job that `kubectl whydrop` would create for it.
struct Node {
    containerd: Containerd,
    cluster: Cluster,
    job: Value,
}

impl Node {
    fn build() -> Result<Self> {
        runtime::require()?;
        let cluster = Cluster::build()?;
        let to = format!("prod/server:{}", super::PORT);
        let mut printed = cluster.laptop.command(&[&to, "--dry-run"]);
        let printed = printed.output()?;
        ensure!(printed.status.success(), "{printed:?}");
        let list: Value = serde_json::from_slice(&printed.stdout)?;
        let mut job = list["items"][0].clone();
        // Nothing attaches to it here.
        let container = &mut job["spec"]["template"]["spec"]["containers"][0];
        let arguments = container["args"].as_array_mut().context("arguments")?;
        let heartbeat = arguments.iter().position(|word| word == "--heartbeat");
        arguments
            .drain(heartbeat.context("a heartbeat")?..)
            .take(2)
            .for_each(drop);
        // No pod of it has a network of its own.
        let subnets = ["10.99.0.0/24", "fd99::/120"].map(str::to_owned);
        let node = cluster.lab.nodes[1].node.namespace();
        let mut containerd = Containerd::start(node, &subnets, 1)?;
        containerd.import_whydrop(&job)?;
        Ok(Self {
            containerd,
            cluster,
            job,
        })
    }

    fn run(&mut self) -> Result<JobPod> {
        self.containerd.run_job(&self.job)
    }
}

/// Waits for a record. Fails with all that was said if there is none.
fn wait_for(pod: &JobPod, what: &str, wanted: impl Fn(&Record) -> bool) -> Result<Record> {
    let find = || {
        let lines = pod.lines();
        let mut records = lines.iter().filter_map(|line| record::read(line).ok());
        records.find(&wanted)
    };
    // A debug build in a container takes its time to load the programs.
    let found = poll_until(what, find).or_else(|_| poll_until(what, find));
    found.with_context(|| pod.lines().join("\n"))
}

/// The image is imported, and the pod runs with the capabilities of its manifest and no other: it traces,
/// names the rule that drops, and ends with its summary when it is told to. Nothing is missing.
#[test]
fn the_pod_traces_with_the_capabilities_of_its_manifest() -> Result<()> {
    let mut node = Node::build()?;
    let pod = node.run()?;
    let started = wait_for(&pod, "the trace to begin", |record| {
        matches!(record, Record::Started(_))
    })?;
    let Record::Started(started) = started else {
        unreachable!()
    };
    let lacks = |what: &&String| what.contains("CAP_") || what.contains("namespace");
    let degraded: Vec<_> = started.degraded.iter().filter(lacks).collect();
    ensure!(degraded.is_empty(), "{degraded:?}");
    node.cluster.block()?;
    let attempt = node.cluster.connect()?;
    let flow = attempt.flow().into();
    let is_seen = |record: &Record| {
        record
            .as_drop()
            .is_some_and(|drop| drop.flow == flow && drop.verdict.point == Point::Firewall)
    };
    wait_for(&pod, "the drop", is_seen)?;
    node.containerd.end_job(&pod)?;
    let is_summary = |record: &Record| matches!(record, Record::Summary(_));
    wait_for(&pod, "the summary", is_summary).map(drop)
}

/// Without one of them, it either says so and ends, or says what the trace lacks.
#[test]
fn a_missing_capability_is_named() -> Result<()> {
    let mut node = Node::build()?;
    let name = node.job["metadata"]["name"]
        .as_str()
        .context("a name")?
        .to_owned();
    for capability in ["BPF", "PERFMON", "NET_ADMIN", "SYS_ADMIN", "SYSLOG"] {
        let security =
            &mut node.job["spec"]["template"]["spec"]["containers"][0]["securityContext"];
        let add = &mut security["capabilities"]["add"];
        let all = add.clone();
        let others = all.as_array().into_iter().flatten();
        *add = others.filter(|one| **one != capability).cloned().collect();
        node.job["metadata"]["name"] = json!(format!(
            "{name}-{}",
            capability.to_lowercase().replace('_', "-")
        ));
        let pod = node.run()?;
        let named = format!("CAP_{capability}");
        let said = poll_until(&named, || {
            let lines = pod.lines();
            let is_named = lines.iter().any(|line| line.contains(&named));
            is_named.then_some(())
        });
        said.with_context(|| pod.lines().join("\n"))?;
        node.containerd.end_job(&pod)?;
        node.job["spec"]["template"]["spec"]["containers"][0]["securityContext"]["capabilities"]
            ["add"] = all;
    }
    Ok(())
}
