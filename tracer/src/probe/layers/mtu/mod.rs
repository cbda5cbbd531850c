//! MTU: the largest packet that passes there and back.

mod black_hole;
mod search;

use std::net::{IpAddr, SocketAddr};

pub(crate) use self::search::{Found, Next, SMALL, Search};

use super::{report, took, without};
use crate::{
    model::{
        Confidence, DropReport, Layer, LayerReport, LayerResult, LayerTest, Netns, Point, Verdict,
    },
    probe::plan::command::{ping_to, segment_to},
};

/// What is sent to find the largest size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// Echo requests, whose replies are as large.
    Echo,
    /// Segments of a TCP connection, where echo requests are not answered.
    Segments,
}

/// One address, and what was found on the way to it.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    pub(crate) to: SocketAddr,
    /// What was sent.
    pub(crate) by: By,
    /// The interface that packets leave the source by.
    pub(crate) ifname: Option<String>,
    pub(crate) found: Result<Found, String>,
    /// The verdict of the trace on a packet of the search that was dropped.
    pub(crate) dropped: Option<Verdict>,
    /// A dropped "fragmentation needed" about a packet of the search.
    pub(crate) silenced: Option<DropReport>,
    /// What was too narrow for a packet of the search, if it is an end of a veth pair.
    pub(crate) narrow: Option<Narrow>,
    /// The peer has reset the connection before the search was done.
    pub(crate) is_reset: bool,
    /// Whether TCP reached the address.
    pub(crate) reached: bool,
    /// Where the source is.
    pub(crate) source: Netns,
}

/// An end of a veth pair, whose other end has a larger MTU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Narrow {
    /// Its name, with its namespace if that is not the source's.
    pub(crate) name: String,
    pub(crate) mtu: u32,
}

/// The layer.
pub(crate) fn layer(paths: &[Path]) -> LayerReport {
    if paths.is_empty() {
        let reason = "no address to send to";
        return without(Layer::Mtu, LayerResult::Blocked, "", reason);
    }
    report(Layer::Mtu, paths.iter().map(Path::test).collect(), None)
}

/// What says that a packet is too large, in words.
fn too_big(dst: IpAddr) -> &'static str {
    match dst {
        IpAddr::V4(_) => "\"fragmentation needed\"",
        IpAddr::V6(_) => "\"packet too big\"",
    }
}

/// Whether a verdict of the trace is more than a guess.
fn is_sure(verdict: &Verdict) -> bool {
    verdict.point != Point::Unknown && verdict.confidence >= Confidence::Likely
}

fn is_of_rules(verdict: &Verdict) -> bool {
    matches!(verdict.point, Point::Firewall | Point::Policy)
}

impl Path {
    /// The verdict on a rule that drops large packets, or the errors about them.
    pub(crate) fn filtered(&self) -> Option<Verdict> {
        let silenced = self.silenced.as_ref();
        let by_rule =
            silenced.is_some_and(|drop| drop.hook.is_some() || is_of_rules(&drop.verdict));
        let found = self.test().verdict;
        found.filter(|found| by_rule || is_of_rules(found))
    }

    /// The command that sends a packet of this size.
    fn command(&self, size: u32) -> String {
        let command = match self.by {
            By::Echo => ping_to(self.to.ip(), size),
            By::Segments => segment_to(self.to, size),
        };
        self.source.there(&command)
    }

    fn test(&self) -> LayerTest {
        let plain = |size, result, evidence: String| LayerTest {
            test: self.command(size),
            result,
            evidence: Some(evidence),
            verdict: None,
        };
        let found = match &self.found {
            Ok(found) => found,
            Err(reason) => return plain(SMALL, LayerResult::Skipped, reason.clone()),
        };
        if self.is_reset {
            return self.reset(found);
        }
        let dst = self.to.ip();
        let Some(passes) = found.passes else {
            let (result, reason) = self.unanswered();
            return plain(SMALL, result, reason);
        };
        // The acknowledgment of a segment is small.
        let (pass, besides) = match self.by {
            By::Echo => (format!("pass to {dst} and back"), ""),
            By::Segments => (
                format!("pass to {} in TCP segments", self.to),
                "; echo requests are not answered",
            ),
        };
        let rtt = found
            .fastest
            .map(|rtt| format!(", round trip {}", took(rtt)));
        let rtt = rtt.unwrap_or_default();
        let Some(fails) = found.fails else {
            let by = self
                .ifname
                .as_ref()
                .map(|ifname| format!(", the MTU of {ifname},"));
            let by = by.unwrap_or_default();
            return plain(
                passes,
                LayerResult::Ok,
                format!("{passes} bytes{by} {pass}{rtt}{besides}"),
            );
        };
        if !found.is_steady {
            let text = format!(
                "{passes} bytes pass to {dst} one time and not the next, or {fails} do: packets are lost \
                 for another reason than their size"
            );
            return plain(passes, LayerResult::Skipped, text);
        }
        match found.reported {
            Some((by, mtu)) if found.is_reported() => plain(
                passes,
                LayerResult::Ok,
                format!(
                    "{passes} bytes pass to {dst}; {by} answers {}, MTU {mtu}, to larger ones{rtt}{besides}",
                    too_big(dst)
                ),
            ),
            _ => {
                let narrow = self.narrow.as_ref();
                let narrow = narrow.map(|narrow| {
                    format!(
                        ": {} has an MTU of {}, and a veth pair lets {} more pass",
                        narrow.name,
                        narrow.mtu,
                        passes - narrow.mtu
                    )
                });
                let narrow = narrow.unwrap_or_default();
                LayerTest {
                    test: self.command(fails),
                    result: LayerResult::Failed,
                    evidence: Some(format!(
                        "{passes} bytes {pass}, {fails} do not{narrow}{besides}"
                    )),
                    verdict: Some(self.black_hole(found, passes, fails)),
                }
            }
        }
    }

    /// The connection is gone, so what came back for the last sizes says nothing of them.
    fn reset(&self, found: &Found) -> LayerTest {
        let segments = crate::words::count(found.sent.into(), "segment");
        let by_rule = self.dropped.clone();
        let verdict = by_rule.filter(|found| is_sure(found) && is_of_rules(found));
        LayerTest {
            test: self.command(found.passes.unwrap_or(SMALL)),
            result: match verdict {
                Some(_) => LayerResult::Failed,
                None => LayerResult::Skipped,
            },
            evidence: Some(format!(
                "the connection to {} was reset after {segments}, so sizes cannot be compared; echo \
                 requests are not answered",
                self.to
            )),
            verdict,
        }
    }

    /// Not even the smallest size is answered. Where TCP reaches the address, segments were tried, too.
    fn unanswered(&self) -> (LayerResult, String) {
        let dst = self.to.ip();
        match self.reached {
            true => (
                LayerResult::Skipped,
                format!(
                    "{dst} answers no echo request of {SMALL} bytes and acknowledges no segment that it \
                     has had, so sizes cannot be compared"
                ),
            ),
            false => (
                LayerResult::Blocked,
                format!("{dst} answers neither TCP nor an echo request of {SMALL} bytes"),
            ),
        }
    }
}
