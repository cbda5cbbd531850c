//! Asking a container runtime over its socket.

use std::{fmt, path::Path, time::Duration};

use http::uri::PathAndQuery;
use prost::Message;
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    task::JoinSet,
    time::timeout,
};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use cri_messages::{
    Empty, ListPodSandboxRequest, ListPodSandboxResponse, PodSandboxFilter, PodSandboxState,
    PodSandboxStateValue, PodSandboxStatusRequest, PodSandboxStatusResponse, SubscribeRequest,
    VersionResponse,
};

use crate::cluster::{item::printable, source::limits::CRI_ANSWER};

const SERVICE: &str = "runtime.v1.RuntimeService";

/// When a container begins or has ended, a sandbox being one, too. Not whatever is run inside, as
/// probes are every few seconds.
const CONTAINERD_TOPICS: [&str; 2] = ["/tasks/start", "/tasks/delete"];

/// How long the runtime may take for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A container runtime that answers.
pub(super) struct Runtime {
    grpc: Grpc<Channel>,
}

/// Why a container runtime does not answer.
#[derive(Debug)]
pub(super) enum CriError {
    /// Nothing takes the connection.
    Unreachable(String),
    /// It takes it, and breaks it off.
    Lost(String),
    /// It takes it, and then says nothing.
    Silent,
    /// It answers, but not to this: containerd without its CRI plugin, or a runtime that is too
    /// old.
    NoCri,
    /// It answers with an error.
    Error(Status),
}

impl fmt::Display for CriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "cannot be reached: {why}"),
            Self::Lost(why) => write!(f, "breaks off the connection: {why}"),
            Self::Silent => write!(f, "does not answer within {} s", PATIENCE.as_secs()),
            Self::NoCri => write!(
                f,
                "does not speak version 1 of the Container Runtime Interface"
            ),
            Self::Error(status) => {
                write!(f, "answers with an error: {}", printable(status.message()))
            }
        }
    }
}

impl From<Status> for CriError {
    fn from(status: Status) -> Self {
        // Only what was made on this side has a source.
        if std::error::Error::source(&status).is_some() {
            return Self::Lost(root_cause(status));
        }
        match status.code() {
            Code::Unimplemented => Self::NoCri,
            _ => Self::Error(status),
        }
    }
}

impl Runtime {
    /// Connects to a socket, and makes sure that a container runtime answers there.
    pub(super) async fn connect(socket: &Path) -> Result<Self, CriError> {
        let unreachable = |error: tonic::transport::Error| CriError::Unreachable(root_cause(error));
        let endpoint =
            Endpoint::from_shared(format!("unix://{}", socket.display())).map_err(unreachable)?;
        let channel = timeout(PATIENCE, endpoint.connect())
            .await
            .map_err(|_| CriError::Silent)?
            .map_err(unreachable)?;
        let mut runtime = Self {
            grpc: Grpc::new(channel).max_decoding_message_size(CRI_ANSWER),
        };
        let version: VersionResponse = runtime.ask("Version", Empty {}).await?;
        log::info!(
            "the container runtime at {} is {} {}",
            socket.display(),
            printable(&version.runtime_name),
            printable(&version.runtime_version)
        );
        Ok(runtime)
    }

    /// The ids of the sandboxes that are ready.
    pub(super) async fn ready_sandboxes(&mut self) -> Result<Vec<String>, CriError> {
        let state = PodSandboxState::Ready.into();
        let filter = PodSandboxFilter {
            state: Some(PodSandboxStateValue { state }),
        };
        let request = ListPodSandboxRequest {
            filter: Some(filter),
        };
        let listed: ListPodSandboxResponse = self.ask("ListPodSandbox", request).await?;
        Ok(listed.items.into_iter().map(|sandbox| sandbox.id).collect())
    }

    /// What there is to know of a sandbox.
    pub(super) async fn sandbox(&mut self, id: &str) -> Result<PodSandboxStatusResponse, CriError> {
        let request = PodSandboxStatusRequest {
            pod_sandbox_id: id.to_owned(),
            verbose: true,
        };
        self.ask("PodSandboxStatus", request).await
    }

