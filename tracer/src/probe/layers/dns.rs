//! DNS: the walk of the resolver, each of its servers, and each endpoint behind them.

use std::{io, net::IpAddr, time::Duration};

use hickory_proto::op::ResponseCode;

use super::{report, took, verdict};
use crate::{
    decode::dns::rcode_name,
    model::{
        AttemptReport, Confidence, Dns, Fix, Layer, LayerReport, LayerResult, LayerTest, Point,
        Site, Verdict,
    },
    probe::{
        plan::{DnsPlan, MOST_ANSWERS},
        send::Reply,
        target::Destination,
    },
    words,
};

/// One query, and what the trace has seen of it.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) to: Destination,
    /// The command that asks the like.
    pub(crate) test: String,
    pub(crate) name: String,
    pub(crate) is_aaaa: bool,
    pub(crate) took: Duration,
    pub(crate) result: Result<Reply, io::ErrorKind>,
    pub(crate) attempt: Option<AttemptReport>,
}

/// All queries.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queries {
    /// Those of the resolver's walk, in order.
    pub(crate) walk: Vec<Query>,
    /// Those to further servers.
    pub(crate) servers: Vec<Query>,
    /// Those to the endpoints behind the servers.
    pub(crate) replicas: Vec<Query>,
}

impl Query {
    /// Whether a server has answered, whatever it says of the name.
    pub(crate) fn is_answered(&self) -> bool {
        self.result
            .as_ref()
            .is_ok_and(|reply| !is_failure(reply.code))
    }

    fn outcome(&self) -> String {
        match &self.result {
            Ok(reply) => {
                let count = reply.addresses.len();
                let has = match (reply.code, count) {
                    (ResponseCode::NoError, 0) => "NOERROR without an address".to_owned(),
                    (ResponseCode::NoError, count) => words::counted(count, "address", "addresses"),
                    (code, _) => name_of(code),
                };
                format!("{has} after {}", took(self.took))
            }
            Err(io::ErrorKind::TimedOut) => format!("unanswered after {}", took(self.took)),
            Err(error) => format!("{error} after {}", took(self.took)),
        }
    }

    /// Whether the answer has an address.
    pub(crate) fn has_address(&self) -> bool {
        let reply = self.result.as_ref();
        reply.is_ok_and(|reply| !reply.addresses.is_empty())
    }

    /// Whether it says that the name has no such address.
    fn has_no_address(&self) -> bool {
        self.is_answered() && !self.has_address()
    }

    fn verdict(&self) -> Option<Verdict> {
        match &self.result {
            Ok(reply) if is_failure(reply.code) => Some(verdict(
                "probe-dns-failure",
                Point::Dns,
                Confidence::Confirmed,
                format!(
                    "the DNS server {} answers {} to {}",
                    self.to.text(),
                    name_of(reply.code),
                    self.name
                ),
                self.to.socket.to_string(),
            )),
            Ok(_) => None,
            Err(_) => {
                let traced = self.attempt.as_ref().and_then(|one| one.verdict.clone());
                traced.or_else(|| {
                    Some(verdict(
                        "probe-dns-silent",
                        Point::Unknown,
                        Confidence::Possible,
                        format!("the DNS server {} does not answer", self.to.text()),
                        self.to.socket.to_string(),
                    ))
                })
            }
        }
    }

    /// Whether it agrees with the resolver's first server, where that one has `resolved` the name.
    fn agrees(&self, resolved: bool) -> bool {
        self.is_answered() && !(resolved && self.has_no_address())
    }

    /// The first server has addresses of this family for the name; this one denies that.
    fn denial(&self) -> Verdict {
        verdict(
            "probe-dns-differs",
            Point::Dns,
            Confidence::Confirmed,
            format!(
                "the DNS server {} has no address of {}, and the first one has",
                self.to.text(),
                self.name
            ),
            self.to.socket.to_string(),
        )
    }

    fn test(&self, resolved: bool) -> LayerTest {
        let is_ok = self.agrees(resolved);
        LayerTest {
            test: self.test.clone(),
            result: if is_ok {
                LayerResult::Ok
            } else {
                LayerResult::Failed
            },
            evidence: Some(format!("{}: {}", self.to.text(), self.outcome())),
            verdict: match (is_ok, self.is_answered()) {
                (true, _) => None,
                (false, true) => Some(self.denial()),
                (false, false) => self.verdict(),
            },
        }
    }
}

/// Answers that say nothing of the name: the server cannot or will not answer.
fn is_failure(code: ResponseCode) -> bool {
    Dns::is_refusal(&name_of(code))
}

fn name_of(code: ResponseCode) -> String {
    rcode_name(code.low())
}

impl Queries {
    /// The addresses that the resolver would return.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        let mut found = Vec::new();
        for query in self.walk.iter().chain(&self.servers) {
            for ip in query.result.iter().flat_map(|reply| &reply.addresses) {
                if !found.contains(ip) {
                    found.push(*ip);
                }
            }
        }
        found
    }

    /// The name that was answered with addresses.
    pub(crate) fn resolved(&self) -> Option<&str> {
        let found = self.walk.iter().find(|query| query.has_address());
        found.map(|query| query.name.as_str())
    }
}

