//! The sign of life that each trace gets, and its order to end: by attaching to its standard input.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::AsyncWriteExt as _,
    sync::watch,
    time::{interval, sleep, timeout},
};

use super::manifest::CONTAINER;
use crate::cluster::source::api::client::Client;

/// How often; a trace ends after 30 s without.
const BEAT: Duration = Duration::from_secs(5);
/// How long writing may take.
const WRITE: Duration = Duration::from_secs(5);

/// Beats until `ends` is set, and then orders the trace to end. Attaches again where the connection
/// breaks.
pub(super) async fn beat(
    client: Arc<Client>,
    namespace: String,
    pod: String,
    mut ends: watch::Receiver<bool>,
) {
    loop {
        match attached(&client, &namespace, &pod, &mut ends).await {
            Ok(()) => return,
            Err(why) => log::debug!("{pod}: {why}"),
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn attached(
    client: &Client,
    namespace: &str,
    pod: &str,
    ends: &mut watch::Receiver<bool>,
) -> Result<(), String> {
    let attached = client.attach(namespace, pod, CONTAINER).await;
    let mut attached = attached.map_err(|error| error.to_string())?;
    let mut stdin = attached.stdin().ok_or("it has no standard input")?;
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
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("it takes nothing".to_owned()),
        }
    }
}
