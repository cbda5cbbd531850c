//! What becomes of Jobs and their pods.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use super::{Image, State, log::Log, pod::Pod};

impl State {
    /// Creates a Job, and starts its pod.
    pub(in crate::apiserver) fn create(&mut self, mut job: Value) -> Result<Value> {
        let name = job["metadata"]["name"]
            .as_str()
            .context("a name")?
            .to_owned();
        job["metadata"]["uid"] = format!("{name}-uid").into();
        self.created.push(job.clone());
        self.jobs.insert(name.clone(), job.clone());
        if self.refusal.is_some() {
            return Ok(job);
        }
        let template = &job["spec"]["template"];
        let mut labels = template["metadata"]["labels"].clone();
        labels["batch.kubernetes.io/job-name"] = name.clone().into();
        let spec = &template["spec"];
        let node = spec["nodeName"].as_str().context("a node")?.to_owned();
        let pod_name = format!("{name}-abcde");
        let mut pod = Pod {
            object: json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": pod_name, "labels": labels},
                "spec": spec,
                "status": {"phase": "Pending"},
            }),
            node,
            process: None,
            stdin: None,
            log: Log::new(),
            volume: None,
            is_deleted: false,
        };
        let container = &spec["containers"][0];
        let image = container["image"].as_str().context("an image")?;
        let is_pulled = container["imagePullPolicy"] != "Never";
        let there = self.images.get(image).copied();
        let state = match (&self.no_image, is_pulled, there) {
            (Some(why), true, None) => {
                Some(json!({"waiting": {"reason": "ErrImagePull", "message": why}}))
            }
            (_, false, None) => {
                let why = "Container image is not present with pull policy of Never";
                Some(json!({"waiting": {"reason": "ErrImageNeverPull", "message": why}}))
            }
            (.., Some(Image::Static)) => {
                let why = "exec: \"/bin/sh\": stat /bin/sh: no such file or directory";
                Some(
                    json!({"terminated": {"reason": "StartError", "message": why, "exitCode": 128}}),
                )
            }
            _ if self.pods_wait => Some(json!({"waiting": {"reason": "ContainerCreating"}})),
            _ => None,
        };
        if let Some(state) = state {
            pod.object["status"]["containerStatuses"] = json!([{"state": state}]);
        } else if let Some(namespaces) = self.nodes.get(&pod.node) {
            pod.start(namespaces, there)?;
        }
        self.pods.insert(pod_name, pod);
        Ok(job)
    }

    /// Deletes a Job: its pod gets a chance to end.
    pub(in crate::apiserver) fn delete(&mut self, job: &str) -> bool {
        for pod in self.pods.values_mut() {
            if pod.object["metadata"]["labels"]["batch.kubernetes.io/job-name"] == job {
                pod.is_deleted = true;
                if let Some(process) = &pod.process
                    && let Ok(pid) = process.id().try_into()
                {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
                }
            }
        }
        self.jobs.remove(job).is_some()
    }

    /// Takes note of processes that have ended.
    pub(in crate::apiserver) fn settle(&mut self) {
        for pod in self.pods.values_mut() {
            let Some(process) = &mut pod.process else {
                continue;
            };
            if let Ok(Some(status)) = process.try_wait() {
                pod.process = None;
                let code = status.code().unwrap_or(137);
                let phase = if code == 0 { "Succeeded" } else { "Failed" };
                let state = json!({"terminated": {"exitCode": code}});
                pod.object["status"] =
                    json!({"phase": phase, "containerStatuses": [{"state": state}]});
            }
        }
        // Where no kubelet says that it has ended, a pod stays.
        let nodes = &self.nodes;
        self.pods.retain(|_, pod| {
            !pod.is_deleted || pod.process.is_some() || !nodes.contains_key(&pod.node)
        });
    }

    /// Objects with all of these labels.
    pub(in crate::apiserver) fn pods_with(&mut self, selector: &str) -> Vec<Value> {
        self.settle();
        let pods = self.pods.values().map(|pod| &pod.object);
        with_labels(pods, selector)
    }

    pub(in crate::apiserver) fn jobs_with(&self, selector: &str) -> Vec<Value> {
        with_labels(self.jobs.values(), selector)
    }

    pub(in crate::apiserver) fn pod(&mut self, name: &str) -> Option<Value> {
        self.settle();
        self.pods.get(name).map(|pod| pod.object.clone())
    }

    /// A pod's log; an error where its node is gone.
    pub(in crate::apiserver) fn log(&mut self, name: &str) -> Option<Result<Log, String>> {
        self.reads += 1;
        let pod = self.pods.get(name)?;
        Some(match self.nodes.contains_key(&pod.node) {
            true => Ok(pod.log.clone()),
            false => Err(format!("dial tcp {}:10250: no route to host", pod.node)),
        })
    }

    /// Writes to a pod's standard input.
    pub(in crate::apiserver) fn write(&mut self, pod: &str, bytes: &[u8]) -> bool {
        self.orders += usize::from(bytes == b"end\n");
        self.beats += usize::from(bytes == b"\n");
        let stdin = self.pods.get_mut(pod).and_then(|pod| pod.stdin.as_mut());
        stdin.is_some_and(|stdin| stdin.write_all(bytes).is_ok())
    }

    /// Whether a pod runs, with a standard input. As a kubelet, it knows a container that has ended.
    pub(in crate::apiserver) fn has_stdin(&mut self, pod: &str) -> bool {
        self.settle();
        let found = self.pods.get(pod);
        let has_ended = found.is_some_and(|pod| pod.process.is_none());
        self.late_attaches += usize::from(has_ended);
        found.is_some_and(|pod| pod.stdin.is_some() && !has_ended)
    }
}

fn with_labels<'a>(objects: impl Iterator<Item = &'a Value>, selector: &str) -> Vec<Value> {
    let wanted: Vec<(&str, &str)> = selector
        .split(',')
        .filter_map(|one| one.split_once('='))
        .collect();
    objects
        .filter(|object| {
            let labels = &object["metadata"]["labels"];
            wanted.iter().all(|(key, value)| labels[*key] == *value)
        })
        .cloned()
        .collect()
}
