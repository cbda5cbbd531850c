//! Connection attempts: what their records must say, and a trace that is held to it.
//!
//! A [`Lookout`] is one trace. Healthy and broken attempts are made beside it; each must be told
//! once, as expected, and at the end nothing else must have been told.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    DEADLINE,
    lab::Namespace,
    record::{Attempt, Dns, Flow as RecordedFlow, Hop, Record, Verdict},
    tracer::{Trace, Tracer, watching},
    traffic::{Flow, Outcome, TcpAttempt, upload, wait_until_closed},
};

/// Places on the way of a packet: the namespace's inode, and `<interface> in` or `… out`.
pub type Ladder = Vec<(u32, String)>;

/// A ladder, namespace by namespace; each with its places in order, separated by commas.
pub fn ladder(parts: &[(&Namespace, &str)]) -> Ladder {
    let places = parts.iter().flat_map(|(namespace, places)| {
        let places = places.split(',').map(str::trim);
        places.map(|place| (namespace.inode(), place.to_owned()))
    });
    places.collect()
}

/// The encapsulating packet: source, destination, destination port.
type Outer = (IpAddr, IpAddr, u16);

/// How sure a verdict must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Confidence {
    /// As said.
    Is(&'static str),
    /// As sure as the drop that it comes from: a drop record has the same verdict.
    OfDrop,
}

