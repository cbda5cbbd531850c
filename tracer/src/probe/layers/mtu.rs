//! MTU: the largest packet that passes there and back.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use super::{report, took, verdict, without};
use crate::{
    model::{
        Confidence, Fix, Layer, LayerReport, LayerResult, LayerTest, Netns, Point, Site, Verdict,
        shell::Command,
    },
    probe::{plan::ping, send::Round},
};

/// How many sizes are tried at once.
const AT_ONCE: u32 = 8;
/// The size that passes wherever echo requests are answered.
pub(crate) const SMALL: u32 = 100;

/// The search for the largest size that passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Search {
    /// The MTU of the first link, the largest size that is tried.
    link: u32,
    /// The largest size that passed; 0 for none.
    passes: u32,
    /// The smallest size above it that did not.
    fails: Option<u32>,
    /// A router has said this, and it was tried.
    tried: BTreeSet<u32>,
    pub(crate) reported: Option<(IpAddr, u32)>,
    pub(crate) fastest: Option<Duration>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Try these sizes.
    Try(Vec<u32>),
    /// The answer is known, if it holds.
    Known,
}

impl Search {
    pub(crate) fn new(link: u32) -> Self {
        Self {
            link,
            passes: 0,
            fails: None,
            tried: BTreeSet::new(),
            reported: None,
            fastest: None,
        }
    }

    /// The sizes to try next.
    pub(crate) fn next(&mut self) -> Next {
        let Some(fails) = self.fails else {
            return match self.passes {
                0 => Next::Try(vec![SMALL, self.link, self.link]),
                _ => Next::Known,
            };
        };
        if self.passes == 0 || fails <= self.passes + 1 {
            return Next::Known;
        }
        // A router's word is tried first.
        if let Some((_, mtu)) = self.reported
            && (self.passes..fails).contains(&mtu)
            && self.tried.insert(mtu)
        {
            let both = [mtu, mtu + 1];
            let open = both
                .into_iter()
                .filter(|size| (self.passes + 1..fails).contains(size));
            let open: Vec<u32> = open.collect();
            if !open.is_empty() {
                return Next::Try(open);
            }
        }
        Next::Try(between(self.passes, fails))
    }

    /// Takes what came back.
    pub(crate) fn learn(&mut self, round: &Round) {
        if let Some((by, mtu)) = round.reported
            && self.reported.is_none_or(|(_, known)| mtu < known)
        {
            self.reported = Some((by, mtu));
        }
        self.fastest = self.fastest.or(round.fastest);
        if let Some(largest) = round.passed.last() {
            self.passes = self.passes.max(*largest);
        }
        let lost = round
            .lost
            .iter()
            .copied()
            .filter(|size| *size > self.passes);
        let known = self.fails.filter(|size| *size > self.passes);
        self.fails = lost.chain(known).min();
    }

    /// The sizes that confirm the answer: the one must pass, the other must not.
    pub(crate) fn confirmation(&self) -> Option<[u32; 2]> {
        Some([self.passes, self.fails?]).filter(|_| self.passes > 0)
    }

    pub(crate) fn found(&self, sent: u32) -> Found {
        Found {
            link: self.link,
            passes: (self.passes > 0).then_some(self.passes),
            fails: self.fails,
            reported: self.reported,
            fastest: self.fastest,
            sent,
            is_steady: true,
        }
    }
}

/// Sizes that divide what lies between two others.
fn between(low: u32, high: u32) -> Vec<u32> {
    let room = high - low;
    let parts = AT_ONCE + 1;
    let sizes = (1..parts).map(|part| low + room * part / parts);
    let sizes: BTreeSet<u32> = sizes.filter(|size| *size > low && *size < high).collect();
    match sizes.is_empty() {
        true => vec![low + 1],
        false => sizes.into_iter().collect(),
    }
}

/// What was found on the way to one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) link: u32,
    pub(crate) passes: Option<u32>,
    pub(crate) fails: Option<u32>,
    pub(crate) reported: Option<(IpAddr, u32)>,
    pub(crate) fastest: Option<Duration>,
    /// How many requests were sent.
    pub(crate) sent: u32,
    /// Whether the same sizes passed and failed again.
    pub(crate) is_steady: bool,
}

/// One address, and what was found on the way to it.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    pub(crate) dst: IpAddr,
    /// The interface that packets leave the source by.
    pub(crate) ifname: Option<String>,
    pub(crate) found: Result<Found, String>,
    /// The verdict of the trace on a packet of the search that was dropped.
    pub(crate) dropped: Option<Verdict>,
    /// Whether TCP reached the address.
    pub(crate) reached: bool,
    /// Where the source is.
    pub(crate) source: Netns,
}

/// The layer.
pub(crate) fn layer(paths: &[Path]) -> LayerReport {
    if paths.is_empty() {
        let reason = "no address to send to";
        return without(Layer::Mtu, LayerResult::Blocked, "ping -M do", reason);
    }
    report(Layer::Mtu, paths.iter().map(Path::test).collect(), None)
}

