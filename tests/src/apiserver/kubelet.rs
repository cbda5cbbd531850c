//! Jobs, their pods and the pods' logs. Each pod is a process in the namespaces of its node: the
//! program under test, started as the Job says.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context as _, Result};
use hyper::header::HeaderValue;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

use super::TOKEN;
use crate::binary;

/// The cluster's nodes, as far as they run Jobs.
#[derive(Clone, Default)]
pub struct Kubelets(Arc<Mutex<State>>);

#[derive(Default)]
pub(super) struct State {
    /// The network namespaces of each node.
    nodes: BTreeMap<String, Vec<String>>,
    jobs: BTreeMap<String, Value>,
    pods: BTreeMap<String, Pod>,
    /// What the user may not do, as `create jobs`.
    pub(super) forbidden: Vec<String>,
    /// What admission says to pods.
    pub(super) refusal: Option<String>,
    /// Why an image cannot be pulled.
    no_image: Option<String>,
    /// The images that all nodes have, and what is in them.
    images: BTreeMap<String, Image>,
    /// Connections to a standard input break after so many bytes.
    pub(super) longest_upload: Option<usize>,
    /// How often something was to be attached to whose process has ended.
    late_attaches: usize,
    /// How often a trace got a sign of life.
    beats: usize,
    /// No container gets to run.
    pods_wait: bool,
    /// The only token that is taken from now on.
    token: Option<String>,
    /// Nothing is answered, and how many questions are open.
    pub(super) silent: Option<usize>,
    /// All Jobs that were ever created.
    created: Vec<Value>,
    /// Objects that were only tried out.
    pub(super) tried: usize,
    /// How often a log was asked for.
    pub(super) reads: usize,
    /// How often a trace was ordered to end.
    orders: usize,
}

/// What an image has in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// No shell.
    Static,
    /// A shell, and no other program.
    ShellOnly,
    /// What a shell commonly finds.
    Tools,
}

struct Pod {
    object: Value,
    node: String,
    process: Option<Child>,
    stdin: Option<ChildStdin>,
    log: Log,
    /// What is mounted in it.
    volume: Option<TempDir>,
    /// It is to go once its process has ended.
    is_deleted: bool,
}

/// What a process has said, and who reads it.
#[derive(Clone)]
pub(super) struct Log {
    /// Each line with the time at which it came.
    lines: Arc<Mutex<Vec<(String, String)>>>,
    /// Lines so far, streams that are still at work, and how often it was cut.
    pub(super) state: watch::Sender<(usize, usize, u32)>,
}

impl Log {
    fn new() -> Self {
        Self {
            lines: Arc::default(),
            // Of stdout and stderr.
            state: watch::channel((0, 2, 0)).0,
        }
    }

    fn follow(&self, stream: impl Read + Send + 'static) {
        let log = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines() {
                let Ok(line) = line else { break };
                let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.9fZ");
                let mut lines = log.lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.push((now.to_string(), line));
                log.state.send_modify(|(count, ..)| *count = lines.len());
            }
            log.state.send_modify(|(_, streams, _)| *streams -= 1);
        });
    }

    /// The lines from an index on that are not older than a time.
    pub(super) fn from(&self, index: usize, since: &str) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let new = lines.iter().skip(index);
        // The API server hands on whole seconds.
        let since = since.get(..19).unwrap_or(since);
        new.filter(|(time, _)| time.as_str() >= since)
            .map(|(time, line)| format!("{time} {line}\n"))
            .collect()
    }
}

impl Kubelets {
    /// A node runs what it is given in these network namespaces.
    pub fn node(&self, name: &str, namespaces: &[&str]) {
        let namespaces = namespaces.iter().map(|name| (*name).to_owned()).collect();
        self.state().nodes.insert(name.to_owned(), namespaces);
    }

    /// From now on the user may not do this, such as `create pods/attach`.
    pub fn forbid(&self, what: &str) {
        self.state().forbidden.push(what.to_owned());
    }

    /// From now on admission refuses pods with these words.
    pub fn refuse(&self, message: &str) {
        self.state().refusal = Some(message.to_owned());
    }

    /// From now on no image can be pulled.
    pub fn withhold_images(&self, why: &str) {
        self.state().no_image = Some(why.to_owned());
    }

    /// All nodes have an image.
    pub fn image(&self, name: &str, image: Image) {
        self.state().images.insert(name.to_owned(), image);
    }

    /// From now on connections to a standard input break after so many bytes.
    pub fn break_uploads(&self, after: usize) {
        self.state().longest_upload = Some(after);
    }

    /// From now on only this token is taken.
    pub fn renew_token(&self, token: &str) {
        self.state().token = Some(token.to_owned());
    }

    pub(super) fn takes(&self, token: &HeaderValue) -> bool {
        let state = self.state();
        *token == format!("Bearer {}", state.token.as_deref().unwrap_or(TOKEN))
    }

    /// Whether all nodes have an image.
    pub fn has_image(&self, name: &str) -> bool {
        self.state().images.contains_key(name)
    }

    /// From now on no container gets to run.
    pub fn make_pods_wait(&self) {
        self.state().pods_wait = true;
    }

    /// From now on no question about Jobs and pods is answered.
    pub fn fall_silent(&self) {
        self.state().silent = Some(0);
    }

    /// How many questions have no answer.
    pub fn open_questions(&self) -> usize {
        self.state().silent.unwrap_or_default()
    }

    /// How often something was to be attached to whose process had ended.
    pub fn late_attaches(&self) -> usize {
        self.state().late_attaches
    }

