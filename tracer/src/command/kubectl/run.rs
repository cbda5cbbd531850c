//! The Jobs of a run: created, followed to their ends, deleted.

mod ending;
mod job;
mod offer;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
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
    follow::{End, Event, Source, follow},
    heartbeat::Beat,
    manifest::{Session, in_url},
    nodes::{Node, is_proper},
    objects::Objects,
    pods::{self, Progress},
    stream::is_unfit,
    traces::NodeTrace,
};
use crate::{
    cli::kubectl::KubectlConfig, cluster::source::api::client::Client, command::ending::Signals,
    sink,
};

/// How often the pods are looked at, until they run.
const LOOK: Duration = Duration::from_secs(1);
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
    /// They are not to be waited for.
    is_hurried: bool,
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
            is_hurried: false,
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
        let mut begun = Instant::now();
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
                    // The time of a trace begins when it does.
                    if self.jobs.iter().any(Job::is_uploading) {
                        begun = Instant::now();
                    }
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
                self.is_hurried = true;
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
        let job = &mut self.jobs[index];
        self.tasks.spawn(follow(Source {
            client: Arc::clone(&self.client),
            pods: self.session.pods(),
            pod: pod.clone(),
            node: index,
            upload: job.upload.clone(),
            events: self.sender.clone(),
        }));
        if self.session.attach {
            let beat = Beat {
                client: Arc::clone(&self.client),
                namespace: self.session.namespace.clone(),
                pod,
                program: job.program.clone(),
                upload: job.upload.clone(),
                ends: self.ends.subscribe(),
            };
            job.beat = Some(self.tasks.spawn(beat.go_on()));
        }
    }

    /// Takes what a log has given.
    fn take(&mut self, index: usize, event: Event) {
        let (job, trace) = (&mut self.jobs[index], &mut self.traces[index]);
        let is_streamed = job.program.is_some() && trace.trace.is_none();
        match event {
            // Another image may have what this one lacks.
            Event::Ended(End::Status(status))
                if is_streamed && is_unfit(status) && self.ending.is_none() =>
            {
                trace.note(&format!("that image cannot take it (status {status})"));
                job.quiet();
                self.to_stream.push(index);
            }
            event => {
                trace.take(event, &self.objects.cluster);
                if !trace.is_over {
                    return;
                }
                // What has ended is not to be attached to again; and a shell that waits for the rest of
                // the program would wait for long.
                job.quiet();
                if is_streamed {
                    self.delete(index);
                }
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

    /// Has a Job deleted. Nothing waits for it: an API server that is silent takes long.
    fn delete(&mut self, index: usize) {
        self.jobs[index].delete(&self.client, &self.session);
    }

    pub(super) fn into_traces(self) -> Vec<NodeTrace> {
        self.traces
    }
}
