//! The Jobs of a run: created, followed to their ends, deleted.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use futures_util::future::join_all;
use serde_json::Value;
use tokio::{
    sync::{
        mpsc::{Receiver, Sender, channel},
        watch,
    },
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::{
    Prepared,
    follow::{Event, follow},
    heartbeat::beat,
    leftovers,
    manifest::{Session, in_url},
    nodes::is_proper,
    objects::Objects,
    pods::{self, Progress},
    traces::NodeTrace,
};
use crate::{
    cli::kubectl::KubectlConfig, cluster::source::api::client::Client, command::ending::Signals,
    sink,
};

/// How often the pods are looked at, until they run.
const LOOK: Duration = Duration::from_secs(1);
/// How long after its order a trace may take to end.
const TO_END: Duration = Duration::from_secs(6);
/// How long after that its log is read.
const TO_READ: Duration = Duration::from_secs(6);
/// How much longer than `--duration` the traces may take.
const SLACK: Duration = Duration::from_secs(60);
/// Events on their way here.
const EVENTS: usize = 256;

/// A Job of a node.
struct Job {
    name: String,
    /// Its pod, once its container runs.
    pod: Option<String>,
    /// What delays it was said.
    is_delayed: bool,
    is_deleted: bool,
}

/// A run.
pub(super) struct Run<'a> {
    config: &'a KubectlConfig,
    client: Arc<Client>,
    session: Session,
    manifests: Vec<Value>,
    jobs: Vec<Job>,
    traces: Vec<NodeTrace>,
    objects: Objects,
    signals: Signals,
    sender: Sender<(usize, Event)>,
    events: Receiver<(usize, Event)>,
    tasks: JoinSet<()>,
    /// Set for the traces to end.
    ends: watch::Sender<bool>,
    /// Since when they are to.
    ending: Option<Instant>,
}

impl<'a> Run<'a> {
    pub(super) fn new(config: &'a KubectlConfig, prepared: Prepared) -> Result<Self> {
        let Prepared {
            client,
            session,
            nodes,
            jobs,
            objects,
            ..
        } = prepared;
        let (sender, events) = channel(EVENTS);
        Ok(Self {
            config,
            client,
            session,
            manifests: jobs,
            jobs: Vec::new(),
            traces: nodes
                .into_iter()
                .map(|node| NodeTrace::new(node.name))
                .collect(),
            objects,
            signals: Signals::new()?,
            sender,
            events,
            tasks: JoinSet::new(),
            ends: watch::channel(false).0,
            ending: None,
        })
    }

    /// Creates the Jobs, and follows them until all traces have ended.
    ///
    /// # Errors
    ///
    /// No Job can be created.
    pub(super) async fn trace(&mut self) -> Result<()> {
        self.create().await?;
        let begun = Instant::now();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.traces.iter().any(|trace| !trace.is_over) {
            tokio::select! {
                Some((node, event)) = self.events.recv() => {
                    self.traces[node].take(event, &self.objects.cluster);
                }
                () = self.objects.follow() => {}
                () = self.signals.any() => {
                    if self.ending.is_some() {
                        sink::note("not waiting for the traces any more");
                        return Ok(());
                    }
                    sink::note("ending the traces; once more: without waiting for them");
                    self.end().await;
                }
                _ = looks.tick() => {
                    self.look(begun).await;
                    self.hurry(begun).await;
                }
            }
        }
        Ok(())
    }

    async fn create(&mut self) -> Result<()> {
        for (index, manifest) in self.manifests.iter().enumerate() {
            let name = self.session.job_name(index);
            let created = self.client.post(&self.session.jobs(), manifest).await;
            // It may be there though the answer is lost: it is deleted in any case.
            self.jobs.push(Job {
                name,
                pod: None,
                is_delayed: false,
                is_deleted: false,
            });
            if let Err(error) = created {
                let node = &self.traces[index].node;
                if error.is_forbidden() {
                    bail!(
                        "cannot create the Job for node {node}: {error}\n{}",
                        super::permissions::remedy(&error.to_string(), &self.session)
                    );
                }
                return Err(error)
                    .with_context(|| format!("cannot create the Job for node {node}"));
            }
        }
        Ok(())
    }

