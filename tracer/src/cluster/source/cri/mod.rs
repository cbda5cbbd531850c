//! The container runtime of this node, over the Container Runtime Interface: which pods run here,
//! with their addresses, labels, network namespaces and cgroups, also while no API server answers.
//!
//! - [`sockets`]: where it listens; [`client`]: asking it with the messages of [`cri_messages`]
//! - [`sandbox`]: a pod from its answer; [`known`]: what has changed
//!
//! Listing sandboxes is cheap, and what the kubelet does every second as well. Describing one is
//! not, and is asked for once in a sandbox's life: nothing that is read here changes during it.

mod client;
mod known;
mod sandbox;
mod sockets;

use std::{path::Path, time::Duration};

use tokio::time::{sleep, timeout};
use tonic::Code;

use self::{
    client::{CriError, Runtime},
    known::Known,
};
use cri_messages::{PodSandboxState, PodSandboxStatusResponse};
pub(super) use sockets::Sockets;

use crate::{
    cluster::{
        item::printable,
        objects::{ObjectName, Sandbox},
        source::{limits::SANDBOXES, sink::Sink},
        update::Change,
    },
    net::netns,
};

/// How often to look if the runtime sends no events (CRI-O does so only if configured).
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);
/// How often to look if it does: it may drop events when its buffer is full.
const BETWEEN_LOOKS_WITH_EVENTS: Duration = Duration::from_secs(30);
/// Events come in bursts: a pod is a sandbox and its containers.
const BETWEEN_EVENTS: Duration = Duration::from_millis(100);
/// How long to wait before the first new try; twice as long before each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Sends this node's pods until the receiver is gone.
pub(super) async fn run(sockets: Sockets, sink: Sink) {
    let mut follower = Follower {
        sink,
        known: Known::default(),
        complained: false,
        settled: false,
    };
    let mut wait = FIRST_WAIT;
    loop {
        match connect(&sockets).await {
            Ok((path, mut runtime)) => match follower.follow(&mut runtime, &mut wait).await {
                Ok(NoListener) => return,
                Err(error) => follower.complain(at_socket(path, &error)).await,
            },
            Err(None) => {
                follower.settle().await;
                return;
            }
            Err(Some(text)) => follower.complain(text).await,
        }
        follower.settle().await;
        sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// The first of the sockets that a container runtime answers at; what is wrong otherwise, and
/// nothing if there is no container runtime, and none was asked for.
async fn connect(sockets: &Sockets) -> Result<(&Path, Runtime), Option<String>> {
    let mut first = None;
    for path in sockets.paths() {
        match Runtime::connect(path).await {
            Ok(runtime) => return Ok((path, runtime)),
            Err(CriError::NoCri) if !sockets.were_asked_for() => {}
            Err(error) => {
                first.get_or_insert_with(|| at_socket(path, &error));
            }
        }
    }
    Err(first)
}

fn at_socket(path: &Path, error: &CriError) -> String {
    format!(
        "the container runtime at {} {error}; it cannot name this node's pods (whydrop will \
         retry; --cri-socket PATH selects another, --no-kube disables the lookup)",
        path.display()
    )
}

/// The receiver is gone, and with it the reason to go on.
struct NoListener;

struct Follower {
    sink: Sink,
    known: Known,
    /// Whether an error has been reported since all was well.
    complained: bool,
    settled: bool,
}

impl Follower {
    /// Sends what a runtime knows until it fails.
    async fn follow(
        &mut self,
        runtime: &mut Runtime,
        wait: &mut Duration,
    ) -> Result<NoListener, CriError> {
        // Before the first look, so that nothing happens unseen in between.
        let mut events = runtime.events();
        let mut sends_events = false;
        self.look(runtime).await?;
        let all = self.known.all();
        if !self.sink.send(all).await {
            return Ok(NoListener);
        }
        self.settle().await;
        self.complained = false;
        *wait = FIRST_WAIT;
        loop {
            let pause = if sends_events {
                BETWEEN_LOOKS_WITH_EVENTS
            } else {
                BETWEEN_LOOKS
            };
            match timeout(pause, events.next()).await {
                Ok(Some(())) => {
                    sends_events = true;
                    sleep(BETWEEN_EVENTS).await;
                }
                Ok(None) => {
                    sends_events = false;
                    sleep(BETWEEN_LOOKS).await;
                }
                Err(_elapsed) => {}
            }
            self.look(runtime).await?;
            for change in self.known.changes() {
                if !self.sink.send(change).await {
                    return Ok(NoListener);
                }
            }
        }
    }

    /// Learns which sandboxes there are, and what there is to know of new ones.
    async fn look(&mut self, runtime: &mut Runtime) -> Result<(), CriError> {
        let mut listed = runtime.ready_sandboxes().await?;
        if listed.len() > SANDBOXES {
            listed.truncate(SANDBOXES);
            self.complain(format!(
                "the container runtime lists more than {SANDBOXES} pods of this node: the rest is \
                 left out"
            ))
            .await;
        }
        for id in self.known.keep(listed) {
            match runtime.sandbox(&id).await {
                Ok(answer) => self.learn(id, answer).await,
                // It has ended since it was listed.
                Err(CriError::Error(status)) if status.code() == Code::NotFound => {}
                // It is going away.
                Err(CriError::Error(status)) if status.code() == Code::Unavailable => {
                    return Err(CriError::Error(status));
                }
                Err(CriError::Error(status)) => self.refuse(&id, status.message()).await,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn learn(&mut self, id: String, answer: PodSandboxStatusResponse) {
        let Some(status) = &answer.status else {
            return;
        };
        if status.state() != PodSandboxState::Ready {
            return;
        }
        let created = status.created_at;
        match sandbox::pod(answer) {
            Ok((mut pod, netns)) => {
                if let Some(sandbox) = &mut pod.sandbox {
                    sandbox.netns = netns.and_then(|path| netns::inode(&path).ok());
                    log_sandbox(&pod.id, sandbox);
                }
                self.known.learn(id, pod, created);
            }
            Err(wrong) => self.refuse(&id, &wrong).await,
        }
    }

    async fn refuse(&mut self, id: &str, why: &str) {
        if self.known.refuse(id) {
            let note = format!(
                "the container runtime's sandbox {} cannot be read, its pod has no name from it: {}",
                printable(id),
                printable(why)
            );
            self.sink.send(Change::Note(note)).await;
        }
    }

    async fn complain(&mut self, text: String) {
        if !self.complained {
            self.complained = true;
            self.sink.send(Change::Note(text)).await;
        }
    }

    async fn settle(&mut self) {
        if !self.settled {
            self.settled = true;
            self.sink.send(Change::Settled).await;
        }
    }
}

fn log_sandbox(id: &ObjectName, sandbox: &Sandbox) {
    let Sandbox { netns, pid, cgroup } = sandbox;
    let or_unknown = |number: &Option<u32>| number.map_or("unknown".to_owned(), |n| n.to_string());
    log::debug!(
        "{id} runs here: netns {}, pid {}, cgroup {}",
        or_unknown(netns),
        or_unknown(pid),
        cgroup.as_deref().unwrap_or("unknown")
    );
}
