//! The end of a run: the traces are ordered to end, and waited for; the Jobs are deleted.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::time::sleep;

use super::Run;
use crate::{command::ending::Signals, sink};

/// How long after its order a trace may take to end.
const TO_END: Duration = Duration::from_secs(6);
/// How long after that its log is read.
const TO_READ: Duration = Duration::from_secs(6);
/// How long the Jobs may take to be deleted before that is said.
const TO_DELETE: Duration = Duration::from_secs(2);
/// How much longer than `--duration` the traces may take.
const SLACK: Duration = Duration::from_secs(60);
impl Run<'_> {
    /// Orders the traces to end.
    pub(super) fn end(&mut self) {
        self.ending = Some(Instant::now());
        self.to_stream.clear();
        self.ends.send_replace(true);
        for index in 0..self.jobs.len() {
            // What does not run yet has seen nothing.
            let job = &self.jobs[index];
            let runs = job.pod.is_some() && job.upload.has_arrived();
            if !runs {
                self.traces[index].fail("it was not tracing yet");
            }
            // The pod gets SIGTERM, and its log is read up to its end.
            if !runs || !self.session.attach {
                self.delete(index);
            }
        }
    }

    /// Does not wait for ever.
    pub(super) fn hurry(&mut self, begun: Instant) {
        let Some(ending) = self.ending else {
            let longest = self.config.duration.map(|duration| duration + SLACK);
            if longest.is_some_and(|longest| begun.elapsed() > longest) {
                self.end();
            }
            return;
        };
        if ending.elapsed() > TO_END + TO_READ {
            for trace in &mut self.traces {
                trace.fail("its end did not come");
            }
        } else if ending.elapsed() > TO_END {
            for index in 0..self.jobs.len() {
                if !self.traces[index].is_over {
                    self.delete(index);
                }
            }
        }
    }

    /// Deletes all Jobs. A signal ends that at once; one that came before, while the traces were waited for,
    /// leaves only a little time for it.
    pub(in super::super) async fn clean_up(&mut self, signals: &mut Signals) {
        self.tasks.abort_all();
        let all = 0..self.jobs.len();
        all.for_each(|index| self.delete(index));
        let jobs = self.jobs.iter_mut().chain(&mut self.replaced);
        let mut deletions = pin!(join_all(jobs.filter_map(|job| job.deletion.take())));
        tokio::select! {
            _ = &mut deletions => return,
            () = signals.any() => {}
            () = sleep(TO_DELETE) => {
                if !self.is_hurried {
                    sink::note(
                        "waiting for the API server to delete the Jobs; Ctrl-C: without waiting for it",
                    );
                    tokio::select! {
                        _ = &mut deletions => return,
                        () = signals.any() => {}
                    }
                }
            }
        }
        sink::note(&format!(
            "not waiting until the Jobs are deleted: `kubectl delete jobs -n {} -l {}` deletes what is left",
            self.session.namespace,
            self.session.selector()
        ));
    }
}
