//! The API server, asked with limits on what it may answer, with credentials that stay good.

use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use kube::{client::Body, core::WatchEvent};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};

use super::{
    access::Access,
    failure::Failure,
    session::{Opened, Session, open},
};
use crate::cluster::source::limits::{LINE, PAGE};

/// How long to wait before a program is asked for credentials again, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(300));

/// The API server, with whatever credentials are good now.
#[derive(Clone)]
pub(super) struct Server(watch::Receiver<Session>);

impl Opened {
    /// The server, and what keeps its credentials good.
    pub(super) fn keep(self) -> (Server, Keeper) {
        let (sender, receiver) = watch::channel(self.session.clone());
        let keeper = Keeper {
            sessions: sender,
            opened: self,
        };
        (Server(receiver), keeper)
    }
}

/// Gets credentials anew before they expire.
pub(super) struct Keeper {
    sessions: watch::Sender<Session>,
    opened: Opened,
}

impl Keeper {
    /// Does so without end, and also when the server has `refused` them.
    pub(super) async fn run(mut self, access: &Access, refused: &Notify) {
        let mut pause = AGAIN.0;
        let mut earliest = Instant::now() + pause;
        loop {
            match self.opened.left() {
                Some(left) => tokio::select! {
                    () = sleep_until(Instant::now() + left) => {}
                    () = refused.notified() => {}
                },
                None => refused.notified().await,
            }
            sleep_until(earliest).await;
            match open(access).await {
                Ok(opened) => {
                    self.sessions.send_replace(opened.session.clone());
                    self.opened = opened;
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
                        log::debug!(
                            "a watch ends: {:?}",
                            Failure::from(self.session.failed(&error))
                        );
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