impl Path {
    fn test(&self) -> LayerTest {
        let plain = |size, result, evidence: String| LayerTest {
            test: ping(self.dst, size),
            result,
            evidence: Some(evidence),
            verdict: None,
        };
        let found = match &self.found {
            Ok(found) => found,
            Err(reason) => return plain(SMALL, LayerResult::Skipped, reason.clone()),
        };
        let dst = self.dst;
        let Some(passes) = found.passes else {
            let (result, reason) = match self.reached {
                true => (
                    LayerResult::Skipped,
                    format!(
                        "{dst} answers no echo request of {SMALL} bytes, so sizes cannot be compared"
                    ),
                ),
                false => (
                    LayerResult::Blocked,
                    format!("{dst} answers neither TCP nor an echo request of {SMALL} bytes"),
                ),
            };
            return plain(SMALL, result, reason);
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
                format!("{passes} bytes{by} pass to {dst} and back{rtt}"),
            );
        };
        if !found.is_steady {
            let text = format!(
                "packets to {dst} are lost at random, large and small: no size is the limit"
            );
            return plain(passes, LayerResult::Skipped, text);
        }
        match found.reported {
            Some((by, mtu)) if mtu == passes => plain(
                passes,
                LayerResult::Ok,
                format!(
                    "{passes} bytes pass to {dst}; {by} answers \"fragmentation needed\", MTU {mtu}, to larger ones{rtt}"
                ),
            ),
            _ => LayerTest {
                test: ping(dst, fails),
                result: LayerResult::Failed,
                evidence: Some(format!(
                    "{passes} bytes pass to {dst} and back, {fails} do not"
                )),
                verdict: Some(self.black_hole(found, passes, fails)),
            },
        }
    }

    fn black_hole(&self, found: &Found, passes: u32, fails: u32) -> Verdict {
        let dst = self.dst;
        let is_sure = |verdict: &Verdict| {
            verdict.point != Point::Unknown && verdict.confidence >= Confidence::Likely
        };
        let traced = self.dropped.clone().filter(is_sure);
        // A rule that drops packets by their size is no matter of the MTU.
        let is_of_size = traced
            .as_ref()
            .is_none_or(|verdict| verdict.point == Point::Mtu);
        let mut own = traced.unwrap_or_else(|| {
            verdict(
                "probe-mtu-black-hole",
                Point::Mtu,
                Confidence::Likely,
                format!(
                    "packets of more than {passes} bytes to {dst} or their echoes are lost, and no \
                     \"fragmentation needed\" comes back"
                ),
                dst.to_string(),
            )
        });
        own.evidence.push(format!(
            "`{}` passes and `{}` does not, with {} requests sent in all",
            ping(dst, passes),
            ping(dst, fails),
            found.sent
        ));
        match found.reported {
            Some((by, mtu)) => own.evidence.push(format!(
                "{by} answers \"fragmentation needed\" with MTU {mtu}, and {mtu} bytes do not pass either"
            )),
            None => own.evidence.push(
                "no \"fragmentation needed\" came to the source, so its kernel cannot learn the path MTU"
                    .to_owned(),
            ),
        }
        if is_of_size {
            own.fix.extend(self.fixes(found, passes));
        }
        own
    }

    fn fixes(&self, found: &Found, passes: u32) -> Vec<Fix> {
        let mut fixes = Vec::new();
        if let Some(ifname) = &self.ifname {
            let set = |mtu: u32| {
                Command::new("ip link set dev")
                    .arg(ifname)
                    .words("mtu")
                    .arg(mtu)
            };
            let mut fix =
                Fix::change(set(passes), set(found.link)).noting("until the pod is restarted");
            fix.site = Site::Namespace(self.source.clone());
            fixes.push(fix);
        }
        fixes.push(
            Fix::advice(format!(
                "for all pods, set the MTU of the network plugin to {passes} (Calico: \
                 calicoNetwork.mtu, Cilium: MTU, Flannel: Backend.MTU in net-conf.json), or let ICMP \
                 \"fragmentation needed\" pass"
            ))
            .at(Site::Cluster),
        );
        fixes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a search over a path with this MTU. `reports` is what a router says of larger packets.
    fn search(link: u32, mtu: u32, reports: Option<u32>) -> (Search, usize) {
        let mut search = Search::new(link);
        let mut rounds = 0;
        while let Next::Try(sizes) = search.next() {
            rounds += 1;
            assert!(rounds < 20, "{search:?}");
            let (passed, lost): (BTreeSet<u32>, BTreeSet<u32>) =
                sizes.iter().partition(|size| **size <= mtu);
            let router = IpAddr::from([10, 0, 0, 1]);
            search.learn(&Round {
                reported: reports
                    .filter(|_| !lost.is_empty())
                    .map(|mtu| (router, mtu)),
                passed,
                lost,
                fastest: None,
            });
        }
        (search, rounds)
    }

    #[test]
    fn the_largest_size_that_passes_is_found_exactly() {
        for mtu in [SMALL, 576, 1279, 1280, 1301, 1449, 1450, 1498, 1499] {
            let (search, rounds) = search(1500, mtu, None);
            assert_eq!(search.confirmation(), Some([mtu, mtu + 1]));
            assert!(rounds <= 5, "{rounds} for {mtu}");
        }
        assert_eq!(
            search(1500, 1500, None),
            (
                Search {
                    passes: 1500,
                    ..Search::new(1500)
                },
                1
            )
        );
        assert_eq!(search(65_535, 9_001, None).0.passes, 9_001);
    }

    #[test]
    fn a_routers_word_is_tried_and_not_believed() {
        let (honest, rounds) = search(1500, 1400, Some(1400));
        assert_eq!((honest.passes, rounds), (1400, 2));
        assert_eq!(search(1500, 1300, Some(1400)).0.passes, 1300);
        assert_eq!(search(1500, 1450, Some(1400)).0.passes, 1450);
    }

    #[test]
    fn without_an_answer_nothing_is_known() {
        let (search, rounds) = search(1500, 0, None);
        assert_eq!((search.found(3).passes, rounds), (None, 1));
        assert_eq!(search.confirmation(), None);
    }
}
