//! The Jobs of a run: created, followed to their ends, deleted.

mod job;
mod offer;

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

use self::{job::Job, offer::Question};
use super::{
    Prepared,
    coverage::Coverage,
    follow::{Event, follow},
    heartbeat::beat,
    manifest::{Session, in_url},
    nodes::{Node, is_proper},
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

/// A run.
pub(super) struct Run<'a> {
    config: &'a KubectlConfig,
    client: Arc<Client>,
    session: Session,
    manifests: Vec<Value>,
    nodes: Vec<Node>,
    jobs: Vec<Job>,
    /// Jobs that others have replaced.
    replaced: Vec<Job>,
    /// Whether the program may be streamed where its image cannot be pulled.
    question: Question,
    /// Nodes that it is to be streamed to.
    to_stream: Vec<usize>,
    /// How often it was.
    streamed: usize,
    traces: Vec<NodeTrace>,
    objects: Objects,
    coverage: Coverage,
    sender: Sender<(usize, Event)>,
    events: Receiver<(usize, Event)>,
    tasks: JoinSet<()>,
    /// Set for the traces to end.
    ends: watch::Sender<bool>,
    /// Since when they are to.
    ending: Option<Instant>,
}

impl<'a> Run<'a> {
    pub(super) fn new(config: &'a KubectlConfig, prepared: Prepared) -> Self {
        let Prepared {
            client,
            session,
            plan,
            nodes,
            jobs,
            objects,
            ..
        } = prepared;
        let (sender, events) = channel(EVENTS);
        Self {
            config,
            client,
            session,
            manifests: jobs,
            jobs: Vec::new(),
            replaced: Vec::new(),
            question: Question::default(),
            to_stream: Vec::new(),
            streamed: 0,
            traces: nodes
                .iter()
                .map(|node| NodeTrace::new(node.name.clone()))
                .collect(),
            nodes,
            coverage: Coverage::new(objects.cluster.view(), &plan, config.proto),
            objects,
            sender,
            events,
            tasks: JoinSet::new(),
            ends: watch::channel(false).0,
            ending: None,
        }
    }

    /// Creates the Jobs, and follows them until all traces have ended.
    ///
    /// # Errors
    ///
    /// No Job can be created.
    pub(super) async fn trace(&mut self, signals: &mut Signals) -> Result<()> {
        // Also while the API server says nothing, a signal is answered at once.
        tokio::select! {
            created = self.create() => created?,
            () = signals.any() => bail!("interrupted"),
        }
        let begun = Instant::now();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.traces.iter().any(|trace| !trace.is_over) {
            let is_interrupted = tokio::select! {
                Some((node, event)) = self.events.recv() => {
                    self.take(node, event);
                    false
                }
                () = self.objects.follow() => false,
                is_yes = self.question.answer() => {
                    self.answered(is_yes);
                    false
                }
                () = signals.any() => true,
                _ = looks.tick() => {
                    self.hurry(begun);
                    self.say_what_is_new();
                    tokio::select! {
                        () = self.look() => false,
                        () = signals.any() => true,
                    }
                }
            };
            if is_interrupted && self.ending.is_some() {
                sink::note("not waiting for the traces any more");
                return Ok(());
            }
            if is_interrupted {
                sink::note("ending the traces; once more: without waiting for them");
                self.end();
            }
        }
        Ok(())
    }

    async fn create(&mut self) -> Result<()> {
        for (index, manifest) in self.manifests.iter().enumerate() {
            let name = self.session.job_name(index);
            // It may be there though the answer is lost: it is deleted in any case.
            self.jobs.push(Job::new(name));
            let created = self.client.post(&self.session.jobs(), manifest).await;
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
    async fn look(&mut self) {
        for index in std::mem::take(&mut self.to_stream) {
            self.stream(index).await;
        }
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
            match pod.map(pods::progress) {
                Some(Progress::Runs) => {
                    let name = pod.and_then(|pod| pod["metadata"]["name"].as_str());
                    // It goes into URLs.
                    if let Some(name) = name.filter(|name| is_proper(name)) {
                        job.pod = Some(name.to_owned());
                        self.begin(index);
                    }
                }
                Some(Progress::NoImage(why) | Progress::Stuck(why)) if job.program.is_some() => {
                    trace.note(&why);
                    self.to_stream.push(index);
                }
                Some(Progress::NoImage(why)) => self.offer(index, &why),
                Some(Progress::Stuck(why)) => trace.fail(&why),
                Some(Progress::Waiting) | None if job.is_delayed => {}
                Some(Progress::Waiting) | None => {
                    let delay =
                        pods::delay(&self.client, &self.session, &job.name, pod, job.since).await;
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
            let program = self.jobs[index].program.clone();
            let beat = beat(client, namespace, pod, program, self.ends.subscribe());
            self.jobs[index].beat = Some(self.tasks.spawn(beat));
        }
    }

    /// Takes what a log has given.
    fn take(&mut self, index: usize, event: Event) {
        let trace = &mut self.traces[index];
        trace.take(event, &self.objects.cluster);
        // What has ended is not to be attached to again.
        if trace.is_over
            && let Some(beat) = self.jobs[index].beat.take()
        {
            beat.abort();
        }
    }

    /// Orders the traces to end.
    fn end(&mut self) {
        self.ending = Some(Instant::now());
        self.to_stream.clear();
        self.ends.send_replace(true);
        for index in 0..self.jobs.len() {
            // What does not run yet has seen nothing.
            let runs = self.jobs[index].pod.is_some();
            if !runs {
                self.traces[index].fail("it was not tracing yet");
            }
            // The pod gets SIGTERM, and its log is read up to its end.
            if !runs || !self.session.attach {
                self.delete(index);
            }
        }
    }

    /// Names what the traces do not match, since it was not there when they began.
    fn say_what_is_new(&mut self) {
        if self.ending.is_none()
            && self.objects.have_changed()
            && let Some(news) = self.coverage.news(self.objects.cluster.view())
        {
            sink::note(&news);
        }
    }

    /// Does not wait for ever.
    fn hurry(&mut self, begun: Instant) {
        let Some(ending) = self.ending else {
            let longest = self.config.duration.map(|duration| duration + SLACK);
            if longest.is_some_and(|longest| begun.elapsed() > longest) {
                self.end();
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
                    self.delete(index);
                }
            }
        }
    }

    /// Has a Job deleted. Nothing waits for it: an API server that is silent takes long.
    fn delete(&mut self, index: usize) {
        self.jobs[index].delete(&self.client, &self.session);
    }

    /// Deletes all Jobs. A signal ends that at once.
    pub(super) async fn clean_up(&mut self, signals: &mut Signals) {
        self.tasks.abort_all();
        let all = 0..self.jobs.len();
        all.for_each(|index| self.delete(index));
        let jobs = self.jobs.iter_mut().chain(&mut self.replaced);
        let deletions = jobs.filter_map(|job| job.deletion.take());
        tokio::select! {
            _ = join_all(deletions) => {}
            () = signals.any() => sink::note(&format!(
                "not waiting until the Jobs are deleted: `kubectl delete jobs -n {} -l {}` deletes what is \
                 left",
                self.session.namespace,
                self.session.selector()
            )),
        }
    }

    pub(super) fn into_traces(self) -> Vec<NodeTrace> {
        self.traces
    }
}
