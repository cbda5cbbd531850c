//! The log of one pod: followed, and resumed where it broke off, without a lost or a doubled record.
//!
//! The API server puts its own time in front of each line, and takes it as the place to go on from.
//! That is at least the last line once more: each record has a number, by which it is left out.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc::Sender,
    time::{sleep, timeout},
};

use super::manifest::CONTAINER;
use crate::{
    cluster::source::api::client::{Client, RequestError},
    report::record,
};

/// The longest line, in bytes. One that is longer is left out, and missing.
const LONGEST: usize = 4 << 20;
/// How long a log may be silent: a trace sends a tick every five seconds.
const SILENCE: Duration = Duration::from_secs(20);
/// Reasons why it cannot be read that are passed on, until it is read again.
const REASONS: usize = 3;
/// How long to wait before asking again, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(5));

/// What comes of a log.
#[derive(Debug)]
pub(super) enum Event {
    /// A line that is new.
    Line(String),
    /// It broke off, and is asked for again. Why, in words.
    Broken(String),
    /// It goes on.
    Resumed,
    /// There will be no more. Why, if not since the trace has ended.
    Ended(Option<String>),
}

/// Where a log has been read up to.
#[derive(Debug, Default)]
struct Place {
    /// The API server's time of the last line, to go on from.
    since: Option<String>,
    /// The same, as it was written.
    last: Option<String>,
    /// The time of the last line before the log broke off: the API server goes on from whole seconds.
    broke_at: Option<String>,
    /// The number of the last record.
    seq: u64,
    /// What came behind the last whole line.
    rest: Vec<u8>,
    /// The line is too long, and left out up to its end.
    skips: bool,
}

impl Place {
    /// Takes bytes, and gives the lines in them that are new.
    fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.rest.len() + part.len() > LONGEST {
                self.rest.clear();
                self.skips = true;
            }
            if !self.skips {
                self.rest.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.rest);
                if !std::mem::take(&mut self.skips) {
                    lines.extend(self.line(&line));
                }
            }
        }
        lines
    }

    fn line(&mut self, line: &[u8]) -> Option<String> {
        let text = String::from_utf8_lossy(line);
        let (time, text) = text.trim_end().split_once(' ')?;
        // It goes into a URL.
        let is_time = |c: char| c.is_ascii_digit() || "-:.TZ+".contains(c);
        if !time.is_empty() && time.len() < 64 && time.chars().all(is_time) {
            self.since = Some(time.replace('+', "%2B"));
            self.last = Some(time.to_owned());
        }
        match record::number(text) {
            Some(seq) if seq <= self.seq => None,
            Some(seq) => {
                self.seq = seq;
                Some(text.to_owned())
            }
            // What the trace says beside its records, unless it was there before.
            None if self.broke_at.as_deref().is_some_and(|known| time <= known) => None,
            None => Some(text.to_owned()),
        }
    }

    /// What broke off comes again, whole.
    fn broke_off(&mut self) {
        self.rest.clear();
        self.skips = false;
        self.broke_at = self.last.clone();
    }

    fn path(&self, pods: &str, pod: &str, follow: bool) -> String {
        let since = self.since.as_ref();
        let since = since.map(|since| format!("&sinceTime={since}"));
        format!(
            "{pods}/{pod}/log?container={CONTAINER}&timestamps=true&follow={follow}{}",
            since.unwrap_or_default()
        )
    }
}

/// Reads a pod's log to its end. `pods` is the path of the namespace's pods.
pub(super) async fn follow(
    client: Arc<Client>,
    pods: String,
    pod: String,
    node: usize,
    events: Sender<(usize, Event)>,
) {
    let mut log = Log {
        client,
        pods,
        pod,
        node,
        events,
        place: Place::default(),
        broken: Vec::new(),
    };
    // No one listens any more: that is an end, too.
    let _ = log.follow().await;
}

/// No one listens.
struct Unwanted;

/// A log that is being read.
struct Log {
    client: Arc<Client>,
    /// The path of the namespace's pods.
    pods: String,
    pod: String,
    node: usize,
    events: Sender<(usize, Event)>,
    place: Place,
    /// Why it broke off, as it was said.
    broken: Vec<String>,
}

