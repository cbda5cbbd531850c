//! Which pairs of networks had little to do with this trace lately: in a flood, these come first where
//! something is scarce.
//!
//! A flood may come from all of a large network. So a pair is judged by its small networks (/24, or /64
//! in IPv6) and by the large ones that they are in (/16, or /48).

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use tracer_common::{address::Address, share::Share, tuple::Tuple};

use super::{Nanos, SECOND};

/// Pairs that are remembered of each size.
const MOST: usize = 4096;
/// How often a pair may come up in [`LATELY`] and still be rare, by its small and its large networks.
const RARE: [u64; 2] = [4, 32];
/// The same for a quiet one.
const QUIET: [u64; 2] = [24, 96];
/// How long "lately" is.
const LATELY: Nanos = 10 * SECOND;

/// How often a pair of networks came up lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Rare,
    Quiet,
    Busy,
}

/// How often each pair of networks came up lately.
#[derive(Debug, Default)]
pub(super) struct Networks {
    small: Pairs,
    large: Pairs,
}

#[derive(Debug, Default)]
struct Pairs {
    all: HashMap<u64, Busy>,
    /// When old ones were last removed: in a flood, looking for them each time would cost the most.
    swept: Nanos,
}

#[derive(Debug)]
struct Busy {
    since: Nanos,
    times: u64,
}

impl Networks {
    /// Counts something that is about this flow. Returns the rank of its networks.
    pub(super) fn count(&mut self, flow: &Tuple, now: Nanos) -> Rank {
        let large = Tuple {
            src: large(flow.src),
            dst: large(flow.dst),
            ..*flow
        };
        let times = [self.small.count(flow, now), self.large.count(&large, now)];
        let is_within = |most: [u64; 2]| times[0] <= most[0] && times[1] <= most[1];
        if is_within(RARE) {
            Rank::Rare
        } else if is_within(QUIET) {
            Rank::Quiet
        } else {
            Rank::Busy
        }
    }
}

impl Pairs {
    fn count(&mut self, flow: &Tuple, now: Nanos) -> u64 {
        let pair = Share::pair(flow);
        if self.all.len() >= MOST && !self.all.contains_key(&pair) {
            if now.saturating_sub(self.swept) >= SECOND {
                self.swept = now;
                let is_recent = |busy: &Busy| now.saturating_sub(busy.since) < LATELY;
                self.all.retain(|_, busy| is_recent(busy));
            }
            if self.all.len() >= MOST {
                return u64::MAX;
            }
        }
        let busy = self.all.entry(pair).or_insert(Busy {
            since: now,
            times: 0,
        });
        if now.saturating_sub(busy.since) >= LATELY {
            // One that was busy has to be quiet for a while to count as quiet.
            busy.since = now;
            busy.times /= 8;
        }
        busy.times += 1;
        busy.times
    }
}

/// The first address of the large network that an address is in.
fn large(address: Address) -> Address {
    match IpAddr::from(address) {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            IpAddr::from(Ipv4Addr::new(first, second, 0, 0)).into()
        }
        IpAddr::V6(address) => {
            let [first, second, third, ..] = address.segments();
            IpAddr::from(Ipv6Addr::new(first, second, third, 0, 0, 0, 0, 0)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(src: [u8; 4]) -> Tuple {
        Tuple {
            src: IpAddr::from(Ipv4Addr::from(src)).into(),
            dst: IpAddr::from(Ipv4Addr::new(10, 50, 2, 2)).into(),
            ..Tuple::default()
        }
    }

    #[test]
    fn a_busy_network_is_quiet_again_after_a_while() {
        let mut networks = Networks::default();
        let mut ranks = |times, now| -> Vec<Rank> {
            let each = (0..times).map(|n| networks.count(&flow([198, 18, 0, n]), now));
            each.collect()
        };
        let first = ranks(200, SECOND);
        assert_eq!(first[3..5], [Rank::Rare, Rank::Quiet]);
        assert_eq!(first[23..25], [Rank::Quiet, Rank::Busy]);
        assert_eq!(ranks(1, 2 * SECOND), [Rank::Busy]);
        assert_eq!(ranks(1, 11 * SECOND), [Rank::Busy]);
        assert_eq!(ranks(1, 21 * SECOND), [Rank::Rare]);
    }

    #[test]
    fn many_small_networks_of_a_large_one_are_busy_together() {
        let mut networks = Networks::default();
        for n in 0..=255 {
            networks.count(&flow([198, 18, n, 1]), SECOND);
        }
        assert_eq!(networks.count(&flow([198, 18, 7, 2]), SECOND), Rank::Busy);
        assert_eq!(networks.count(&flow([198, 19, 7, 2]), SECOND), Rank::Rare);
    }

    #[test]
    fn of_too_many_networks_the_new_ones_are_busy() {
        let mut networks = Networks::default();
        for n in 0..MOST {
            let [.., third, fourth] = u32::try_from(n).unwrap().to_be_bytes();
            networks.count(&flow([198, third, fourth, 1]), SECOND);
        }
        assert_eq!(networks.count(&flow([10, 50, 1, 2]), SECOND), Rank::Busy);
        assert_eq!(
            networks.count(&flow([10, 50, 1, 2]), 12 * SECOND),
            Rank::Rare
        );
    }
}