/// What the record of an attempt must say. What is not asked for must not be there, except for
/// `by`, the number of packets, and sentences.
#[derive(Debug, Clone)]
pub struct Expected {
    outcome: &'static str,
    corrects: Option<&'static str>,
    verdict: Option<(&'static str, Confidence)>,
    hops: Ladder,
    reply_hops: Ladder,
    outer: Option<(&'static str, Outer)>,
    translated: Option<(IpAddr, u16)>,
    by: Option<String>,
    why: Vec<String>,
    evidence: Vec<String>,
    syns: Option<u64>,
    dns: Option<Dns>,
}

impl Expected {
    fn new(outcome: &'static str, verdict: Option<(&'static str, Confidence)>) -> Self {
        Self {
            outcome,
            corrects: None,
            verdict,
            hops: Ladder::new(),
            reply_hops: Ladder::new(),
            outer: None,
            translated: None,
            by: None,
            why: Vec::new(),
            evidence: Vec::new(),
            syns: None,
            dns: None,
        }
    }

    /// It was answered: no verdict.
    pub fn answered() -> Self {
        Self::new("answered", None)
    }

    /// This outcome, with a verdict of this point and confidence.
    pub fn failed(outcome: &'static str, point: &'static str, confidence: &'static str) -> Self {
        Self::new(outcome, Some((point, Confidence::Is(confidence))))
    }

    /// This outcome, with the verdict of a drop that was seen, of this point.
    pub fn dropped(outcome: &'static str, point: &'static str) -> Self {
        Self::new(outcome, Some((point, Confidence::OfDrop)))
    }

    /// … after an earlier record said otherwise.
    pub fn corrects(self, outcome: &'static str) -> Self {
        Self {
            corrects: Some(outcome),
            ..self
        }
    }

    /// … with these hops of the SYN or query.
    pub fn hops(self, parts: &[(&Namespace, &str)]) -> Self {
        Self {
            hops: ladder(parts),
            ..self
        }
    }

    /// … with these hops of what came back.
    pub fn reply_hops(self, parts: &[(&Namespace, &str)]) -> Self {
        Self {
            reply_hops: ladder(parts),
            ..self
        }
    }

    /// … inside a packet between these addresses at hops of this interface, and at no other.
    pub fn inside(self, ifname: &'static str, src: IpAddr, dst: IpAddr, port: u16) -> Self {
        Self {
            outer: Some((ifname, (src, dst, port))),
            ..self
        }
    }

    /// … with another destination at the last hop than at the first.
    pub fn translated(self, dst: SocketAddr) -> Self {
        Self {
            translated: Some((dst.ip(), dst.port())),
            ..self
        }
    }

    /// … by somebody whose name contains this.
    pub fn by(self, by: impl Into<String>) -> Self {
        Self {
            by: Some(by.into()),
            ..self
        }
    }

    /// … with these words in the sentence that gives the reason.
    pub fn why(mut self, words: impl Into<String>) -> Self {
        self.why.push(words.into());
        self
    }

    /// … with these words in one sentence of the evidence.
    pub fn evidence(mut self, words: impl Into<String>) -> Self {
        self.evidence.push(words.into());
        self
    }

    /// … with so many SYNs or queries.
    pub fn syns(self, syns: u64) -> Self {
        Self {
            syns: Some(syns),
            ..self
        }
    }

    /// … with this question, and this code in the answer.
    pub fn dns(self, question: &str, qtype: &str, rcode: Option<&str>) -> Self {
        Self {
            dns: Some(Dns {
                question: question.to_owned(),
                qtype: qtype.to_owned(),
                rcode: rcode.map(str::to_owned),
            }),
            ..self
        }
    }

    /// What does not fit, a sentence each.
    fn mismatches(&self, attempt: &Attempt) -> Vec<String> {
        let verdict = attempt.verdict.as_ref();
        let point = verdict.map(|verdict| verdict.point.as_str());
        let confidence = verdict.map(|verdict| verdict.confidence.as_str());
        let translated = attempt
            .translated
            .as_ref()
            .map(|flow| (flow.dst, flow.dport.unwrap_or_default()));
        let mut wrong: Vec<String> = [
            differs("outcome", &attempt.outcome.as_str(), &self.outcome),
            differs("corrects", &attempt.corrects.as_deref(), &self.corrects),
            differs("point", &point, &self.verdict.map(|(point, _)| point)),
            match self.verdict {
                Some((_, Confidence::Is(should))) => {
                    differs("confidence", &confidence, &Some(should))
                }
                _ => None,
            },
            differs("hops", &places(&attempt.hops), &self.hops),
            differs("reply_hops", &places(&attempt.reply_hops), &self.reply_hops),
            self.translated
                .and_then(|_| differs("translated", &translated, &self.translated)),
            self.syns
                .and_then(|syns| differs("syns", &attempt.syns, &syns)),
            differs("dns", &attempt.dns, &self.dns),
        ]
        .into_iter()
        .flatten()
        .collect();
        wrong.extend(attempt.hops.iter().filter_map(|hop| self.wrong_outer(hop)));
        if let Some(words) = &self.by
            && !attempt.by.as_ref().is_some_and(|by| by.contains(words))
        {
            wrong.push(format!("by is {:?} and should name {words}", attempt.by));
        }
        wrong.extend(
            verdict
                .into_iter()
                .flat_map(|verdict| self.missing_words(verdict)),
        );
        wrong.extend(out_of_order(&attempt.hops));
        wrong.extend(out_of_order(&attempt.reply_hops));
        wrong
    }

    fn wrong_outer(&self, hop: &Hop) -> Option<String> {
        let is = hop
            .outer
            .as_ref()
            .map(|outer| (outer.src, outer.dst, outer.dport.unwrap_or_default()));
        let should = self
            .outer
            .filter(|(ifname, _)| hop.ifname == *ifname)
            .map(|(_, outer)| outer);
        differs(&format!("outer at {hop}"), &is, &should)
    }

    fn missing_words(&self, verdict: &Verdict) -> Vec<String> {
        let why = self
            .why
            .iter()
            .filter(|words| !verdict.why.contains(*words));
        let evidence = self.evidence.iter().filter(|words| {
            let mut sentences = verdict.evidence.iter();
            !sentences.any(|sentence| sentence.contains(*words))
        });
        why.map(|words| format!("why does not say {words:?}"))
            .chain(evidence.map(|words| format!("no evidence says {words:?}")))
            .collect()
    }
}

fn places(hops: &[Hop]) -> Ladder {
    let places = hops
        .iter()
        .map(|hop| (hop.netns, format!("{} {}", hop.ifname, hop.dir)));
    places.collect()
}

fn out_of_order(hops: &[Hop]) -> Option<String> {
    (!hops.is_sorted_by_key(|hop| hop.at_us)).then(|| "hops out of order".to_owned())
}

fn differs<T: PartialEq + std::fmt::Debug>(key: &str, is: &T, should: &T) -> Option<String> {
    (is != should).then(|| format!("{key} is {is:?} and should be {should:?}"))
}

/// A trace whose attempts are all expected.
pub struct Lookout {
    tracer: Tracer,
    /// Places among the records of those that were expected.
    told: Vec<usize>,
}

impl Lookout {
    /// Starts a trace of some namespaces.
    pub fn start<S: ToString>(
        watched: &[&Namespace],
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Self> {
        let mut all = watching(watched);
        all.extend(arguments.into_iter().map(|argument| argument.to_string()));
        Ok(Self {
            tracer: Tracer::start(all)?,
            told: Vec::new(),
        })
    }

    /// The trace.
    pub fn tracer(&mut self) -> &mut Tracer {
        &mut self.tracer
    }

    /// Waits for the next record of an attempt, which must be as expected.
    pub fn expect(&mut self, flow: Flow, expected: &Expected) -> Result<()> {
        let recorded = RecordedFlow::from(flow);
        let mut index = 0;
        let told = self.told.clone();
        self.tracer
            .wait_for(&format!("the fate of {flow}"), |record| {
                let fits = record
                    .as_attempt()
                    .is_some_and(|attempt| attempt.flow == recorded && !told.contains(&index));
                index += usize::from(!fits);
                fits
            })
            .with_context(|| format!("expected {expected:?}"))?;
        self.told.push(index);
        let (arrival, record) = self
            .tracer
            .arrivals()
            .nth(index)
            .context("the record that was waited for")?;
        let attempt = record.as_attempt().context("an attempt")?;
        let mismatches = expected.mismatches(attempt);
        ensure!(
            mismatches.is_empty(),
            "{}, in\n  {attempt}",
            mismatches.join(", ")
        );
        let attempt = attempt.clone();
        if let Some((_, Confidence::OfDrop)) = expected.verdict {
            self.expect_drop_behind(&attempt)?;
        }
        if let Ok(first) = humantime::parse_rfc3339(&attempt.ts)
            && let Ok(after) = arrival.duration_since(first)
        {
            let point = attempt
                .verdict
                .as_ref()
                .map_or("-", |verdict| &verdict.point);
            let outcome = &attempt.outcome;
            println!("figure: {outcome} ({point}) was told {after:.0?} after the first packet");
        }
        Ok(())
    }

    /// Waits for the drop that the verdict on an attempt comes from.
    fn expect_drop_behind(&mut self, attempt: &Attempt) -> Result<()> {
        let verdict = attempt.verdict.as_ref().context("a verdict")?;
        let same = |record: &Record| {
            record.as_drop().is_some_and(|drop| {
                let known = &drop.verdict;
                (&known.point, &known.confidence, &known.why)
                    == (&verdict.point, &verdict.confidence, &verdict.why)
            })
        };
        let what = format!("the drop behind\n  {attempt}");
        self.tracer.wait_for(&what, same).map(drop)
    }

    /// Connects, holds a conversation with the echo server on `server` that must succeed, and waits
    /// for its record.
    pub fn healthy(
        &mut self,
        client: &Namespace,
        server: &Namespace,
        peer: SocketAddr,
        expected: &Expected,
    ) -> Result<()> {
        let attempt = TcpAttempt::start(client, None, peer)?;
        let flow = attempt.flow();
        let Outcome::Connected(connection) = attempt.outcome(DEADLINE)? else {
            bail!("no connection to {peer} while all was well");
        };
        let port = connection.local_addr()?.port();
        ensure!(upload(connection, 100, DEADLINE)?, "the transfer stalled");
        // Its last packets must be through before the fault strikes.
        wait_until_closed(server, port)?;
        self.expect(flow, expected).context("while all was well")
    }

    /// Begins a connection that the fault strikes, and waits for its record.
    pub fn broken(
        &mut self,
        client: &Namespace,
        peer: SocketAddr,
        expected: &Expected,
    ) -> Result<TcpAttempt> {
        let attempt = TcpAttempt::start(client, None, peer)?;
        self.expect(attempt.flow(), expected)?;
        Ok(attempt)
    }

    /// The same, and the client must hear nothing.
    pub fn silent(
        &mut self,
        client: &Namespace,
        peer: SocketAddr,
        expected: &Expected,
    ) -> Result<()> {
        match self
            .broken(client, peer, expected)?
            .outcome(Duration::ZERO)?
        {
            Outcome::Silent => Ok(()),
            other => bail!("the client was to wait in vain, but: {other:?}"),
        }
    }

    /// Ends the trace: nothing was told but what was expected, and nothing was missed.
    pub fn finish(self) -> Result<Trace> {
        let figures: Vec<Duration> = self
            .tracer
            .arrivals()
            .filter_map(|(arrival, record)| {
                let dropped = humantime::parse_rfc3339(&record.as_drop()?.ts).ok()?;
                arrival.duration_since(dropped).ok()
            })
            .collect();
        if let Some(longest) = figures.iter().max() {
            let count = figures.len();
            println!("figure: {count} drop records, each told within {longest:.0?} of the drop");
        }
        let told = self.told;
        let trace = self.tracer.stop()?;
        for (index, record) in trace.records.iter().enumerate() {
            if let Record::Attempt(attempt) = record {
                ensure!(told.contains(&index), "not expected:\n  {attempt}");
            }
        }
        let summary = &trace.summary;
        let corrections = trace
            .attempts()
            .filter(|attempt| attempt.corrects.is_some());
        let counted: u64 = summary.attempts.values().sum();
        ensure!(
            counted == (told.len() - corrections.count()) as u64
                && summary.lost == 0
                && summary.untracked == 0,
            "{} records, but {summary:?}",
            told.len()
        );
        Ok(trace)
    }
}
