//! The files of `--cluster`.

use std::path::PathBuf;

use crate::cluster::{
    dump,
    update::{Change, Sink},
};

/// Reads the files and tells what is in them. A file that cannot be read takes none of the others
/// with it.
pub(super) fn run(files: &[PathBuf], sink: &Sink) {
    let mut loaded = dump::Loaded::default();
    for file in files {
        if let Err(error) = loaded.read_file(file) {
            sink.tell(Change::Note(format!("--cluster {error}")));
        }
    }
    loaded.finish();
    for note in loaded.notes.into_iter().chain(loaded.assumptions) {
        sink.tell(Change::Note(note));
    }
    for change in Change::all_of(loaded.view) {
        sink.tell(change);
    }
    sink.tell(Change::Settled);
}
