//! The container runtime of this node, over the Container Runtime Interface: which pods run here,
//! with their addresses, labels, network namespaces and cgroups, also while no API server answers.
//!
//! - [`sockets`]: where it listens; [`client`]: asking it with the messages of [`cri_messages`]
//! - [`sandbox`]: a pod of what it tells; [`known`]: what has changed
//!
//! Listing sandboxes is cheap, and what the kubelet does every second as well. Describing one is
//! not, and is asked for once in a sandbox's life: nothing of what is told here changes in it.

mod client;
mod known;
mod sandbox;
mod sockets;

use std::{path::Path, time::Duration};

use tokio::time::{sleep, timeout};
use tonic::Code;

use self::{
    client::{Runtime, Trouble},
    known::Known,
};
use cri_messages::{PodSandboxState, PodSandboxStatusResponse};
pub(super) use sockets::Sockets;

use crate::{
    cluster::{
        objects::{ObjectName, Sandbox},
        update::{Change, Sink},
    },
    net::netns,
};

/// How often to look where the runtime tells of no events (CRI-O does only if told to).
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);
/// How often to look where it does: it may drop events that it has no room for.
const BETWEEN_LOOKS_WITH_EVENTS: Duration = Duration::from_secs(30);
/// Events come in bursts: a pod is a sandbox and its containers.
const BETWEEN_EVENTS: Duration = Duration::from_millis(100);
/// How long to wait before the first new try; twice as long before each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Tells of this node's pods as long as somebody listens.
pub(super) async fn run(sockets: Sockets, sink: Sink) {
    let mut teller = Teller {
        sink,
        known: Known::default(),
        complained: false,
        settled: false,
    };
    let mut wait = FIRST_WAIT;
    loop {
        match connect(&sockets).await {
            Ok((path, mut runtime)) => match teller.follow(&mut runtime, &mut wait).await {
                Ok(NobodyListens) => return,
                Err(trouble) => teller.complain(trouble_at(path, &trouble)),
            },
            Err(None) => {
                teller.settle();
                return;
            }
            Err(Some(text)) => teller.complain(text),
        }
        teller.settle();
        sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// The first of the sockets that a container runtime answers at; what is wrong otherwise, and
/// nothing if there is no container runtime, which nobody said there was.
async fn connect(sockets: &Sockets) -> Result<(&Path, Runtime), Option<String>> {
    let mut first = None;
    for path in sockets.paths() {
        match Runtime::connect(path).await {
            Ok(runtime) => return Ok((path, runtime)),
            Err(Trouble::NoCri) if !sockets.were_asked_for() => {}
            Err(trouble) => {
                first.get_or_insert_with(|| trouble_at(path, &trouble));
            }
        }
    }
    Err(first)
}

fn trouble_at(path: &Path, trouble: &Trouble) -> String {
    format!(
        "the container runtime at {} {trouble}; what runs on this node is not known from it (it \
         will be asked again; --cri-socket PATH asks another, --no-kube none)",
        path.display()
    )
}

/// The receiver is gone, and with it the reason to go on.
struct NobodyListens;

struct Teller {
    sink: Sink,
    known: Known,
    /// Whether trouble has been told of since all was well.
    complained: bool,
    settled: bool,
}

impl Teller {
    /// Tells what a runtime knows until it fails.
    async fn follow(
        &mut self,
        runtime: &mut Runtime,
        wait: &mut Duration,
    ) -> Result<NobodyListens, Trouble> {
        // Before the first look, so that nothing happens unseen in between.
        let mut events = runtime.events();
        let mut tells_events = false;
        self.look(runtime).await?;
        if !self.sink.tell(self.known.all()) {
            return Ok(NobodyListens);
        }
        self.settle();
        self.complained = false;
        *wait = FIRST_WAIT;
        loop {
            let pause = if tells_events {
                BETWEEN_LOOKS_WITH_EVENTS
            } else {
                BETWEEN_LOOKS
            };
            match timeout(pause, events.next()).await {
                Ok(Some(())) => {
                    tells_events = true;
                    sleep(BETWEEN_EVENTS).await;
                }
                Ok(None) => {
                    tells_events = false;
                    sleep(BETWEEN_LOOKS).await;
                }
                Err(_elapsed) => {}
            }
            self.look(runtime).await?;
            for change in self.known.changes() {
                if !self.sink.tell(change) {
                    return Ok(NobodyListens);
                }
            }
        }
    }

    /// Learns which sandboxes there are, and what there is to know of new ones.
    async fn look(&mut self, runtime: &mut Runtime) -> Result<(), Trouble> {
        let listed = runtime.ready_sandboxes().await?;
        for id in self.known.keep(listed) {
            match runtime.sandbox(&id).await {
                Ok(answer) => self.learn(id, answer),
                // It has ended since it was listed.
                Err(Trouble::Error(status)) if status.code() == Code::NotFound => {}
                // It is going away.
                Err(Trouble::Error(status)) if status.code() == Code::Unavailable => {
                    return Err(Trouble::Error(status));
                }
                Err(Trouble::Error(status)) => self.refuse(&id, status.message()),
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(())
    }

    fn learn(&mut self, id: String, answer: PodSandboxStatusResponse) {
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
            Err(wrong) => self.refuse(&id, &wrong),
        }
    }

    fn refuse(&mut self, id: &str, why: &str) {
        if self.known.refuse(id) {
            self.sink.tell(Change::Note(format!(
                "the container runtime's sandbox {id} cannot be read, its pod has no name from it: \
                 {}",
                why.escape_debug()
            )));
        }
    }

    fn complain(&mut self, text: String) {
        if !self.complained {
            self.complained = true;
            self.sink.tell(Change::Note(text));
        }
    }

    fn settle(&mut self) {
        if !self.settled {
            self.settled = true;
            self.sink.tell(Change::Settled);
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