    /// Looks for pods that have begun to run, or never will.
    async fn look(&mut self, begun: Instant) {
        let waits = |(trace, job): (&NodeTrace, &Job)| !trace.is_over && job.pod.is_none();
        if !self.traces.iter().zip(&self.jobs).any(waits) {
            return;
        }
        let selector = in_url(&self.session.selector());
        let path = format!("{}?labelSelector={selector}", self.session.pods());
        let listed = match self.client.get(&path).await {
            Ok(listed) => listed,
            Err(error) => {
                log::debug!("{error}");
                return;
            }
        };
        let mut by_job = BTreeMap::new();
        for pod in listed["items"].as_array().into_iter().flatten() {
            let labels = &pod["metadata"]["labels"];
            let job = labels["batch.kubernetes.io/job-name"].as_str();
            if let Some(job) = job.or_else(|| labels["job-name"].as_str()) {
                by_job.insert(job, pod);
            }
        }
        for index in 0..self.jobs.len() {
            let (job, trace) = (&mut self.jobs[index], &mut self.traces[index]);
            if trace.is_over || job.pod.is_some() {
                continue;
            }
            let pod = by_job.get(job.name.as_str()).copied();
            match pod.map(|pod| pods::progress(pod, &self.config.image, &trace.node)) {
                Some(Progress::Runs) => {
                    let name = pod.and_then(|pod| pod["metadata"]["name"].as_str());
                    // It goes into URLs.
                    if let Some(name) = name.filter(|name| is_proper(name)) {
                        job.pod = Some(name.to_owned());
                        self.begin(index);
                    }
                }
                Some(Progress::Stuck(why)) => trace.fail(&why),
                Some(Progress::Waiting) | None if job.is_delayed => {}
                Some(Progress::Waiting) | None => {
                    let delay =
                        pods::delay(&self.client, &self.session, &job.name, pod, begun).await;
                    if let Some(why) = delay {
                        job.is_delayed = true;
                        trace.note(&why);
                    }
                }
            }
        }
    }

    /// Follows a pod that runs.
    fn begin(&mut self, index: usize) {
        let Some(pod) = self.jobs[index].pod.clone() else {
            return;
        };
        let events = self.sender.clone();
        let client = Arc::clone(&self.client);
        self.tasks.spawn(follow(
            client,
            self.session.pods(),
            pod.clone(),
            index,
            events,
        ));
        if self.session.attach {
            let client = Arc::clone(&self.client);
            let namespace = self.session.namespace.clone();
            self.tasks
                .spawn(beat(client, namespace, pod, self.ends.subscribe()));
        }
    }

    /// Orders the traces to end.
    async fn end(&mut self) {
        self.ending = Some(Instant::now());
        self.ends.send_replace(true);
        for index in 0..self.jobs.len() {
            // What does not run yet has seen nothing.
            let runs = self.jobs[index].pod.is_some();
            if !runs {
                self.traces[index].fail("it was not tracing yet");
            }
            // The pod gets SIGTERM, and its log is read up to its end.
            if !runs || !self.session.attach {
                self.delete(index).await;
            }
        }
    }

    /// Does not wait for ever.
    async fn hurry(&mut self, begun: Instant) {
        let Some(ending) = self.ending else {
            let longest = self.config.duration.map(|duration| duration + SLACK);
            if longest.is_some_and(|longest| begun.elapsed() > longest) {
                self.end().await;
            }
            return;
        };
        if ending.elapsed() > TO_END + TO_READ {
            for trace in &mut self.traces {
                trace.fail("its end did not come");
            }
        } else if ending.elapsed() > TO_END {
            for index in 0..self.jobs.len() {
                if !self.traces[index].is_over {
                    self.delete(index).await;
                }
            }
        }
    }

    async fn delete(&mut self, index: usize) {
        let job = &mut self.jobs[index];
        if !job.is_deleted {
            job.is_deleted = deleted(&self.client, &self.session, &job.name).await;
        }
    }

    /// Deletes all Jobs.
    pub(super) async fn clean_up(&mut self) {
        self.tasks.abort_all();
        let (client, session) = (&*self.client, &self.session);
        let left = self.jobs.iter().filter(|job| !job.is_deleted);
        // At once: an API server that is silent holds up each of them.
        join_all(left.map(|job| deleted(client, session, &job.name))).await;
    }

    pub(super) fn into_traces(self) -> Vec<NodeTrace> {
        self.traces
    }
}

/// Deletes a Job, or says why it is still there.
async fn deleted(client: &Client, session: &Session, job: &str) -> bool {
    let deleted = leftovers::delete(client, session, job).await;
    if let Err(error) = &deleted {
        sink::note(&format!(
            "cannot delete Job {job}: {error}; `kubectl delete job -n {0} {job}` does, or the cluster does \
             after its end",
            session.namespace
        ));
    }
    deleted.is_ok()
}
