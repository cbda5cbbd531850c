//! The Job's pod in a real container runtime: Debian's containerd, in the namespace of a node.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tracer_model::{Confidence, Point};
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
        let heartbeat = heartbeat.context("a heartbeat")?;
        arguments.drain(heartbeat..heartbeat + 2);
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

    /// The same pod without some of its capabilities.
    fn run_without(&mut self, missing: &[&str]) -> Result<JobPod> {
        let mut job = self.job.clone();
        let name = job["metadata"]["name"].as_str().context("a name")?;
        let without = missing.join("-").to_lowercase().replace('_', "-");
        job["metadata"]["name"] = format!("{name}-{without}").into();
        let container = &mut job["spec"]["template"]["spec"]["containers"][0];
        let add = &mut container["securityContext"]["capabilities"]["add"];
        let add = add.as_array_mut().context("capabilities")?;
        let before = add.len();
        add.retain(|one| missing.iter().all(|missing| one != missing));
        ensure!(add.len() + missing.len() == before, "{add:?}");
        self.containerd.run_job(&job)
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
/// names the rule that drops, as the node's own nft lists it, and ends with its summary when it is told to.
/// Nothing is missing.
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
    let is_seen = |record: &Record| record.as_drop().is_some_and(|drop| drop.flow == flow);
    let dropped = wait_for(&pod, "the drop", is_seen)?;
    let verdict = &dropped.as_drop().context("a drop")?.verdict;
    ensure!(
        (verdict.point, verdict.confidence) == (Point::Firewall, Confidence::Confirmed)
            && verdict.why.contains("filter_forward"),
        "{verdict:?}"
    );
    node.containerd.end_job(&pod)?;
    let is_summary = |record: &Record| matches!(record, Record::Summary(_));
    wait_for(&pod, "the summary", is_summary).map(drop)
}

/// Without one of them, the trace says what it lacks, or that it cannot begin. `SYS_ADMIN` stands for `BPF` and
/// `PERFMON`; `SYS_RESOURCE` is for old kernels.
#[test]
fn a_missing_capability_is_named() -> Result<()> {
    let mut node = Node::build()?;
    for (missing, expected) in [
        (&["NET_ADMIN"][..], "CAP_NET_ADMIN"),
        (&["SYS_PTRACE"], "CAP_SYS_PTRACE"),
        (&["SYS_CHROOT"], "CAP_SYS_CHROOT"),
        (&["SYSLOG"], "/proc/kallsyms hides its addresses"),
        (&["SYS_ADMIN"], "CAP_SYS_ADMIN"),
        (&["SYS_ADMIN", "BPF"], "CAP_BPF"),
    ] {
        let pod = node.run_without(missing)?;
        let said = poll_until(expected, || {
            let lines = pod.lines();
            let is_said = lines.iter().any(|line| line.contains(expected));
            is_said.then_some(())
        });
        said.with_context(|| pod.lines().join("\n"))?;
        node.containerd.end_job(&pod)?;
    }
    Ok(())
}
