//! `kubectl whydrop` against an API server whose kubelets start the traces in the nodes' namespaces.

mod containerd;
mod heart;
mod interruptions;
mod program;
mod refusals;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tracer_model::{Confidence, Outcome, PathReport, Point};
use whydrop_tests::{
    apiserver::ApiServer,
    deadline,
    fault::{Chain, nft},
    lab::{
        Family, Host,
        topology::{OverlayLab, Underlay},
    },
    plugin::{Ended, Laptop, Plugin},
    traffic::{Flow, TcpAttempt, TcpServer},
};

const PORT: u16 = 8080;

/// A lab of two nodes, the API server that knows them and their pods, and a laptop.
struct Cluster {
    lab: OverlayLab,
    server: ApiServer,
    laptop: Laptop,
}

impl Cluster {
    fn build() -> Result<Self> {
        let lab = OverlayLab::build(Underlay::Routed)?;
        let server = ApiServer::up()?;
        for (index, node) in lab.nodes.iter().enumerate() {
            let name = format!("node-{}", index + 1);
            place_node(
                &server,
                &name,
                &node.node,
                &json!({"kubernetes.io/os": "linux"}),
            )?;
            server.kubelets().node(&name, &[node.node.name()]);
        }
        for (index, name) in ["client-ok", "server"].into_iter().enumerate() {
            let node = format!("node-{}", index + 1);
            let mut pod = server.object("pods", "prod", name)?;
            pod["spec"]["nodeName"] = node.into();
            pod["status"]["phase"] = "Running".into();
            let ip = lab.nodes[index].pod.address(Family::V4).to_string();
            pod["status"]["podIP"] = ip.clone().into();
            pod["status"]["podIPs"] = json!([{"ip": ip}]);
            server.change("pods", "MODIFIED", pod)?;
        }
        let laptop = Laptop::new(&server)?;
        Ok(Self {
            lab,
            server,
            laptop,
        })
    }

    /// A trace from the one pod to the other, that has begun on both nodes.
    fn traced(&self) -> Result<Plugin> {
        let mut plugin = self.begun()?;
        plugin.wait_for(&["node-1: tracing", "node-2: tracing"])?;
        Ok(plugin)
    }

    fn begun(&self) -> Result<Plugin> {
        let to = format!("server:{PORT}");
        let arguments = [&*to, "--from", "client-ok", "-n", "prod", "--answered"];
        self.laptop.start(&arguments)
    }

    fn connect(&self) -> Result<TcpAttempt> {
        let [first, second] = &self.lab.nodes;
        TcpAttempt::start(&first.pod, None, second.pod.socket(Family::V4, PORT))
    }

    fn listen(&self) -> Result<TcpServer> {
        let pod = &self.lab.nodes[1].pod;
        TcpServer::echo(pod, pod.socket(Family::V4, PORT))
    }

    /// The far node drops what comes for the server's port.
    fn block(&self) -> Result<()> {
        let rule = format!("tcp dport {PORT} drop");
        nft(&self.lab.nodes[1].node, Chain::inet("forward"), &rule).map(drop)
    }

    /// An attempt that is blocked, once it is reported as unanswered.
    fn blocked(&self, plugin: &mut Plugin) -> Result<Flow> {
        self.block()?;
        let attempt = self.connect()?;
        let flow = attempt.flow();
        plugin.wait_for(&[&format!(
            "node-1: tcp {} → {} unanswered",
            flow.src, flow.dst
        )])?;
        Ok(flow)
    }

    /// Fails if anything is left of a run.
    fn expect_nothing_left(&self) -> Result<()> {
        let kubelets = self.server.kubelets();
        ensure!(kubelets.jobs().is_empty(), "{:?}", kubelets.jobs());
        whydrop_tests::poll_until("all pods to end", || (!kubelets.is_running()).then_some(()))
    }
}

fn place_node(server: &ApiServer, name: &str, host: &Host, labels: &Value) -> Result<()> {
    let mut node = server.object("nodes", "", "n1")?;
    node["metadata"]["name"] = name.into();
    node["metadata"]["uid"] = format!("{name}-uid").into();
    node["metadata"]["labels"] = labels.clone();
    let address = host.address(Family::V4).to_string();
    node["status"]["addresses"] = json!([{"type": "InternalIP", "address": address}]);
    server.change("nodes", "ADDED", node).map(drop)
}

