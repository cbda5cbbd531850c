//! The search for the largest size that passes.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use crate::probe::send::Round;

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
    /// The sizes that did not. Of those below one that passed, the answers were late or lost.
    lost: BTreeSet<u32>,
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
            lost: BTreeSet::new(),
            tried: BTreeSet::new(),
            reported: None,
            fastest: None,
        }
    }

    /// The smallest size above the largest that passed that did not.
    fn fails(&self) -> Option<u32> {
        self.lost.range(self.passes + 1..).next().copied()
    }

    /// The sizes to try next.
    pub(crate) fn next(&mut self) -> Next {
        let Some(fails) = self.fails() else {
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
        self.lost.extend(&round.lost);
    }

    /// The sizes that confirm the answer: the one must pass, the other must not.
    pub(crate) fn confirmation(&self) -> Option<[u32; 2]> {
        Some([self.passes, self.fails()?]).filter(|_| self.passes > 0)
    }

    pub(crate) fn found(&self, sent: u32) -> Found {
        Found {
            link: self.link,
            passes: (self.passes > 0).then_some(self.passes),
            fails: self.fails(),
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

impl Found {
    /// Whether a router has reported just this size: then path MTU discovery works.
    pub(crate) fn is_reported(&self) -> bool {
        self.is_steady
            && self
                .reported
                .is_some_and(|(_, mtu)| self.passes == Some(mtu))
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
                ..Round::default()
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
    fn a_late_answer_counts() {
        let mut search = Search::new(1500);
        let round = |passed: &[u32], lost: &[u32]| Round {
            passed: passed.iter().copied().collect(),
            lost: lost.iter().copied().collect(),
            ..Round::default()
        };
        search.learn(&round(&[100], &[1500]));
        search.learn(&round(&[200], &[1300, 1400]));
        assert_eq!(search.confirmation(), Some([200, 1300]));
        // Together with those of the next sizes, the answer to an earlier one comes.
        search.learn(&round(&[300, 1300], &[400]));
        assert_eq!(search.confirmation(), Some([1300, 1400]));
    }

    #[test]
    fn without_an_answer_nothing_is_known() {
        let (search, rounds) = search(1500, 0, None);
        assert_eq!((search.found(3).passes, rounds), (None, 1));
        assert_eq!(search.confirmation(), None);
    }
}
