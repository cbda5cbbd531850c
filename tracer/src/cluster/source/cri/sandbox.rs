//! From a sandbox, as the container runtime describes it, to a pod.

use std::{collections::HashMap, path::PathBuf};

use serde::Deserialize;

use crate::cluster::{
    convert,
    objects::{ObjectName, Pod, Sandbox},
};
use cri_messages::{NamespaceMode, PodSandboxStatus, PodSandboxStatusResponse};

/// Where the kubelet records the source of a pod.
const CONFIG_SOURCE: &str = "kubernetes.io/config.source";

/// What the kubelet adds to the labels that a pod has in the API.
const KUBELET_LABELS: &str = "io.kubernetes.pod.";

/// A pod, and where its network namespace is mounted, if it has one of its own.
pub(super) fn pod(answer: PodSandboxStatusResponse) -> Result<(Pod, Option<PathBuf>), String> {
    let status = answer.status.ok_or("it has no status")?;
    let info = Info::read(&answer.info);
    let created = status.created_at / 1_000_000_000;
    let host_network = has_host_network(&status);
    let uid = uid(&status);
    let metadata = status.metadata.ok_or("it has no metadata")?;
    for name in [&metadata.namespace, &metadata.name] {
        if !convert::is_proper(name) {
            return Err(format!("{name:?} is no object's name"));
        }
    }
    let mut labels = status.labels;
    labels.retain(|key, _| !key.starts_with(KUBELET_LABELS));
    let network = status.network.unwrap_or_default();
    let others = network.additional_ips.into_iter().map(|other| other.ip);
    let pod = Pod {
        id: ObjectName::new(metadata.namespace, metadata.name),
        uid,
        labels: convert::labels(Some(labels))?,
        // None of its own is an empty text.
        ips: convert::addresses(std::iter::once(network.ip).chain(others))?,
        host_network,
        created: Some(created),
        sandbox: Some(Sandbox {
            netns: None,
            pid: info.pid.filter(|pid| *pid != 0),
            cgroup: info.pod_cgroup(),
        }),
        ..Pod::default()
    };
    let netns = info.netns().filter(|_| !host_network);
    Ok((pod, netns))
}

/// The UID that the API has, too. A static pod has none: the kubelet makes one up for the runtime,
/// and its mirror in the API has another.
fn uid(status: &PodSandboxStatus) -> Option<String> {
    let source = status.annotations.get(CONFIG_SOURCE);
    let uid = &status.metadata.as_ref()?.uid;
    let known = source.is_none_or(|source| source == "api") && convert::is_proper(uid);
    known.then(|| uid.clone())
}

fn has_host_network(status: &PodSandboxStatus) -> bool {
    let namespaces = status
        .linux
        .as_ref()
        .and_then(|linux| linux.namespaces.as_ref());
    namespaces
        .and_then(|namespaces| namespaces.options.as_ref())
        .is_some_and(|options| options.network() == NamespaceMode::Node)
}

/// What containerd and CRI-O report beyond the interface, under the key `info`. Both give the
/// runtime specification of the sandbox; CRI-O gives no process where a sandbox needs none
/// (cri-o `server/sandbox_status.go`, containerd `sandbox_status.go`).
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Info {
    pid: Option<u32>,
    runtime_spec: Option<RuntimeSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RuntimeSpec {
    linux: Option<LinuxSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LinuxSpec {
    cgroups_path: Option<String>,
    namespaces: Option<Vec<NamespaceSpec>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NamespaceSpec {
    r#type: String,
    path: Option<PathBuf>,
}

impl Info {
    /// It is not part of the interface: a runtime that omits it, or sends something else, still
    /// knows its pods' addresses.
    fn read(info: &HashMap<String, String>) -> Self {
        let text = info.get("info").map_or("{}", String::as_str);
        serde_json::from_str(text).unwrap_or_else(|error| {
            log::debug!("the container runtime's description of a sandbox: {error}");
            Self::default()
        })
    }

    fn linux(&self) -> Option<&LinuxSpec> {
        self.runtime_spec.as_ref()?.linux.as_ref()
    }

    fn netns(&self) -> Option<PathBuf> {
        let namespaces = self.linux()?.namespaces.as_deref().unwrap_or_default();
        namespaces
            .iter()
            .find(|namespace| namespace.r#type == "network")?
            .path
            .clone()
            .filter(|path| path.is_absolute())
    }

    /// The cgroup in which those of all its containers are: the parent of the sandbox's own.
    fn pod_cgroup(&self) -> Option<String> {
        let path = self.linux()?.cgroups_path.as_deref()?;
        if let Some(parent) = path.strip_prefix('/') {
            let (parent, _) = parent.rsplit_once('/')?;
            return Some(parent.to_owned());
        }
        // By systemd: slice, prefix and name of a scope.
        let (slice, _) = path.split_once(':')?;
        slice_path(slice)
    }
}

/// Where systemd has the cgroup of a slice: `a-b.slice` is in `a.slice` (systemd.slice(5)).
fn slice_path(slice: &str) -> Option<String> {
    let name = slice.strip_suffix(".slice")?;
    let ends = name.match_indices('-').map(|(index, _)| index);
    let parts: Vec<String> = ends
        .chain([name.len()])
        .map(|end| format!("{}.slice", &name[..end]))
        .collect();
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests;
