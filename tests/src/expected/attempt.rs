//! The attempt record that a scenario must bring about.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};

use super::{ExpectedVerdict, differs};
use crate::{
    lab::Namespace,
    record::{Attempt, Direction, Dns, Hop, Outcome, shown},
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

/// What the record of an attempt must say. What is not asked for must not be there, except for
/// `by`, the number of packets, and sentences.
#[derive(Debug, Clone)]
pub struct ExpectedAttempt {
    outcome: &'static str,
    corrects: Option<&'static str>,
    verdict: Option<ExpectedVerdict>,
    of_drop: bool,
    hops: Ladder,
    reply_hops: Ladder,
    outer: Option<(&'static str, Outer)>,
    translated: Option<(IpAddr, u16)>,
    by: Option<String>,
    syns: Option<u64>,
    dns: Option<Dns>,
}

impl ExpectedAttempt {
    fn new(outcome: &'static str, verdict: Option<ExpectedVerdict>) -> Self {
        Self {
            outcome,
            corrects: None,
            verdict,
            of_drop: false,
            hops: Ladder::new(),
            reply_hops: Ladder::new(),
            outer: None,
            translated: None,
            by: None,
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
        let verdict = ExpectedVerdict::any_of([point]);
        Self::new(
            outcome,
            Some(verdict.at_least(confidence).at_most(confidence)),
        )
    }

    /// This outcome, with the verdict of a drop that was seen, of this point.
    pub fn dropped(outcome: &'static str, point: &'static str) -> Self {
        Self {
            of_drop: true,
            ..Self::new(outcome, Some(ExpectedVerdict::any_of([point])))
        }
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

    /// … by a device or host whose name contains this.
    pub fn by(self, by: impl Into<String>) -> Self {
        Self {
            by: Some(by.into()),
            ..self
        }
    }

    /// Whether a drop record must have the same verdict.
    pub(crate) fn is_of_drop(&self) -> bool {
        self.of_drop
    }

    /// … with these words in the sentence that gives the reason.
    pub fn why(self, words: impl Into<String>) -> Self {
        self.judged(|verdict| verdict.why(words))
    }

    /// … with these words in one sentence of the evidence.
    pub fn evidence(self, words: impl Into<String>) -> Self {
        self.judged(|verdict| verdict.evidence(words))
    }

    /// … with more that its verdict must say.
    ///
    /// # Panics
    ///
    /// It has none.
    pub fn judged(self, more: impl FnOnce(ExpectedVerdict) -> ExpectedVerdict) -> Self {
        let verdict = self.verdict.expect("an answered attempt has no verdict");
        Self {
            verdict: Some(more(verdict)),
            ..self
        }
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
                // Which one, the client chooses.
                id: None,
                question: question.to_owned(),
                qtype: qtype.to_owned(),
                rcode: rcode.map(str::to_owned),
            }),
            ..self
        }
    }

    /// A record must be as expected.
    pub fn check(&self, record: &Attempt) -> Result<()> {
        let mismatches = self.mismatches(record);
        ensure!(
            mismatches.is_empty(),
            "{}, in\n  {}",
            mismatches.join(", "),
            shown(record)
        );
        Ok(())
    }

    /// What does not fit, a sentence each.
    pub(crate) fn mismatches(&self, attempt: &Attempt) -> Vec<String> {
        let translated = attempt
            .translated
            .as_ref()
            .map(|flow| (flow.dst, flow.dport.unwrap_or_default()));
        let mut wrong: Vec<String> = [
            differs("outcome", &attempt.outcome.name(), &self.outcome),
            differs(
                "corrects",
                &attempt.corrects.map(Outcome::name),
                &self.corrects,
            ),
            differs("hops", &places(&attempt.hops), &self.hops),
            differs("reply_hops", &places(&attempt.reply_hops), &self.reply_hops),
            self.translated
                .and_then(|_| differs("translated", &translated, &self.translated)),
            self.syns
                .and_then(|syns| differs("syns", &attempt.syns, &syns)),
            differs("dns", &without_id(attempt.dns.as_ref()), &self.dns),
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
        match (&attempt.verdict, &self.verdict) {
            (Some(is), Some(should)) => wrong.extend(should.mismatches(is)),
            (None, None) => {}
            (None, Some(_)) => wrong.push("there is no verdict".to_owned()),
            (Some(_), None) => wrong.push("there should be no verdict".to_owned()),
        }
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
        differs(&format!("outer at {}", place(hop)), &is, &should)
    }
}

fn places(hops: &[Hop]) -> Ladder {
    hops.iter().map(|hop| (hop.netns, place(hop))).collect()
}

fn place(hop: &Hop) -> String {
    let direction = match hop.dir {
        Direction::In => "in",
        Direction::Out => "out",
    };
    format!("{} {direction}", hop.ifname)
}

fn out_of_order(hops: &[Hop]) -> Option<String> {
    (!hops.is_sorted_by_key(|hop| hop.at_us)).then(|| "hops out of order".to_owned())
}

/// The client chooses the id.
fn without_id(dns: Option<&Dns>) -> Option<Dns> {
    dns.map(|dns| Dns {
        id: None,
        ..dns.clone()
    })
}