fn path_of(ended: &Ended, flow: Flow) -> Result<&PathReport> {
    let flow = flow.into();
    let path = ended.paths.iter().find(|path| path.flow == flow);
    path.with_context(|| format!("no path of {flow:?}: {:?} {}", ended.paths, ended.stderr))
}

/// The far node drops the SYN: both traces see it, the path has both nodes and both pods' names, and
/// nothing is left.
#[test]
fn two_nodes_are_traced_and_joined() -> Result<()> {
    let cluster = Cluster::build()?;
    let _server = cluster.listen()?;
    let mut plugin = cluster.traced()?;
    let healthy = cluster.connect()?;
    let healthy_flow = healthy.flow();
    healthy.outcome(deadline())?;

    let flow = cluster.blocked(&mut plugin)?;
    let ended = plugin.stop()?;
    // Deleting the Jobs would end the traces, too, after a while.
    let orders = cluster.server.kubelets().orders();
    ensure!(orders == 2, "{orders} traces were ordered to end");

    let path = path_of(&ended, flow)?;
    let verdict = path.verdict.as_ref().context("a verdict")?;
    ensure!(
        (verdict.point, verdict.confidence) == (Point::Firewall, Confidence::Confirmed),
        "{verdict:?}"
    );
    let nodes: BTreeSet<&str> = path.hops.iter().map(|hop| hop.node.as_str()).collect();
    ensure!(nodes == BTreeSet::from(["node-1", "node-2"]), "{path:?}");
    let pods = [&path.src_pod, &path.dst_pod].map(|pod| pod.as_ref().map(ToString::to_string));
    let expected = ["prod/client-ok", "prod/server"].map(|name| Some(name.to_owned()));
    ensure!(pods == expected, "{pods:?}");

    let path = path_of(&ended, healthy_flow)?;
    ensure!(
        path.outcome == Outcome::Answered && path.verdict.is_none(),
        "{path:?}"
    );
    cluster.expect_nothing_left()
}

/// What is created is what was announced: one Job per node, without a token and without host paths.
#[test]
fn what_is_created_was_announced() -> Result<()> {
    let cluster = Cluster::build()?;
    let plugin = cluster.traced()?;
    let said = plugin.said();
    let created = cluster.server.kubelets().created();
    ensure!(created.len() == 2, "{created:?}");
    for job in &created {
        let spec = &job["spec"]["template"]["spec"];
        let (name, node) = (&job["metadata"]["name"], &spec["nodeName"]);
        let announced = format!(
            "Job {} on node {}",
            name.as_str().unwrap_or_default(),
            node.as_str().unwrap_or_default()
        );
        ensure!(said.contains(&announced), "{announced}: {said}");
        let container = &spec["containers"][0];
        let arguments = container["args"].as_array().context("arguments")?;
        // Without a beat, a trace ends by itself.
        ensure!(
            arguments.contains(&json!("--heartbeat")) && container["stdin"] == true,
            "{container}"
        );
        ensure!(
            spec["automountServiceAccountToken"] == false
                && spec["volumes"].is_null()
                && spec["hostNetwork"] == true
                && spec["hostPID"] == true
                && spec["tolerations"] == json!([{"operator": "Exists"}])
                && job["spec"]["activeDeadlineSeconds"].is_u64()
                && job["spec"]["ttlSecondsAfterFinished"].is_u64(),
            "{job}"
        );
        let security = &spec["containers"][0]["securityContext"];
        let capabilities = json!([
            "BPF",
            "PERFMON",
            "NET_ADMIN",
            "SYS_ADMIN",
            "SYS_PTRACE",
            "SYS_CHROOT",
            "SYSLOG",
            "SYS_RESOURCE"
        ]);
        ensure!(
            security["privileged"] == false
                && security["readOnlyRootFilesystem"] == true
                && security["capabilities"] == json!({"drop": ["ALL"], "add": capabilities}),
            "{security}"
        );
    }
    plugin.stop()?;
    cluster.expect_nothing_left()
}

/// `--duration` ends it without Ctrl-C.
#[test]
fn it_ends_by_itself() -> Result<()> {
    let cluster = Cluster::build()?;
    let plugin = cluster.laptop.start(&["prod/server", "--duration", "1s"])?;
    let ended = plugin.ended()?;
    ensure!(
        ended.success && ended.stderr.contains("node-2: tracing"),
        "{}",
        ended.stderr
    );
    ensure!(!ended.stderr.contains("node-1"), "{}", ended.stderr);
    cluster.expect_nothing_left()
}
