//! What is created: one Job per node.

use std::{
    hash::{BuildHasher as _, RandomState},
    process,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    nodes::Node,
    plan::{End, Plan},
};
use crate::cli::{Proto, kubectl::KubectlConfig};

/// Says which objects are whydrop's.
pub(super) const MANAGED_BY: &str = "app.kubernetes.io/managed-by=kubectl-whydrop";
/// The run that an object is of.
pub(super) const SESSION: &str = "whydrop/session";
/// Who runs it: a hash, since a label takes no `@`.
pub(super) const OWNER: &str = "whydrop/owner";
/// The process that runs it, on the owner's machine.
pub(super) const PROCESS: &str = "whydrop/process";
/// The container with the trace.
pub(super) const CONTAINER: &str = "whydrop";
/// How long a trace goes on without a sign of life.
const HEARTBEAT: &str = "30s";
/// How often an idle trace says that it goes on.
const TICKS: &str = "--ticks=5s";
/// The longest trace without `--duration`.
const LONGEST: Duration = Duration::from_hours(1);
/// How much longer than the trace the Job may take: pulling the image is part of it.
const SLACK: Duration = Duration::from_secs(180);
/// How long the cluster keeps a Job that has ended: its log is read by then.
const TTL: u64 = 120;

/// The Jobs of one run.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) namespace: String,
    pub(super) owner: String,
    /// Whether the trace may be attached to.
    pub(super) attach: bool,
}

impl Session {
    pub(super) fn new(namespace: String, attach: bool) -> Self {
        let random = RandomState::new().hash_one(process::id());
        Self {
            id: format!("{random:016x}").split_off(8),
            namespace,
            owner: owner(),
            attach,
        }
    }

    /// Selects what is of this run.
    pub(super) fn selector(&self) -> String {
        format!("{SESSION}={}", self.id)
    }

    /// The path of all Jobs.
    pub(super) fn jobs(&self) -> String {
        format!("/apis/batch/v1/namespaces/{}/jobs", self.namespace)
    }

    /// The path of all pods.
    pub(super) fn pods(&self) -> String {
        format!("/api/v1/namespaces/{}/pods", self.namespace)
    }

    /// The name of the Job of a node.
    pub(super) fn job_name(&self, index: usize) -> String {
        format!("whydrop-{}-{}", self.id, index + 1)
    }

    /// The Job of a node.
    pub(super) fn job(
        &self,
        config: &KubectlConfig,
        plan: &Plan,
        node: &Node,
        index: usize,
    ) -> Value {
        let longest = config.duration.unwrap_or(LONGEST) + SLACK;
        let labels = json!({
            "app.kubernetes.io/name": "whydrop",
            "app.kubernetes.io/managed-by": "kubectl-whydrop",
            SESSION: self.id,
            OWNER: self.owner,
            PROCESS: process::id().to_string(),
        });
        let mut spec = json!({
            // The scheduler has no say: a cordoned node is traced on, too.
            "nodeName": node.name,
            "hostNetwork": true,
            "hostPID": true,
            "dnsPolicy": "Default",
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 10,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{
                "name": CONTAINER,
                "image": config.image,
                "imagePullPolicy": "IfNotPresent",
                "args": self.arguments(config, plan, &node.name),
                "stdin": self.attach,
                "stdinOnce": false,
                "resources": {
                    "requests": {"cpu": "50m", "memory": "64Mi"},
                    "limits": {"memory": "256Mi"},
                },
                "securityContext": {
                    "privileged": false,
                    "readOnlyRootFilesystem": true,
                    "runAsUser": 0,
                    "runAsNonRoot": false,
                    "seccompProfile": {"type": "RuntimeDefault"},
                    "appArmorProfile": {"type": "Unconfined"},
                    "capabilities": {
                        "drop": ["ALL"],
                        "add": [
                            "BPF", "PERFMON", "NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE", "SYS_CHROOT",
                            "SYSLOG", "SYS_RESOURCE",
                        ],
                    },
                },
            }],
        });
        if node.selinux {
            spec["containers"][0]["securityContext"]["seLinuxOptions"] = json!({"type": "spc_t"});
        }
        if let Some(secret) = &config.image_pull_secret {
            spec["imagePullSecrets"] = json!([{"name": secret}]);
        }
        json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": self.job_name(index),
                "namespace": self.namespace,
                "labels": labels,
            },
            "spec": {
                "backoffLimit": 0,
                "activeDeadlineSeconds": longest.as_secs(),
                "ttlSecondsAfterFinished": TTL,
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        })
    }

    /// The pod that a Job would make, to be tried out.
    pub(super) fn pod_of(job: &Value) -> Value {
        let template = &job["spec"]["template"];
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": job["metadata"]["name"],
                "namespace": job["metadata"]["namespace"],
                "labels": template["metadata"]["labels"],
            },
            "spec": template["spec"],
        })
    }

    fn arguments(&self, config: &KubectlConfig, plan: &Plan, node: &str) -> Vec<String> {
        let mut arguments: Vec<String> = [
            "--no-kube",
            "-o",
            "json",
            "--answered",
            "--node-tools",
            TICKS,
        ]
        .map(str::to_owned)
        .into();
        let mut option = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                arguments.extend([name.to_owned(), value]);
            }
        };
        let time = |time: Duration| humantime::format_duration(time).to_string();
        option("--node-name", Some(node.to_owned()));
        option("--heartbeat", self.attach.then(|| HEARTBEAT.to_owned()));
        option("--duration", Some(time(config.duration.unwrap_or(LONGEST))));
        option("--timeout", config.timeout.map(time));
        option("--count", config.count.map(|count| count.to_string()));
        option("--ring-size", config.ring_size.map(|size| size.to_string()));
        if config.proto != Proto::Any {
            option("--proto", Some(config.proto.name().to_owned()));
        }
        let name = |end: &Option<End>| end.as_ref().map(|end| end.endpoint.to_string());
        option("--from", name(&plan.from));
        for (name, end) in [("--from-is", &plan.from), ("--to-is", &plan.to)] {
            for socket in end.iter().flat_map(|end| &end.sockets) {
                option(name, Some(socket.to_string()));
            }
        }
        if config.noise {
            arguments.push("--noise".to_owned());
        }
        if config.all {
            arguments.push("--all".to_owned());
        }
        arguments.extend(name(&plan.to));
        arguments
    }
}

/// A label selector as part of a URL.
pub(super) fn in_url(selector: &str) -> String {
    selector
        .replace('=', "%3D")
        .replace(',', "%2C")
        .replace('/', "%2F")
}

/// Who runs this, in a form that a label takes.
fn owner() -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};

    // Names of machines repeat, and containers share them without sharing processes.
    let machine = std::fs::read("/etc/machine-id").unwrap_or_default();
    let processes = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let host = nix::unistd::gethostname().unwrap_or_default();
    let user = nix::unistd::getuid().as_raw();
    let mut hasher = DefaultHasher::new();
    (machine, processes, host, user).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
