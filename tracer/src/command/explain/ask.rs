//! The objects of the cluster as its API server has them now.

use std::{
    path::Path,
    pin::pin,
    time::{Duration, SystemTime},
};

use anyhow::{Result, bail};
use tokio::{runtime, sync::mpsc::channel, time::sleep};

use crate::cluster::{
    live::Cluster,
    source::ClusterConfig,
    source::{
        api::{self, access::places},
        limits::UPDATES,
        sink::Sink,
    },
    update::{Change, Source},
};

/// How long the API server has to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// After which time it is said that there is something to wait for.
const UNNOTICED: Duration = Duration::from_secs(1);

/// Asks the API server for all that it has, and hands to `notes` what could not be had.
///
/// # Errors
///
/// The file of `--kubeconfig` is of no use, or nothing can be had.
pub(super) fn ask(kubeconfig: Option<&Path>, notes: &mut dyn FnMut(&str)) -> Result<Cluster> {
    let places = places(&ClusterConfig {
        kubeconfig: kubeconfig.map(Path::to_owned),
        ..ClusterConfig::default()
    });
    if kubeconfig.is_some() {
        for place in &places {
            place.clone().access()?;
        }
    }
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let cluster = runtime.block_on(async {
        let (sender, mut updates) = channel(UPDATES);
        let sink = Sink::new(Source::Api, sender);
        let source = tokio::spawn(api::find_and_follow(places, sink, PATIENCE));
        let mut cluster = Cluster::default();
        let mut received = false;
        let mut noticed = pin!(sleep(UNNOTICED));
        let mut said = false;
        loop {
            tokio::select! {
                update = updates.recv() => match update {
                    None => break,
                    Some(update) => match update.change {
                        Change::Settled => break,
                        Change::Note(note) => {
                            notes(&note);
                        }
                        _ => {
                            received = true;
                            cluster.apply(update, SystemTime::now());
                        }
                    },
                },
                () = &mut noticed, if !said => {
                    said = true;
                    let limit = PATIENCE.as_secs();
                    notes(&format!("asking the API server, for up to {limit} s"));
                }
            }
        }
        source.abort();
        received.then_some(cluster)
    });
    // A name that is still being resolved is not waited for.
    runtime.shutdown_background();
    match cluster {
        Some(cluster) => Ok(cluster),
        None => bail!(
            "nothing is known of the cluster; its objects can come from a file, too: see --cluster"
        ),
    }
}
