//! The sign of life that each trace gets, and its order to end: by attaching to its standard input. A pod
//! that waits for the program itself gets it the same way.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, interval, sleep},
};

use super::{manifest::CONTAINER, stream::Program, upload::Upload};
use crate::cluster::source::api::client::{Client, RequestError};

/// How often; a trace ends after 30 s without.
const BEAT: Duration = Duration::from_secs(5);
/// How long writing a word may take.
const WRITE: Duration = Duration::from_secs(5);
/// For how long an upload may stand still.
const STALL: Duration = Duration::from_secs(30);
/// How long the program may take to say something once all of it was written: the network may hold much
/// of it at that time.
const START: Duration = Duration::from_secs(60);
/// How often a pod is attached to for an upload that has not begun.
const ATTEMPTS: u32 = 3;

/// A pod, and what is known of it.
pub(super) struct Beat {
    pub(super) client: Arc<Client>,
    pub(super) namespace: String,
    pub(super) pod: String,
    /// What it is to get first.
    pub(super) program: Option<Program>,
    pub(super) upload: Upload,
    /// Set for the trace to end.
    pub(super) ends: watch::Receiver<bool>,
}

impl Beat {
    /// Beats until `ends` is set, and then orders the trace to end. Attaches again where the connection
    /// breaks, unless the pod is gone, or has a part of the program: that cannot be taken back.
    pub(super) async fn go_on(mut self) {
        let mut attempts = 0;
        loop {
            let why = match self.attached().await {
                Ok(()) => return,
                Err(RequestError::Refused { code: 404, .. }) => return,
                Err(why) => why.to_string(),
            };
            log::debug!("{}: {why}", self.pod);
            attempts += 1;
            let is_begun = self.program.is_none();
            if (is_begun || attempts >= ATTEMPTS) && self.upload.fail(&why) {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    async fn attached(&mut self) -> Result<(), RequestError> {
        let mut stdin = self
            .client
            .attach(&self.namespace, &self.pod, CONTAINER)
            .await?;
        if let Some(program) = self.program.take() {
            stdin.write_all(&program.0, STALL).await?;
        }
        let begun = Instant::now();
        let mut beats = interval(BEAT);
        loop {
            let is_end = tokio::select! {
                _ = beats.tick() => *self.ends.borrow(),
                changed = self.ends.changed() => changed.is_err() || *self.ends.borrow(),
            };
            if self.upload.is_on_its_way() && begun.elapsed() > START {
                let why = "it was written there, and does not start".to_owned();
                return Err(RequestError::Failed(why));
            }
            let word: &[u8] = if is_end { b"end\n" } else { b"\n" };
            stdin.write_all(word, WRITE).await?;
            if is_end {
                stdin.close(WRITE).await;
                return Ok(());
            }
        }
    }
}
