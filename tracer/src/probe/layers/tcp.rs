//! TCP: each address is connected to.

use std::{collections::BTreeSet, io, time::Duration};

use super::{report, took};
use crate::{
    model::{AttemptReport, Layer, LayerReport, LayerResult, LayerTest, Outcome},
    probe::target::{Destination, Role},
    words,
};

/// One attempt to connect, and what the trace has seen of it.
#[derive(Debug, Clone)]
pub(crate) struct Tried {
    pub(crate) to: Destination,
    /// The command that asks the like.
    pub(crate) test: String,
    pub(crate) took: Duration,
    /// How it failed.
    pub(crate) error: Option<io::ErrorKind>,
    pub(crate) attempt: Option<AttemptReport>,
}

impl Tried {
    pub(crate) fn is_connected(&self) -> bool {
        self.error.is_none()
    }

    fn test(&self) -> LayerTest {
        let result = match self.error {
            None => LayerResult::Ok,
            Some(_) => LayerResult::Failed,
        };
        let verdict = self.attempt.as_ref().and_then(|one| one.verdict.clone());
        LayerTest {
            test: self.test.clone(),
            result,
            evidence: Some(format!("{}: {}", self.name(), self.outcome())),
            verdict: verdict.filter(|_| self.error.is_some()),
        }
    }

    fn name(&self) -> String {
        self.to
            .name
            .clone()
            .unwrap_or_else(|| self.to.socket.to_string())
    }

    /// What became of it, with figures.
    fn outcome(&self) -> String {
        let Some(error) = self.error else {
            let hops = self.attempt.iter().flat_map(|one| &one.hops);
            let interfaces: BTreeSet<_> = hops.map(|hop| (hop.netns, &hop.ifname)).collect();
            let seen = match interfaces.len() as u64 {
                0 => String::new(),
                seen => format!(", through {}", words::count(seen, "interface")),
            };
            let by = self.attempt.as_ref().and_then(|one| one.translated);
            let by = by.and_then(|flow| Some(format!("{}:{}", flow.dst, flow.dport?)));
            let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
            return format!("answered{by} after {}{seen}", took(self.took));
        };
        match &self.attempt {
            Some(attempt) => {
                let by = attempt.by.as_ref().map(|by| format!(" by {by}"));
                let by = by.unwrap_or_default();
                let time = match attempt.outcome {
                    Outcome::Unanswered => format!(
                        ", {} in {} ms",
                        words::count(attempt.syns, "SYN"),
                        attempt.waited_ms
                    ),
                    _ => format!(" after {}", took(self.took)),
                };
                format!("{}{by}{time}", attempt.outcome.name())
            }
            None => format!(
                "{} after {}, and no SYN was seen",
                words_of(error),
                took(self.took)
            ),
        }
    }
}

fn words_of(error: io::ErrorKind) -> String {
    match error {
        io::ErrorKind::TimedOut => "unanswered".to_owned(),
        other => other.to_string(),
    }
}

/// The layer; `not_ready` names endpoints that are not asked.
pub(crate) fn layer(tried: &[Tried], left_out: usize, not_ready: &[String]) -> LayerReport {
    let connected = tried.iter().filter(|one| one.is_connected()).count();
    let several = tried.len() > 1 || left_out > 0 || !not_ready.is_empty();
    let mut evidence = several.then(|| {
        let behind = tried.iter().filter(|one| one.to.role == Role::Endpoint);
        let (all, up) = behind.fold((0, 0), |(all, up), one| {
            (all + 1, up + usize::from(one.is_connected()))
        });
        match all {
            0 => format!("{connected} of {} addresses answered", tried.len()),
            _ => format!(
                "{up} of {} answered directly",
                words::counted(all, "endpoint", "endpoints")
            ),
        }
    });
    if let Some(evidence) = &mut evidence {
        if left_out > 0 {
            *evidence += &format!("; {left_out} more were not asked");
        }
        if !not_ready.is_empty() {
            *evidence += &format!("; not ready, and not asked: {}", not_ready.join(", "));
        }
    }
    report(
        Layer::Tcp,
        tried.iter().map(Tried::test).collect(),
        evidence,
    )
}