impl Log {
    async fn follow(&mut self) -> Result<(), Unwanted> {
        let mut pause = AGAIN.0;
        loop {
            let before = self.place.seq;
            let broken = self.read(true).await?;
            self.place.broke_off();
            // Also an end may be a connection that was cut.
            match self.state().await {
                Ok(State::Ended(code)) => {
                    let rest = self.read(false).await?;
                    let why = match (rest, broken) {
                        (Some(why), Some(_)) => {
                            Some(format!("the end of its log cannot be read: {why}"))
                        }
                        _ if code != 0 => Some(format!("it ended with status {code}")),
                        _ => None,
                    };
                    return self.send(Event::Ended(why)).await;
                }
                Ok(State::Gone) => {
                    let why = "its pod is gone".to_owned();
                    return self.send(Event::Ended(Some(why))).await;
                }
                Ok(State::Running) => {}
                Err(error) => log::debug!("{}: {error}", self.pod),
            }
            // A log that has ended may be ahead of its pod's state.
            if let Some(why) = broken
                && !self.broken.contains(&why)
                && self.broken.len() < REASONS
            {
                self.broken.push(why.clone());
                self.send(Event::Broken(why)).await?;
            }
            if self.place.seq > before {
                pause = AGAIN.0;
            }
            sleep(pause).await;
            pause = (pause * 2).min(AGAIN.1);
        }
    }

    /// Reads until the log ends, or breaks off: why.
    async fn read(&mut self, follow: bool) -> Result<Option<String>, Unwanted> {
        let path = self.place.path(&self.pods, &self.pod, follow);
        let mut stream = match self.client.stream(&path).await {
            Ok(stream) => stream,
            Err(error) => return Ok(Some(error.to_string())),
        };
        loop {
            let bytes = match timeout(SILENCE, stream.next()).await {
                Err(_) => return Ok(Some(format!("nothing came for {} s", SILENCE.as_secs()))),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Ok(Some(error.to_string())),
                Ok(Some(Ok(bytes))) => bytes,
            };
            for line in self.place.take(&bytes) {
                if !std::mem::take(&mut self.broken).is_empty() {
                    self.send(Event::Resumed).await?;
                }
                self.send(Event::Line(line)).await?;
            }
        }
    }

    async fn send(&self, event: Event) -> Result<(), Unwanted> {
        let sent = self.events.send((self.node, event)).await;
        sent.map_err(|_| Unwanted)
    }

    async fn state(&self) -> Result<State, RequestError> {
        let path = format!("{}/{}", self.pods, self.pod);
        let found = match self.client.get(&path).await {
            Ok(found) => found,
            Err(error) if error.is_not_found() => return Ok(State::Gone),
            Err(error) => return Err(error),
        };
        let containers = found["status"]["containerStatuses"].as_array();
        let ended = containers
            .into_iter()
            .flatten()
            .find_map(|container| container["state"]["terminated"]["exitCode"].as_i64());
        Ok(match ended {
            Some(code) => State::Ended(code),
            None if found["status"]["phase"] == "Failed" => State::Ended(1),
            None => State::Running,
        })
    }
}

enum State {
    Running,
    Ended(i64),
    Gone,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_is_left_out_and_nothing_else() {
        let mut place = Place::default();
        let first = place.take(b"2026-01-01T00:00:01.5Z {\"seq\":1}\n2026-01-01T00:00:02Z {\"seq\":2}\n2026-01-01T00:00:03Z {\"se");
        assert_eq!(first, ["{\"seq\":1}", "{\"seq\":2}"]);
        place.broke_off();
        let path = place.path("/pods", "p", true);
        assert!(path.ends_with("&sinceTime=2026-01-01T00:00:02Z"), "{path}");
        let then =
            place.take(b"2026-01-01T00:00:02Z {\"seq\":2}\n2026-01-01T00:00:03Z {\"seq\":3}\n");
        assert_eq!(then, ["{\"seq\":3}"]);
    }

    #[test]
    fn a_line_without_an_end_takes_no_memory_and_what_follows_is_read() {
        let mut place = Place::default();
        for _ in 0..20 {
            assert!(place.take(&vec![b'a'; 1 << 20]).is_empty());
            assert!(place.rest.len() <= LONGEST);
        }
        let then = place.take(b"\n2026-01-01T00:00:03Z {\"seq\":9}\n");
        assert_eq!(then, ["{\"seq\":9}"]);
    }

    #[test]
    fn a_time_that_is_none_does_not_come_into_a_url() {
        let mut place = Place::default();
        place.take(b"2026&follow=x {\"seq\":1}\n");
        assert!(!place.path("/pods", "p", true).contains("sinceTime"));
    }
}
