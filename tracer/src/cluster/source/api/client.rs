//! Requests that are neither lists nor watches: `kubectl whydrop` creates and deletes with them.
//!
//! The limits are the same: the server may be anyone's.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::AttachParams, client::Body};
use serde_json::Value;
use tokio::{sync::Mutex, time::timeout};

use super::{
    access::Access,
    failure::Failure,
    session::{NoAnswer, Opened, Session, open},
    stdin::Stdin,
};
use crate::cluster::source::limits::PAGE;

/// How long an answer may take, streams apart.
const ANSWER: Duration = Duration::from_secs(15);
/// Bytes of standard input that wait to be sent: a program may go that way.
const INPUT: usize = 16 << 10;
/// Characters of a message: those of admission are long, and worth reading.
const MESSAGE: usize = 4000;

/// Why a request has failed.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum RequestError {
    /// The API server refuses it, in its words.
    #[error("{message} ({code})")]
    Refused { code: u16, message: String },
    /// It was not reached, or its answer makes no sense.
    #[error("{0}")]
    Failed(String),
}

impl RequestError {
    /// Whether there is no such thing (any more).
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    /// Whether the user may not do that, or admission does not let it in.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused { code: 403, .. })
    }
}

impl From<NoAnswer> for RequestError {
    fn from(why: NoAnswer) -> Self {
        match why {
            NoAnswer::Refused(status) => Self::Refused {
                code: status.code,
                message: plain(&status.message),
            },
            NoAnswer::Redirected(why) => Self::Failed(why),
            NoAnswer::Broken(why) => Self::Failed(plain(&why)),
            NoAnswer::TooLarge(limit) => Self::Failed(Failure::too_large(limit)),
        }
    }
}

/// The API server, for requests that change something.
pub(crate) struct Client {
    access: Access,
    opened: Mutex<Opened>,
}

impl Client {
    /// Gets the credentials.
    ///
    /// # Errors
    ///
    /// They cannot be had. In words.
    pub(crate) async fn open(access: Access) -> Result<Self, String> {
        let opened = Mutex::new(open(&access).await?);
        Ok(Self { access, opened })
    }

    /// What is at a path.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, RequestError> {
        self.json(Method::GET, path, None).await
    }

    /// Creates something.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, RequestError> {
        self.json(Method::POST, path, Some(body)).await
    }

    /// Deletes something.
    pub(crate) async fn delete(&self, path: &str, options: &Value) -> Result<(), RequestError> {
        let deleted = self.json(Method::DELETE, path, Some(options)).await;
        deleted.map(drop)
    }

    /// The bytes of what is at a path, as they come.
    pub(crate) async fn stream(&self, path: &str) -> Result<Bytestream, RequestError> {
        let session = self.session().await?;
        let sent = timeout(ANSWER, session.send(request(Method::GET, path, None)?)).await;
        let response = sent.map_err(|_| silent())??;
        Ok(Bytestream {
            session,
            body: response.into_body(),
        })
    }

    /// The standard input of a pod's container.
    pub(crate) async fn attach(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> Result<Stdin, RequestError> {
        let session = self.session().await?;
        let pods: Api<Pod> = Api::namespaced(session.client.clone(), namespace);
        let params = AttachParams::default()
            .container(container)
            .stdin(true)
            .stdout(false)
            .stderr(false)
            .max_stdin_buf_size(INPUT);
        let attached = timeout(ANSWER, pods.attach(pod, &params)).await;
        let attached = attached
            .map_err(|_| silent())?
            .map_err(|error| session.failed(&error))?;
        Stdin::of(attached)
    }

    /// A token may end before its time, or have no time that is known: then a new one is asked for.
    async fn json(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, RequestError> {
        match self.once(method.clone(), path, body).await {
            Err(RequestError::Refused { code: 401, .. }) => {
                let renewed = open(&self.access).await;
                *self.opened.lock().await = renewed.map_err(RequestError::Failed)?;
                self.once(method, path, body).await
            }
            done => done,
        }
    }

    async fn once(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, RequestError> {
        let session = self.session().await?;
        let answer = timeout(ANSWER, async {
            let response = session.send(request(method, path, body)?).await?;
            Ok::<_, RequestError>(session.read(response, PAGE).await?)
        });
        let bytes = answer.await.map_err(|_| silent())??;
        serde_json::from_slice(&bytes)
            .map_err(|_| RequestError::Failed("its answer is not JSON".to_owned()))
    }

    /// The session, with credentials that are still good.
    async fn session(&self) -> Result<Session, RequestError> {
        let mut opened = self.opened.lock().await;
        if opened.left().is_some_and(|left| left.is_zero()) {
            *opened = open(&self.access).await.map_err(RequestError::Failed)?;
        }
        Ok(opened.session.clone())
    }
}

fn request(
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Request<Vec<u8>>, RequestError> {
    let body = body.map(ToString::to_string).unwrap_or_default();
    Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body.into_bytes())
        .map_err(|_| RequestError::Failed("a name is not fit for a URL".to_owned()))
}

/// The bytes of an answer, as they come.
pub(crate) struct Bytestream {
    session: Session,
    body: Body,
}

impl Bytestream {
    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, RequestError>> {
        loop {
            match self.body.frame().await? {
                Ok(frame) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Some(Ok(data)),
                    _ => {}
                },
                Err(error) => return Some(Err(self.session.failed(&error).into())),
            }
        }
    }
}

fn silent() -> RequestError {
    RequestError::Failed(format!("no answer within {} s", ANSWER.as_secs()))
}

/// Text of the cluster's, fit for a terminal: in one line, and not without an end.
pub(crate) fn plain(text: &str) -> String {
    let mut chars = text
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c });
    let shown: String = chars
        .by_ref()
        .take(MESSAGE)
        .flat_map(|c| Plain(c).to_string().chars().collect::<Vec<_>>())
        .collect();
    match chars.next() {
        Some(_) => shown + " …",
        None => shown,
    }
}

/// A character as a terminal may get it.
struct Plain(char);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            c @ ' '..='~' => write!(f, "{c}"),
            c if c.is_alphanumeric() || "…→–’“”".contains(c) => write!(f, "{c}"),
            c => write!(f, "{}", c.escape_unicode()),
        }
    }
}
