//! The API server, asked with limits on what it may answer.

use std::time::{Duration, SystemTime};

use http::{Request, Response, StatusCode, header::LOCATION};
use http_body_util::BodyExt as _;
use kube::{
    Client,
    client::Body,
    core::{Status, WatchEvent},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{
    sync::{Notify, watch},
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

use super::{
    access::{Access, Secrets},
    failure::{self, Failure},
};
use crate::cluster::{
    item::printable,
    source::limits::{ERROR, LINE, PAGE},
};

/// How long connecting may take, name resolution and TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// How long before they expire credentials are got anew.
const EARLY: Duration = Duration::from_secs(60);
/// How long to wait before a program is asked for credentials again, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(300));

/// The API server, as these credentials see it.
#[derive(Clone)]
pub(super) struct Session {
    client: Client,
    secrets: Secrets,
}

/// The API server, with whatever credentials are good now.
#[derive(Clone)]
pub(super) struct Server(watch::Receiver<Session>);

/// A session, and until when it is good.
pub(super) struct Opened {
    session: Session,
    expires: Option<SystemTime>,
}

/// Gets the credentials, and what is needed to show them.
pub(super) async fn open(access: &Access) -> Result<Opened, String> {
    let (mut config, secrets, expires) = access.credentials().await?;
    config.connect_timeout = Some(CONNECT);
    // Both have limits of their own, and watches are silent for long.
    config.read_timeout = None;
    config.default_retry = false;
    // It reads files.
    let client = match spawn_blocking(move || Client::try_from(config)).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return Err(secrets.redact(&failure::unusable(&error))),
        Err(_) => return Err("the client cannot be made of this kubeconfig".to_owned()),
    };
    let session = Session { client, secrets };
    Ok(Opened { session, expires })
}

impl Opened {
    /// The client, what must not be shown, and until when the credentials are good.
    pub(super) fn into_parts(self) -> (Client, Secrets, Option<SystemTime>) {
        let Session { client, secrets } = self.session;
        (client, secrets, self.expires)
    }

    /// The server, and what keeps its credentials good.
    pub(super) fn keep(self) -> (Server, Keeper) {
        let (sender, receiver) = watch::channel(self.session);
        let keeper = Keeper {
            sessions: sender,
            expires: self.expires,
        };
        (Server(receiver), keeper)
    }
}

/// Gets credentials anew before they expire.
pub(super) struct Keeper {
    sessions: watch::Sender<Session>,
    expires: Option<SystemTime>,
}

impl Keeper {
    /// Does so without end, and also when the server has `refused` them.
    pub(super) async fn run(mut self, access: &Access, refused: &Notify) {
        let mut pause = AGAIN.0;
        let mut earliest = Instant::now() + pause;
        loop {
            let left = |expires: SystemTime| {
                let left = expires
                    .duration_since(SystemTime::now())
                    .unwrap_or_default();
                left.saturating_sub(EARLY)
            };
            match self.expires.map(left) {
                Some(left) => tokio::select! {
                    () = sleep_until(Instant::now() + left) => {}
                    () = refused.notified() => {}
                },
                None => refused.notified().await,
            }
            sleep_until(earliest).await;
            match open(access).await {
                Ok(opened) => {
                    self.expires = opened.expires;
                    self.sessions.send_replace(opened.session);
                    pause = AGAIN.0;
                }
                Err(why) => {
                    log::debug!("{}: {why}", access.name());
                    pause = (pause * 2).min(AGAIN.1);
                }
            }
            earliest = Instant::now() + pause;
        }
    }
}

impl Server {
    /// What a request is answered, if it is within the limit.
    pub(super) async fn text(&self, request: Request<Vec<u8>>) -> Result<String, Failure> {
        let session = self.0.borrow().clone();
        let response = session.send(request).await?;
        let bytes = session.read(response, PAGE).await?;
        String::from_utf8(bytes).map_err(|_| Failure::Refused("its answer is no text".to_owned()))
    }

    /// The same, as what it means.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<T, Failure> {
        let text = self.text(request).await?;
        serde_json::from_str(&text).map_err(|error| Failure::not_json(&error))
    }

    /// The events of a watch.
    pub(super) async fn events(&self, request: Request<Vec<u8>>) -> Result<Events, Failure> {
        let session = self.0.borrow().clone();
        let response = session.send(request).await?;
        Ok(Events {
            session,
            body: response.into_body(),
            line: Vec::new(),
            rest: bytes::Bytes::new(),
        })
    }
}

impl Session {
    /// Sends a request; anything but success is a failure.
    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Body>, Failure> {
        let sent = self.client.send(request.map(Body::from)).await;
        let response = sent.map_err(|error| self.failure(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status.is_redirection() {
            return Err(Failure::Refused(redirect(&response)));
        }
        let body = self.read(response, ERROR).await.unwrap_or_default();
        Err(self.refusal(status, &body))
    }

    /// What an error's answer says.
    fn refusal(&self, status: StatusCode, body: &[u8]) -> Failure {
        let mut said: Status = serde_json::from_slice(body).unwrap_or_default();
        said.code = status.as_u16();
        if said.message.is_empty() {
            said.message = status.canonical_reason().unwrap_or_default().to_owned();
        }
        said.message = self.secrets.redact(&said.message);
        Failure::from_status(&said)
    }

    async fn read(&self, response: Response<Body>, limit: usize) -> Result<Vec<u8>, Failure> {
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.failure(&error))?;
            if let Ok(data) = frame.into_data() {
                if bytes.len() + data.len() > limit {
                    return Err(Failure::TooLarge(limit));
                }
                bytes.extend_from_slice(&data);
            }
        }
        Ok(bytes)
    }

    fn failure(&self, error: &kube::Error) -> Failure {
        let why = failure::root(error);
        Failure::Unreachable(printable(&self.secrets.redact(&why)))
    }
}

/// Where a redirect leads to. It is not followed: the credentials are for this server alone.
fn redirect(response: &Response<Body>) -> String {
    let to = response.headers().get(LOCATION);
    let to = to.and_then(|to| to.to_str().ok()?.parse::<http::Uri>().ok());
    match to.as_ref().and_then(http::Uri::host) {
        Some(host) => format!("it redirects to {}", printable(host)),
        None => "it redirects elsewhere".to_owned(),
    }
}

/// The events of a watch, as they come.
pub(super) struct Events {
    session: Session,
    body: Body,
    /// The line that is not complete yet.
    line: Vec<u8>,
    /// What came behind the last line.
    rest: bytes::Bytes,
}

impl Events {
    /// The next event; `None` at the end, or where the connection breaks, which is the same.
    pub(super) async fn next(&mut self) -> Option<Result<WatchEvent<Value>, Failure>> {
        loop {
            let end = self.rest.iter().position(|byte| *byte == b'\n');
            let part = match end {
                Some(end) => self.rest.split_to(end + 1),
                None => std::mem::take(&mut self.rest),
            };
            if self.line.len() + part.len() > LINE {
                return Some(Err(Failure::TooLarge(LINE)));
            }
            self.line.extend_from_slice(&part);
            if end.is_none() {
                match self.body.frame().await {
                    Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                    Some(Err(error)) => {
                        log::debug!("a watch ends: {:?}", self.session.failure(&error));
                        return None;
                    }
                    None => return None,
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            if !line.trim_ascii().is_empty() {
                let event = serde_json::from_slice(&line);
                return Some(event.map_err(|error| Failure::not_json(&error)));
            }
        }
    }
}
