//! The pod of a Job of `kubectl whydrop`, run as the kubelet runs it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use cri_messages as proto;
use serde_json::Value;

use super::{Containerd, cri::image, image::build_whydrop, leftovers};

/// What the kubelet has masked, and made read-only, in every container.
const MASKED: [&str; 9] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const READ_ONLY: [&str; 6] = [
    "/proc/asound",
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// A Job's pod that runs, or has run.
pub struct JobPod {
    sandbox: String,
    container: String,
    grace: i64,
    log: PathBuf,
}

impl Containerd {
    /// Imports the image that a Job names: of a release's archive, if `WHYDROP_IMAGE_ARCHIVE` names one, or
    /// with the program under test.
    pub fn import_whydrop(&mut self, job: &Value) -> Result<()> {
        let name = container_of(job)["image"].as_str().context("an image")?;
        let archive = match env::var_os("WHYDROP_IMAGE_ARCHIVE") {
            Some(archive) => archive.into(),
            None => build_whydrop(&self.directory, name)?,
        };
        self.import(&archive, name)
    }

    /// Runs the pod of a Job, as its manifest says.
    pub fn run_job(&mut self, job: &Value) -> Result<JobPod> {
        let name = job["metadata"]["name"].as_str().context("a name")?;
        let directory = self.directory.join("logs");
        fs::create_dir_all(&directory)?;
        let log = format!("{name}.log");
        let node = |is_nodes: &Value| match is_nodes == true {
            true => proto::NamespaceMode::Node as i32,
            false => proto::NamespaceMode::Pod as i32,
        };
        let spec = &job["spec"]["template"]["spec"];
        let namespaces = Some(proto::NamespaceOption {
            network: node(&spec["hostNetwork"]),
            pid: node(&spec["hostPID"]),
        });
        let sandbox = proto::PodSandboxConfig {
            metadata: Some(proto::PodSandboxMetadata {
                name: name.to_owned(),
                uid: format!("{name}-uid"),
                namespace: "whydrop".to_owned(),
            }),
            log_directory: directory.display().to_string(),
            linux: Some(proto::LinuxPodSandboxConfig {
                cgroup_parent: format!("/{}", self.name),
                security_context: Some(proto::LinuxSandboxSecurityContext {
                    namespace_options: namespaces.clone(),
                }),
            }),
            ..Default::default()
        };
        let container = container_of(job);
        let security = &container["securityContext"];
        let config = proto::ContainerConfig {
            metadata: Some(proto::ContainerMetadata {
                name: "whydrop".to_owned(),
            }),
            image: Some(image(container["image"].as_str().context("an image")?)),
            args: words(&container["args"]),
            log_path: log.clone(),
            linux: Some(proto::LinuxContainerConfig {
                security_context: Some(proto::LinuxContainerSecurityContext {
                    capabilities: Some(proto::Capability {
                        add_capabilities: available(words(&security["capabilities"]["add"]))?,
                        drop_capabilities: words(&security["capabilities"]["drop"]),
                    }),
                    privileged: security["privileged"] == true,
                    namespace_options: namespaces,
                    run_as_user: security["runAsUser"]
                        .as_i64()
                        .map(|value| proto::Int64Value { value }),
                    readonly_rootfs: security["readOnlyRootFilesystem"] == true,
                    masked_paths: MASKED.map(str::to_owned).into(),
                    readonly_paths: READ_ONLY.map(str::to_owned).into(),
                    seccomp: profile(&security["seccompProfile"]),
                    apparmor: profile(&security["appArmorProfile"]),
                }),
            }),
            ..Default::default()
        };
        let running = self.cri.run_on_node(&sandbox, config);
        let (sandbox, container) = running.with_context(|| leftovers::log(&self.directory))?;
        Ok(JobPod {
            sandbox,
            container,
            grace: spec["terminationGracePeriodSeconds"]
                .as_i64()
                .context("a grace period")?,
            log: directory.join(log),
        })
    }

    /// Ends it, as a kubelet does: it gets SIGTERM, and its grace period.
    pub fn end_job(&mut self, pod: &JobPod) -> Result<()> {
        self.cri.stop_container(&pod.container, pod.grace)?;
        self.cri.remove_pod(&pod.sandbox)
    }
}

impl JobPod {
    /// The lines that it has written so far, on stdout and stderr.
    pub fn lines(&self) -> Vec<String> {
        lines(&self.log).unwrap_or_default()
    }
}

/// Of the runtime's log: `TIME stdout F TEXT`, or `P` where the line goes on in the next one.
fn lines(log: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(log)?;
    let mut lines = Vec::new();
    let mut line = String::new();
    // The last one may still be written.
    for record in text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
    {
        let mut words = record.trim_end_matches('\n').splitn(4, ' ').skip(2);
        let (tag, text) = (
            words.next().context("a tag")?,
            words.next().context("text")?,
        );
        line += text;
        if tag == "F" {
            lines.push(std::mem::take(&mut line));
        }
    }
    Ok(lines)
}

/// Those that this machine can give: one without `CAP_SYS_RESOURCE` starts no container with it. whydrop
/// needs it on kernels before 5.11 alone.
fn available(mut capabilities: Vec<String>) -> Result<Vec<String>> {
    const SYS_RESOURCE: u32 = 24;

    let status = fs::read_to_string("/proc/self/status")?;
    let bound = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let bound = u64::from_str_radix(bound.context("no capabilities")?.trim(), 16)?;
    if bound >> SYS_RESOURCE & 1 == 0 {
        eprintln!("this machine has no CAP_SYS_RESOURCE: the container does without");
        capabilities.retain(|capability| capability != "SYS_RESOURCE");
    }
    Ok(capabilities)
}

fn container_of(job: &Value) -> &Value {
    &job["spec"]["template"]["spec"]["containers"][0]
}

fn words(list: &Value) -> Vec<String> {
    let words = list.as_array().into_iter().flatten();
    words.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn profile(profile: &Value) -> Option<proto::SecurityProfile> {
    let profile_type = match profile["type"].as_str()? {
        "RuntimeDefault" => proto::ProfileType::RuntimeDefault,
        "Unconfined" => proto::ProfileType::Unconfined,
        _ => return None,
    };
    Some(proto::SecurityProfile {
        profile_type: profile_type as i32,
    })
}
