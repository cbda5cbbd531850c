//! What a pod's process has said.

use std::{
    io::{BufRead as _, BufReader, Read},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tokio::sync::watch;

/// What a process has said, and who reads it.
#[derive(Clone)]
pub(in crate::apiserver) struct Log {
    /// Each line with the time at which it came.
    lines: Arc<Mutex<Vec<(String, String)>>>,
    /// Lines so far, streams that are still at work, and how often it was cut.
    pub(in crate::apiserver) state: watch::Sender<(usize, usize, u32)>,
}

impl Log {
    pub(super) fn new() -> Self {
        Self {
            lines: Arc::default(),
            // Of stdout and stderr.
            state: watch::channel((0, 2, 0)).0,
        }
    }

    pub(super) fn follow(&self, stream: impl Read + Send + 'static) {
        let log = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines() {
                let Ok(line) = line else { break };
                let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.9fZ");
                let mut lines = log.lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.push((now.to_string(), line));
                log.state.send_modify(|(count, ..)| *count = lines.len());
            }
            log.state.send_modify(|(_, streams, _)| *streams -= 1);
        });
    }

    /// The lines from an index on that are not older than a time.
    pub(in crate::apiserver) fn from(&self, index: usize, since: &str) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let new = lines.iter().skip(index);
        // The API server hands on whole seconds.
        let since = since.get(..19).unwrap_or(since);
        new.filter(|(time, _)| time.as_str() >= since)
            .map(|(time, line)| format!("{time} {line}\n"))
            .collect()
    }
}