    /// How often a trace got a sign of life.
    pub fn beats(&self) -> usize {
        self.state().beats
    }

    /// The process of a node's pod dies.
    pub fn kill(&self, node: &str) {
        let mut state = self.state();
        for pod in state.pods.values_mut().filter(|pod| pod.node == node) {
            if let Some(process) = &mut pod.process {
                let _ = process.kill();
            }
        }
    }

    /// All Jobs that were created so far.
    pub fn created(&self) -> Vec<Value> {
        self.state().created.clone()
    }

    /// The names of the Jobs that are there.
    pub fn jobs(&self) -> Vec<String> {
        self.state().jobs.keys().cloned().collect()
    }

    /// Whether any process of a pod runs.
    pub fn is_running(&self) -> bool {
        let mut state = self.state();
        state.settle();
        state.pods.values().any(|pod| pod.process.is_some())
    }

    /// How often logs were asked for.
    pub fn reads(&self) -> usize {
        self.state().reads
    }

    /// How often a trace was ordered to end.
    pub fn orders(&self) -> usize {
        self.state().orders
    }

    /// Adds a Job that an earlier run has left.
    pub fn leave(&self, job: &Value) {
        let name = job["metadata"]["name"].as_str().unwrap_or_default();
        self.state().jobs.insert(name.to_owned(), job.clone());
    }

    /// Breaks all connections that logs are read by, in the midst of a line.
    pub fn cut_logs(&self) {
        for pod in self.state().pods.values() {
            pod.log.state.send_modify(|(.., cuts)| *cuts += 1);
        }
    }

    /// A node is gone without a word: its logs break off, and cannot be asked for.
    pub fn vanish(&self, node: &str) {
        let mut state = self.state();
        state.nodes.remove(node);
        for pod in state.pods.values_mut().filter(|pod| pod.node == node) {
            if let Some(mut process) = pod.process.take() {
                let _ = process.kill();
                let _ = process.wait();
            }
            pod.log.state.send_modify(|(.., cuts)| *cuts += 1);
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Creates a Job, and starts its pod.
    pub(super) fn create(&mut self, mut job: Value) -> Result<Value> {
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
    pub(super) fn delete(&mut self, job: &str) -> bool {
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
    pub(super) fn settle(&mut self) {
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
    pub(super) fn pods_with(&mut self, selector: &str) -> Vec<Value> {
        self.settle();
        let pods = self.pods.values().map(|pod| &pod.object);
        with_labels(pods, selector)
    }

    pub(super) fn jobs_with(&self, selector: &str) -> Vec<Value> {
        with_labels(self.jobs.values(), selector)
    }

    pub(super) fn pod(&mut self, name: &str) -> Option<Value> {
        self.settle();
        self.pods.get(name).map(|pod| pod.object.clone())
    }

    /// A pod's log; an error where its node is gone.
    pub(super) fn log(&mut self, name: &str) -> Option<Result<Log, String>> {
        self.reads += 1;
        let pod = self.pods.get(name)?;
        Some(match self.nodes.contains_key(&pod.node) {
            true => Ok(pod.log.clone()),
            false => Err(format!("dial tcp {}:10250: no route to host", pod.node)),
        })
    }

    /// Writes to a pod's standard input.
    pub(super) fn write(&mut self, pod: &str, bytes: &[u8]) -> bool {
        self.orders += usize::from(bytes == b"end\n");
        self.beats += usize::from(bytes == b"\n");
        let stdin = self.pods.get_mut(pod).and_then(|pod| pod.stdin.as_mut());
        stdin.is_some_and(|stdin| stdin.write_all(bytes).is_ok())
    }

    /// Whether a pod runs, with a standard input. As a kubelet, it knows a container that has ended.
    pub(super) fn has_stdin(&mut self, pod: &str) -> bool {
        self.settle();
        let found = self.pods.get(pod);
        let has_ended = found.is_some_and(|pod| pod.process.is_none());
        self.late_attaches += usize::from(has_ended);
        found.is_some_and(|pod| pod.stdin.is_some() && !has_ended)
    }
}

impl Pod {
    fn start(&mut self, namespaces: &[String], image: Option<Image>) -> Result<()> {
        let container = &self.object["spec"]["containers"][0];
        let arguments = container["args"].as_array().into_iter().flatten();
        let has_stdin = container["stdin"] == true;
        // What is started, with the directory of the volume in the place of its path.
        let words = container["command"].as_array().into_iter().flatten();
        let mut words: Vec<String> = words.filter_map(Value::as_str).map(str::to_owned).collect();
        let mount = &container["volumeMounts"][0]["mountPath"];
        if let Some(mount) = mount.as_str() {
            let volume = tempfile::tempdir()?;
            let place = format!("{}/", volume.path().display());
            for word in &mut words {
                *word = word.replace(&format!("{mount}/"), &place);
            }
            self.volume = Some(volume);
        }
        let mut command = match words.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments);
                command
            }
            None => Command::new(binary()),
        };
        if image == Some(Image::ShellOnly) {
            command.env("PATH", "/nonexistent");
        }
        for name in namespaces {
            command.args(["--netns", name]);
        }
        let mut process = command
            .args(arguments.filter_map(Value::as_str))
            // Without an attached client, it is open and silent.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        self.log.follow(process.stdout.take().context("piped")?);
        self.log.follow(process.stderr.take().context("piped")?);
        self.stdin = process.stdin.take().filter(|_| has_stdin);
        self.process = Some(process);
        self.object["status"] =
            json!({"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]});
        Ok(())
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
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
