//! Which path attempts took lately, and how many of each got through: to which remote VTEP, or from
//! one pod of this node to another.

use std::{collections::VecDeque, net::IpAddr};

use crate::{
    attempt::Attempt,
    decode::sighting::AttemptKey,
    engine::Nanos,
    model::{Direction, Outcome},
    verdict::attempts::{LATELY, Losses, OtherAttempts},
};

/// Attempts that are remembered.
const CAPACITY: usize = 1 << 10;

/// The path of an attempt's packets, as far as it matters to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    /// Through a tunnel, to or from this remote end.
    Tunnel(IpAddr),
    /// Neither through a tunnel nor off this node.
    Here,
}

impl Path {
    /// The path that an attempt took; `None` where it is neither. `leads_off` says of an interface,
    /// by namespace and index, whether it leads off this node.
    pub(super) fn of(attempt: &Attempt, leads_off: impl Fn(u32, u32) -> bool) -> Option<Self> {
        let tunnelled = attempt.hops.iter().rev().find_map(|hop| {
            let outer = hop.outer?;
            Some(match hop.place.dir {
                Direction::Out => outer.dst,
                Direction::In => outer.src,
            })
        });
        if let Some(remote) = tunnelled {
            return Some(Self::Tunnel(remote.into()));
        }
        // Dropped as soon as it was encapsulated.
        let outer = attempt
            .drops
            .iter()
            .find_map(|drop| drop.facts.outer.as_ref());
        if let Some(outer) = outer {
            return Some(Self::Tunnel(outer.dst));
        }
        let mut places = attempt.hops.iter().map(|hop| &hop.place);
        let stayed = !places.any(|place| leads_off(place.netns, place.ifindex));
        stayed.then_some(Self::Here)
    }
}

/// The attempts of late.
#[derive(Debug, Default)]
pub(super) struct TunnelStats {
    /// Oldest first.
    recent: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    key: AttemptKey,
    at: Nanos,
    path: Path,
    lost: bool,
}

impl TunnelStats {
    /// Counts an attempt that was reported at `at` (nanoseconds of `CLOCK_MONOTONIC`), in place of
    /// what was reported of it before. An ICMP error says nothing of the path.
    pub(super) fn count(&mut self, key: &AttemptKey, path: Path, outcome: Outcome, at: Nanos) {
        self.recent.retain(|entry| entry.key != *key);
        let lost = match outcome {
            Outcome::Answered | Outcome::Refused => false,
            Outcome::Unanswered => true,
            Outcome::Rejected | Outcome::Stalled | Outcome::Unsent => return,
        };
        if self.recent.len() >= CAPACITY {
            self.recent.pop_front();
        }
        self.recent.push_back(Entry {
            key: key.clone(),
            at,
            path,
            lost,
        });
    }

    /// The others, beside the attempt with this key, which went through a tunnel to `remote`; none
    /// where no other did.
    pub(super) fn others(
        &self,
        key: &AttemptKey,
        remote: IpAddr,
        now: Nanos,
    ) -> Option<OtherAttempts> {
        let lately = u64::try_from(LATELY.as_nanos()).unwrap_or(u64::MAX);
        let others = || {
            let recent = self.recent.iter().rev();
            let recent = recent.take_while(move |entry| now.saturating_sub(entry.at) < lately);
            recent.filter(|entry| entry.key != *key)
        };
        let losses = |path: Path| {
            others()
                .filter(|entry| entry.path == path)
                .fold(Losses::default(), |losses, entry| Losses {
                    lost: losses.lost + u64::from(entry.lost),
                    all: losses.all + 1,
                })
        };
        let to_remote = losses(Path::Tunnel(remote));
        (to_remote.all > 0).then(|| OtherAttempts {
            remote,
            to_remote,
            here: losses(Path::Here),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const VTEP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn losses(stats: &TunnelStats, of: u32, now: Nanos) -> Option<([u64; 2], [u64; 2])> {
        let others = stats.others(&AttemptKey::Tcp(of), VTEP, now)?;
        let pair = |losses: Losses| [losses.lost, losses.all];
        Some((pair(others.to_remote), pair(others.here)))
    }

    #[test]
    fn an_attempt_is_no_company_to_itself_and_a_correction_counts_once() {
        let mut stats = TunnelStats::default();
        let mut count =
            |key, path, outcome| stats.count(&AttemptKey::Tcp(key), path, outcome, SECOND);
        count(1, Path::Here, Outcome::Answered);
        count(2, Path::Tunnel(VTEP), Outcome::Unanswered);
        count(3, Path::Tunnel(VTEP), Outcome::Unanswered);
        count(3, Path::Tunnel(VTEP), Outcome::Answered);
        count(4, Path::Tunnel(VTEP), Outcome::Rejected);
        assert_eq!(losses(&stats, 2, SECOND), Some(([0, 1], [0, 1])));
        assert_eq!(losses(&stats, 9, SECOND), Some(([1, 2], [0, 1])));
    }

    #[test]
    fn what_is_long_ago_does_not_count() {
        let mut stats = TunnelStats::default();
        stats.count(
            &AttemptKey::Tcp(1),
            Path::Tunnel(VTEP),
            Outcome::Unanswered,
            0,
        );
        let later = u64::try_from(LATELY.as_nanos()).unwrap();
        assert_eq!(losses(&stats, 2, later - 1), Some(([1, 1], [0, 0])));
        assert_eq!(losses(&stats, 2, later), None);
    }

    #[test]
    fn it_stays_small() {
        let mut stats = TunnelStats::default();
        for key in 0..2 * u32::try_from(CAPACITY).unwrap() {
            stats.count(&AttemptKey::Tcp(key), Path::Here, Outcome::Answered, 0);
        }
        assert_eq!(stats.recent.len(), CAPACITY);
    }
}
