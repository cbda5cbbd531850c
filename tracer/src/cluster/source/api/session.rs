//! One exchange with the API server: a request, and an answer within limits. What a failure means is up to
//! the one who asks.

use std::time::{Duration, SystemTime};

use http::{Request, Response, header::LOCATION};
use http_body_util::BodyExt as _;
use kube::{Client, client::Body, core::Status};
use tokio::task::spawn_blocking;

use super::{
    access::{Access, Secrets},
    failure,
};
use crate::cluster::{item::printable, source::limits::ERROR};

/// How long connecting may take, name resolution and TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// How long before they expire credentials are got anew.
pub(super) const EARLY: Duration = Duration::from_secs(60);

/// The API server, as these credentials see it.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) secrets: Secrets,
}

/// A session, and until when it is good.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) session: Session,
    pub(super) expires: Option<SystemTime>,
}

/// Why a request has no answer of use. No secret is in it, but all else that the server says.
pub(super) enum NoAnswer {
    /// It refuses, in its words.
    Refused(Box<Status>),
    /// It sends us elsewhere, in words.
    Redirected(String),
    /// The connection failed. The first cause, in words.
    Broken(String),
    /// It answers more than this many bytes.
    TooLarge(usize),
}

/// Gets the credentials, and what is needed to show them.
pub(super) async fn open(access: &Access) -> Result<Opened, String> {
    let (mut config, secrets, expires) = access.credentials().await?;
    config.connect_timeout = Some(CONNECT);
    // Requests have limits of their own, and watches are silent for long.
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
    /// How long until credentials are to be got anew; `None` if they have no end that is known.
    pub(super) fn left(&self) -> Option<Duration> {
        let left = self.expires?.duration_since(SystemTime::now());
        Some(left.unwrap_or_default().saturating_sub(EARLY))
    }
}

impl Session {
    /// Sends a request; anything but success is a failure.
    pub(super) async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Body>, NoAnswer> {
        let sent = self.client.send(request.map(Body::from)).await;
        let response = sent.map_err(|error| self.failed(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status.is_redirection() {
            return Err(NoAnswer::Redirected(redirect(&response)));
        }
        let body = self.read(response, ERROR).await.unwrap_or_default();
        let mut said: Status = serde_json::from_slice(&body).unwrap_or_default();
        said.code = status.as_u16();
        if said.message.is_empty() {
            said.message = status.canonical_reason().unwrap_or_default().to_owned();
        }
        said.message = self.secrets.redact(&said.message);
        Err(NoAnswer::Refused(Box::new(said)))
    }

    /// Reads an answer up to its end.
    pub(super) async fn read(
        &self,
        response: Response<Body>,
        limit: usize,
    ) -> Result<Vec<u8>, NoAnswer> {
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.failed(&error))?;
            if let Ok(data) = frame.into_data() {
                if bytes.len() + data.len() > limit {
                    return Err(NoAnswer::TooLarge(limit));
                }
                bytes.extend_from_slice(&data);
            }
        }
        Ok(bytes)
    }

    /// What an error of the library's means.
    pub(super) fn failed(&self, error: &kube::Error) -> NoAnswer {
        if let kube::Error::Api(status) = error {
            let mut status = Status::clone(status);
            status.message = self.secrets.redact(&status.message);
            return NoAnswer::Refused(Box::new(status));
        }
        let why = failure::root(error);
        // rustls explains at length what is no more than that.
        if why.contains("close_notify") {
            return NoAnswer::Broken("the connection was cut".to_owned());
        }
        NoAnswer::Broken(self.secrets.redact(&why))
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