/// The layer.
pub(crate) fn layer(plan: &DnsPlan, queries: &Queries) -> LayerReport {
    let mut tests = Vec::new();
    let resolved = queries.resolved().is_some();
    if let Some(walk) = walk_test(plan, queries) {
        tests.push(walk);
    }
    for query in queries.servers.iter().chain(&queries.replicas) {
        tests.push(query.test(resolved));
    }
    let mut evidence = tests.first().and_then(|test| test.evidence.clone());
    let all = queries.replicas.len();
    if let (Some(evidence), 1..) = (&mut evidence, all) {
        let up = queries
            .replicas
            .iter()
            .filter(|one| one.agrees(resolved))
            .count();
        *evidence += &format!(
            "; {up} of {} answer directly",
            words::counted(all, "DNS endpoint", "DNS endpoints")
        );
        if plan.left_out > 0 {
            *evidence += &format!(", {} more were not asked", plan.left_out);
        }
    }
    let not_ready: Vec<_> = plan.not_ready.iter().map(Destination::text).collect();
    if let (Some(evidence), false) = (&mut evidence, not_ready.is_empty()) {
        *evidence += &format!("; not ready, and not asked: {}", not_ready.join(", "));
    }
    report(Layer::Dns, tests, evidence)
}

/// What the resolver's walk comes to.
fn walk_test(plan: &DnsPlan, queries: &Queries) -> Option<LayerTest> {
    let walk = &queries.walk;
    let last = walk.last()?;
    let unanswered = walk.iter().find(|query| !query.is_answered());
    let resolved = queries.resolved();
    let sent = words::counted(walk.len(), "query", "queries");
    let cost: Duration = walk.iter().map(|query| query.took).sum();
    let found = walk
        .iter()
        .find(|query| resolved == Some(query.name.as_str()) && !query.has_no_address());
    let of_last = |query: &&Query| query.name == last.name && !query.is_aaaa;
    let decides = unanswered.or(found).or(walk.iter().rev().find(of_last));
    let command = decides.unwrap_or(last).test.clone();
    let counts = code_counts(walk);
    // A name with few dots is asked for in every search domain before it is asked for as it is.
    let of_others = |query: &&Query| resolved.is_some_and(|name| name != query.name);
    let in_vain = walk.iter().filter(of_others);
    let in_vain = in_vain.filter(|query| query.has_no_address()).count();
    let storm = plan.storm(walk.len(), in_vain);
    let (result, evidence, verdict) = match (unanswered, resolved) {
        (Some(query), _) => (
            LayerResult::Failed,
            format!("{sent}: {counts}; {}: {}", query.to.text(), query.outcome()),
            query.verdict(),
        ),
        (None, Some(name)) => {
            let all = queries.addresses();
            let mut found: Vec<_> = all
                .iter()
                .take(MOST_ANSWERS)
                .map(ToString::to_string)
                .collect();
            if all.len() > MOST_ANSWERS {
                found.push(format!("{} more", all.len() - MOST_ANSWERS));
            }
            let mut evidence = format!(
                "{name} is {} after {sent} ({counts}) in {}",
                found.join(", "),
                took(cost)
            );
            if let Some(storm) = &storm {
                evidence += &format!("; {storm}");
            }
            (LayerResult::Ok, evidence, None)
        }
        (None, None) => (
            LayerResult::Failed,
            format!("{sent}: {counts}"),
            Some(no_such_name(plan, walk)),
        ),
    };
    Some(LayerTest {
        test: command,
        result,
        evidence: Some(evidence),
        verdict,
    })
}

/// How often each code came, in order of appearance.
fn code_counts(walk: &[Query]) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for query in walk {
        let word = match &query.result {
            Ok(reply) if reply.code == ResponseCode::NoError && reply.addresses.is_empty() => {
                "NODATA".to_owned()
            }
            Ok(reply) => name_of(reply.code),
            Err(io::ErrorKind::TimedOut) => "unanswered".to_owned(),
            Err(error) => error.to_string(),
        };
        match counts.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1,
            None => counts.push((word, 1)),
        }
    }
    let counts: Vec<_> = counts
        .into_iter()
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    counts.join(", ")
}

fn no_such_name(plan: &DnsPlan, walk: &[Query]) -> Verdict {
    let names: Vec<&str> = {
        let mut names: Vec<_> = walk.iter().map(|query| query.name.as_str()).collect();
        names.dedup();
        names
    };
    let has_no_data = walk.iter().any(|query| {
        query
            .result
            .as_ref()
            .is_ok_and(|reply| reply.code == ResponseCode::NoError)
    });
    let what = match has_no_data {
        true => "exists, and has no address",
        false => "does not exist",
    };
    let mut found = verdict(
        "probe-dns-no-name",
        Point::Dns,
        Confidence::Confirmed,
        format!("{} {what}, says the DNS server", plan.name),
        plan.name.clone(),
    );
    found.evidence = vec![
        format!("asked for, in this order: {}", names.join(", ")),
        format!(
            "{}: {}, ndots:{}",
            plan.resolver.origin,
            match plan.resolver.search.as_slice() {
                [] => "no search list".to_owned(),
                search => format!("search {}", search.join(" ")),
            },
            plan.resolver.ndots
        ),
    ];
    found.fix =
        vec![Fix::advice("compare the name with `kubectl get services -A`").at(Site::Cluster)];
    found
}
