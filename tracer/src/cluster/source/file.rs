//! The files of `--cluster`.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{task::spawn_blocking, time::timeout};

use super::sink::Sink;
use crate::cluster::{dump, update::Change};

/// After how long the user learns which file is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Reads the files and reports what is in them. A file that cannot be read takes none of the others
/// with it.
pub(super) async fn run(files: Vec<PathBuf>, sink: Sink) {
    let files = Arc::new(files);
    let reading = Arc::new(AtomicUsize::new(0));
    let mut reader = spawn_blocking({
        let (files, reading) = (Arc::clone(&files), Arc::clone(&reading));
        let sink = sink.clone();
        move || read(&files, &reading, &sink)
    });
    if timeout(PATIENCE, &mut reader).await.is_ok() {
        return;
    }
    // Only a filter by name keeps the trace waiting too: see `command::wait`.
    if let Some(late) = files.get(reading.load(Ordering::Relaxed)) {
        let path = late.display();
        let note =
            format!("--cluster {path}: still waiting for it; its objects are used once they come");
        sink.send(Change::Note(note)).await;
    }
    reader.await.ok();
}

fn read(files: &[PathBuf], reading: &AtomicUsize, sink: &Sink) {
    let mut loaded = dump::Loaded::default();
    for (n, file) in files.iter().enumerate() {
        reading.store(n, Ordering::Relaxed);
        if let Err(error) = loaded.read_file(file) {
            sink.send_blocking(Change::Note(format!("--cluster {error}")));
        }
    }
    loaded.finish();
    for note in loaded.notes.into_iter().chain(loaded.assumptions) {
        sink.send_blocking(Change::Note(note));
    }
    for change in Change::all_of(loaded.view) {
        sink.send_blocking(change);
    }
    sink.send_blocking(Change::Settled);
}