    async fn ask<Q, A>(&mut self, method: &str, request: Q) -> Result<A, CriError>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let answer = async {
            let lost = |error| CriError::Lost(root_cause(error));
            self.grpc.ready().await.map_err(lost)?;
            let (path, codec) = (path(SERVICE, method), ProstCodec::default());
            let answer = self.grpc.unary(Request::new(request), path, codec);
            Ok::<_, CriError>(answer.await?)
        };
        let answer = timeout(PATIENCE, answer)
            .await
            .map_err(|_| CriError::Silent)??;
        Ok(answer.into_inner())
    }

    /// Listens for what happens to containers.
    pub(super) fn events(&self) -> Events {
        // One is enough: each makes the receiver look at everything.
        let (notify, notified) = channel(1);
        let mut listeners = JoinSet::new();
        let interface = path(SERVICE, "GetContainerEvents");
        listeners.spawn(listen(
            self.grpc.clone(),
            interface,
            Empty {},
            notify.clone(),
        ));
        // containerd's own, which older ones have as well.
        let filters = CONTAINERD_TOPICS
            .map(|topic| format!("topic==\"{topic}\""))
            .into();
        listeners.spawn(listen(
            self.grpc.clone(),
            path("containerd.services.events.v1.Events", "Subscribe"),
            SubscribeRequest { filters },
            notify,
        ));
        Events {
            notified,
            _listeners: listeners,
        }
    }
}

/// Passes on that there was an event, until there are no more.
async fn listen<Q: Message + 'static>(
    mut grpc: Grpc<Channel>,
    path: PathAndQuery,
    request: Q,
    notify: Sender<()>,
) -> anyhow::Result<()> {
    grpc.ready().await?;
    let codec = ProstCodec::<Q, Empty>::default();
    // Waits for the first event: a runtime may not even begin its answer before.
    let answer = grpc.server_streaming(Request::new(request), path, codec);
    let mut stream = answer.await?.into_inner();
    while stream.message().await?.is_some() {
        // Full: the receiver has not handled the last one yet.
        let _ = notify.try_send(());
    }
    Ok(())
}

/// What happens to containers, if the runtime reports events.
pub(super) struct Events {
    notified: Receiver<()>,
    /// End with it.
    _listeners: JoinSet<anyhow::Result<()>>,
}

impl Events {
    /// Waits until something has happened since the last time; `None` once the runtime sends
    /// no more events, or if it never did.
    pub(super) async fn next(&mut self) -> Option<()> {
        self.notified.recv().await
    }
}

fn path(service: &str, method: &str) -> PathAndQuery {
    PathAndQuery::try_from(format!("/{service}/{method}")).expect("names are plain words")
}

/// What went wrong in the end: what is around it says only who was asked.
fn root_cause(error: impl std::error::Error + Send + Sync + 'static) -> String {
    printable(&anyhow::Error::from(error).root_cause().to_string())
}

#[cfg(test)]
mod tests {
    use std::io;

    use tempfile::TempDir;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{UnixListener, UnixStream},
    };

    use super::*;

    /// What is said of whoever answers there, each time it is asked.
    async fn said_of<F>(answer: impl Fn(UnixStream) -> F + Send + 'static) -> String
    where
        F: Future<Output = io::Result<()>> + Send,
    {
        let directory = TempDir::new().unwrap();
        let socket = directory.path().join("cri.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                answer(stream).await.ok();
            }
        });
        let error = Runtime::connect(&socket).await.err().expect("no runtime");
        server.abort();
        error.to_string()
    }

    #[tokio::test]
    async fn what_is_no_runtime_is_an_error_in_few_words() {
        let hangs_up = said_of(async |stream| {
            drop(stream);
            Ok(())
        });
        let another_protocol = said_of(async |mut stream| {
            stream.read_u8().await?;
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await
        });
        let junk = said_of(async |mut stream| {
            stream.read_u8().await?;
            stream.write_all(&[0xa5; 100_000]).await
        });
        // A frame of HTTP/2 that says that it is larger than any may be.
        let too_large = said_of(async |mut stream| {
            stream.read_u8().await?;
            stream
                .write_all(&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0])
                .await
        });
        for said in [
            hangs_up.await,
            another_protocol.await,
            junk.await,
            too_large.await,
        ] {
            assert!(
                said.starts_with("breaks off the connection: ")
                    || said.starts_with("cannot be reached: "),
                "{said}"
            );
            assert!(
                said.len() < 300 && !said.contains(char::is_control),
                "{said}"
            );
        }
    }
}
