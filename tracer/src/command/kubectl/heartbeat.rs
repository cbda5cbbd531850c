//! The sign of life that each trace gets, and its order to end: by attaching to its standard input.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::AsyncWriteExt as _,
    sync::watch,
    time::{interval, sleep, timeout},
};

use super::{manifest::CONTAINER, stream::Program};
use crate::cluster::source::api::client::{Client, RequestError};

/// How often; a trace ends after 30 s without.
const BEAT: Duration = Duration::from_secs(5);
/// How long writing may take.
const WRITE: Duration = Duration::from_secs(5);
/// Bytes of a program that are written at a time.
const PART: usize = 32 << 10;

/// Beats until `ends` is set, and then orders the trace to end. Attaches again where the connection
/// breaks, unless the pod is gone. A pod that waits for the `program` itself gets it first.
pub(super) async fn beat(
    client: Arc<Client>,
    namespace: String,
    pod: String,
    mut program: Option<Program>,
    mut ends: watch::Receiver<bool>,
) {
    loop {
        match attached(&client, &namespace, &pod, &mut program, &mut ends).await {
            Ok(()) => return,
            Err(RequestError::Refused { code: 404, .. }) => return,
            Err(why) => log::debug!("{pod}: {why}"),
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn attached(
    client: &Client,
    namespace: &str,
    pod: &str,
    program: &mut Option<Program>,
    ends: &mut watch::Receiver<bool>,
) -> Result<(), RequestError> {
    let failed = |why: &str| RequestError::Failed(why.to_owned());
    let mut attached = client.attach(namespace, pod, CONTAINER).await?;
    let stdin = attached.stdin();
    let mut stdin = stdin.ok_or_else(|| failed("it has no standard input"))?;
    // A part of it that was written cannot be taken back: it is not written again.
    if let Some(program) = program.take() {
        for part in program.0.chunks(PART) {
            let written = timeout(WRITE, stdin.write_all(part)).await;
            let written = written.map_err(|_| failed("it takes nothing"))?;
            written.map_err(|error| failed(&error.to_string()))?;
        }
    }
    let mut beats = interval(BEAT);
    loop {
        let is_end = tokio::select! {
            _ = beats.tick() => *ends.borrow(),
            changed = ends.changed() => changed.is_err() || *ends.borrow(),
        };
        let word: &[u8] = if is_end { b"end\n" } else { b"\n" };
        let written = timeout(WRITE, async {
            stdin.write_all(word).await?;
            stdin.flush().await
        });
        match written.await {
            Ok(Ok(())) if is_end => {
                // Closed at once, what was written might be thrown away.
                drop(stdin);
                let _ = timeout(WRITE, attached.join()).await;
                return Ok(());
            }
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(failed(&error.to_string())),
            Err(_) => return Err(failed("it takes nothing")),
        }
    }
}
