//! The log of one pod: followed, and resumed where it broke off, without a lost or a doubled record.

mod place;

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc::Sender,
    time::{sleep, timeout},
};

use self::place::Place;
use super::upload::Upload;
use crate::{
    cluster::source::api::client::{Client, RequestError},
    report::record,
};

/// How long a log may be silent: a trace sends a tick every five seconds.
const SILENCE: Duration = Duration::from_secs(20);
/// How long after a failed upload a pod's end may come to be known.
const LATE: Duration = Duration::from_secs(5);
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
    /// There will be no more.
    Ended(End),
}

/// Why there will be no more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The trace has ended well.
    InOrder,
    /// It has ended with this status.
    Status(i64),
    /// It has ended, and the rest of the log cannot be read.
    Unread(String),
    /// Its pod is gone.
    Gone,
    /// The program was to be streamed into the pod, and did not get there.
    NotStreamed(String),
}

impl End {
    /// In words, unless all is well.
    pub(super) fn in_words(&self) -> Option<String> {
        Some(match self {
            Self::InOrder => return None,
            Self::Status(code) => format!("it ended with status {code}"),
            Self::Unread(why) => format!("the end of its log cannot be read: {why}"),
            Self::Gone => "its pod is gone".to_owned(),
            Self::NotStreamed(why) => format!("whydrop cannot be streamed into its pod: {why}"),
        })
    }
}

/// What is to be read, and for whom.
pub(super) struct Source {
    pub(super) client: Arc<Client>,
    /// The path of the namespace's pods.
    pub(super) pods: String,
    pub(super) pod: String,
    pub(super) node: usize,
    pub(super) upload: Upload,
    pub(super) events: Sender<(usize, Event)>,
}

/// Reads a pod's log to its end.
pub(super) async fn follow(source: Source) {
    let mut log = Log {
        source,
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
    source: Source,
    place: Place,
    /// Why it broke off, as it was said.
    broken: Vec<String>,
}

impl Log {
    async fn follow(&mut self) -> Result<(), Unwanted> {
        let mut pause = AGAIN.0;
        let mut failed = None;
        loop {
            let before = self.place.seq();
            let failure = self.source.upload.failure();
            let broken = self.read(failure.is_none()).await?;
            self.place.broke_off();
            // Also an end may be a connection that was cut.
            match self.state().await {
                Ok(State::Ended(code)) => {
                    let rest = self.read(false).await?;
                    let end = match (rest, broken) {
                        (Some(why), Some(_)) => End::Unread(why),
                        _ if code != 0 => End::Status(code),
                        _ => End::InOrder,
                    };
                    return self.send(Event::Ended(end)).await;
                }
                Ok(State::Gone) => return self.send(Event::Ended(End::Gone)).await,
                Ok(State::Running) => {}
                Err(error) => log::debug!("{}: {error}", self.source.pod),
            }
            // What ended the upload may be the end of the pod, which its state shows a little later.
            if let Some(why) = failure
                && failed.get_or_insert_with(Instant::now).elapsed() > LATE
            {
                let end = broken.map_or(End::NotStreamed(why), End::Unread);
                return self.send(Event::Ended(end)).await;
            }
            // A log that has ended may be ahead of its pod's state; and that of a pod without its program
            // has nothing that could be missed.
            if let Some(why) = broken
                && self.source.upload.has_arrived()
                && !self.broken.contains(&why)
                && self.broken.len() < REASONS
            {
                self.broken.push(why.clone());
                self.send(Event::Broken(why)).await?;
            }
            if self.place.seq() > before {
                pause = AGAIN.0;
            }
            sleep(pause).await;
            pause = (pause * 2).min(AGAIN.1);
        }
    }

    /// Reads until the log ends, or breaks off: why.
    async fn read(&mut self, follow: bool) -> Result<Option<String>, Unwanted> {
        let Source {
            client, pods, pod, ..
        } = &self.source;
        let path = self.place.path(pods, pod, follow);
        let mut stream = match client.stream(&path).await {
            Ok(stream) => stream,
            Err(error) => return Ok(Some(error.to_string())),
        };
        let upload = self.source.upload.clone();
        loop {
            let bytes = match next(&upload, stream.next()).await {
                Next::Bytes(Some(Ok(bytes))) => bytes,
                Next::Bytes(Some(Err(error))) => return Ok(Some(error.to_string())),
                Next::Bytes(None) => return Ok(None),
                Next::NotStreamed => return Ok(None),
                Next::Silence => {
                    return Ok(Some(format!("nothing came for {} s", SILENCE.as_secs())));
                }
            };
            for line in self.place.take(&bytes) {
                if record::number(&line).is_some() {
                    upload.arrives();
                }
                if !std::mem::take(&mut self.broken).is_empty() {
                    self.send(Event::Resumed).await?;
                }
                self.send(Event::Line(line)).await?;
            }
        }
    }

    async fn send(&self, event: Event) -> Result<(), Unwanted> {
        let sent = self.source.events.send((self.source.node, event)).await;
        sent.map_err(|_| Unwanted)
    }

    async fn state(&self) -> Result<State, RequestError> {
        let path = format!("{}/{}", self.source.pods, self.source.pod);
        let found = match self.source.client.get(&path).await {
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

/// What comes next in a log.
#[derive(Debug, PartialEq)]
enum Next<T> {
    Bytes(T),
    /// Nothing, for longer than a trace is ever silent.
    Silence,
    /// Nothing, since the program that should write it has not come.
    NotStreamed,
}

/// Waits for what comes next. As long as the program is on its way, silence means nothing.
async fn next<T>(upload: &Upload, read: impl Future<Output = T>) -> Next<T> {
    let mut read = pin!(read);
    if upload.is_on_its_way() {
        tokio::select! {
            bytes = &mut read => return Next::Bytes(bytes),
            () = upload.decided() => {}
        }
        if upload.failure().is_some() {
            return Next::NotStreamed;
        }
    }
    match timeout(SILENCE, read).await {
        Ok(bytes) => Next::Bytes(bytes),
        Err(_) => Next::Silence,
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

    #[tokio::test(start_paused = true)]
    async fn silence_means_nothing_until_the_program_has_come() {
        let silent = std::future::pending::<()>;
        let upload = Upload::new(true);
        let waited = timeout(SILENCE * 100, next(&upload, silent())).await;
        assert!(waited.is_err(), "{waited:?}");
        upload.arrives();
        assert_eq!(next(&upload, silent()).await, Next::Silence);

        let upload = Upload::new(true);
        upload.fail("the connection was closed");
        assert_eq!(next(&upload, silent()).await, Next::Silence);
        let upload = Upload::new(true);
        let fails = async {
            sleep(SILENCE * 2).await;
            upload.fail("the connection was closed");
        };
        let (next, ()) = tokio::join!(next(&upload, silent()), fails);
        assert_eq!(next, Next::NotStreamed);
    }
}
