//! Jobs, their pods and the pods' logs. Each pod is a process in the namespaces of its node: the
//! program under test, started as the Job says.

mod jobs;
mod log;
mod pod;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hyper::header::HeaderValue;
use serde_json::Value;

pub(super) use self::log::Log;
use self::pod::Pod;
use super::TOKEN;

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
