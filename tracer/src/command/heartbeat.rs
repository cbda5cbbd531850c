//! Whether the one that has started this trace is still there: `--heartbeat`.
//!
//! A trace in a pod of its own ends by itself when no one wants it any more: the connection to it may
//! be gone without a word.

use std::{
    future::pending,
    io::{self, BufRead as _, Read as _},
    thread,
    time::Duration,
};

use tokio::{
    sync::mpsc::{Receiver, channel},
    time::timeout,
};

/// What comes by stdin and ends the trace.
const END: &[u8] = b"end";
/// The longest line that is looked at.
const LONGEST: u64 = 4096;

/// Watches stdin.
pub(super) struct Heart {
    /// A beat for each line, until there are no more; `None` without `--heartbeat`.
    beats: Option<(Receiver<()>, Duration)>,
}

impl Heart {
    /// Watches stdin, if it is to beat at least this often.
    pub(super) fn watch(limit: Option<Duration>) -> io::Result<Self> {
        let Some(limit) = limit else {
            return Ok(Self { beats: None });
        };
        let (sender, beats) = channel(1);
        // A read from stdin cannot be given up; the thread ends with the process.
        thread::Builder::new()
            .name("heartbeat".to_owned())
            .spawn(move || {
                let mut stdin = io::stdin().lock();
                let mut line = Vec::new();
                loop {
                    line.clear();
                    match stdin.by_ref().take(LONGEST).read_until(b'\n', &mut line) {
                        Ok(1..) if line.trim_ascii() != END => {
                            // A beat that is waiting says as much as two.
                            let _ = sender.try_send(());
                        }
                        _ => return,
                    }
                }
            })?;
        Ok(Self {
            beats: Some((beats, limit)),
        })
    }

    /// Returns once it has stopped; never without `--heartbeat`.
    pub(super) async fn stopped(&mut self) {
        let Some((beats, limit)) = &mut self.beats else {
            return pending().await;
        };
        while let Ok(Some(())) = timeout(*limit, beats.recv()).await {}
    }
}
