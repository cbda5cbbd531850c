//! A receiver of the API server's updates: what was sent, and the cluster that results.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use crate::cluster::{
    live::Cluster,
    objects::ObjectName,
    source::{
        api::{PATIENCE, access::Place, follow},
        sink::Sink,
    },
    update::{Change, Source, Update},
    view::Kind,
};
use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::{
    sync::mpsc::{Receiver, channel},
    task::AbortHandle,
};
use whydrop_tests::apiserver::ApiServer;

pub(crate) struct Listener {
    pub(crate) cluster: Cluster,
    /// All notes so far.
    pub(crate) notes: Vec<String>,
    pub(crate) settled: bool,
    /// The kinds in the order in which they were listed.
    pub(crate) listed: Vec<Kind>,
    /// The time at which updates arrive. It is fixed unless a test changes it.
    pub(crate) now: SystemTime,
    updates: Receiver<Update>,
    source: AbortHandle,
    _dir: TempDir,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.source.abort();
    }
}

impl Listener {
    /// Follows a server with the kubeconfig that it writes.
    pub(crate) fn to(server: &ApiServer) -> Result<Self> {
        let dir = TempDir::new()?;
        let kubeconfig = server.kubeconfig(dir.path())?;
        Self::with(dir, kubeconfig)
    }

    /// The same as another user.
    pub(crate) fn as_user(server: &ApiServer, user: &str) -> Result<Self> {
        let dir = TempDir::new()?;
        let kubeconfig = server.kubeconfig_for(dir.path(), user)?;
        Self::with(dir, kubeconfig)
    }

    /// The same with a kubeconfig that takes another server's certificate for this one's.
    pub(crate) fn mistaken(server: &ApiServer, other: &ApiServer) -> Result<Self> {
        let (dir, of_other) = (TempDir::new()?, TempDir::new()?);
        let kubeconfig = server.kubeconfig(dir.path())?;
        other.kubeconfig(of_other.path())?;
        let certificate = |dir: &TempDir| dir.path().join("ca.crt");
        std::fs::copy(certificate(&of_other), certificate(&dir))?;
        Self::with(dir, kubeconfig)
    }

    fn with(dir: TempDir, kubeconfig: PathBuf) -> Result<Self> {
        let access = Place::Option(kubeconfig).access()?;
        let (sender, updates) = channel(64);
        let source = tokio::spawn(follow(access, Sink::new(Source::Api, sender), PATIENCE));
        Ok(Self {
            cluster: Cluster::default(),
            notes: Vec::new(),
            settled: false,
            listed: Vec::new(),
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000),
            updates,
            source: source.abort_handle(),
            _dir: dir,
        })
    }

    /// Takes updates until this is true.
    pub(crate) async fn until(&mut self, what: impl Fn(&Self) -> bool) -> Result<()> {
        while !what(self) {
            let update = self.updates.recv().await.context("the source has ended")?;
            match update.change {
                Change::Note(note) => self.notes.push(note),
                Change::Settled if self.settled => bail!("settled twice"),
                Change::Settled => self.settled = true,
                change => {
                    if let Change::All(kind, _) = change {
                        self.listed.push(kind);
                    }
                    let source = update.source;
                    self.cluster.apply(Update { source, change }, self.now);
                }
            }
        }
        Ok(())
    }

    pub(crate) async fn until_settled(&mut self) -> Result<()> {
        self.until(|listener| listener.settled).await
    }

    /// How often a kind was listed.
    pub(crate) fn lists_of(&self, kind: Kind) -> usize {
        self.listed.iter().filter(|listed| **listed == kind).count()
    }

    pub(crate) fn has(&self, kind: Kind, namespace: &str, name: &str) -> bool {
        let names = self.cluster.view().names(kind);
        names.contains(&ObjectName::new(namespace, name))
    }

    /// The only note so far, with the server's address and its file left out.
    pub(crate) fn only_note(&self) -> Result<String> {
        match self.notes.as_slice() {
            [note] => Ok(without_place(note)),
            notes => bail!("one note is expected: {notes:#?}"),
        }
    }
}

/// A note without what differs from run to run: `the API server URL (--kubeconfig FILE)`.
pub(crate) fn without_place(note: &str) -> String {
    let place = note
        .split_once("the API server ")
        .and_then(|(before, rest)| Some((before, rest.split_once(')')?.1)));
    match place {
        Some((before, rest)) => format!("{before}SERVER{rest}"),
        None => note.to_owned(),
    }
}
