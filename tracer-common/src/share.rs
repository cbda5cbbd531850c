//! Who shares in what is scarce: a flood from many addresses of one network must not take the place of
//! all others.

use crate::{address::Address, tuple::Tuple};

/// How many shares there are, as a power of two.
const SHARES_LOG2: u32 = 12;
/// The same as a number.
pub const SHARES: u32 = 1 << SHARES_LOG2;
/// How many events of one share are sent in a second while there is little room.
pub const EVENTS_PER_SHARE: u64 = 16;
/// The same while there is hardly any: an attempt has one for each of its hops, and one for its drop.
pub const FEW_EVENTS_PER_SHARE: u64 = 4;
/// The same of the very last.
pub const LAST_EVENTS_PER_SHARE: u64 = 2;

/// How many kinds of drops one share may begin in a second while there is little room to count them.
pub const KINDS_PER_SHARE: u64 = 8;

/// What one share has taken.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Share {
    /// Start of the current second, nanoseconds of `CLOCK_MONOTONIC`.
    pub window: u64,
    /// Events sent in it.
    pub sent: u64,
}

impl Share {
    /// The share of a flow: that of the pair of networks (/24, or /64 in IPv6) that it is between,
    /// whichever way.
    #[inline(always)]
    pub fn of(tuple: &Tuple) -> u32 {
        let key = Self::pair(tuple);
        (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SHARES_LOG2)) as u32
    }

    /// The pair of networks that a flow is between, whichever way: a number that is hardly ever that of
    /// another pair.
    #[inline(always)]
    pub fn pair(tuple: &Tuple) -> u64 {
        let (src, dst) = (network(&tuple.src), network(&tuple.dst));
        // Of flows within one network, all of them would have 0.
        if src == dst { src } else { src ^ dst }
    }

    /// Takes one event at `now`, if the share has one of `most` in this second left.
    #[inline(always)]
    pub fn take(&mut self, now: u64, most: u64) -> bool {
        const SECOND: u64 = 1_000_000_000;
        // Another CPU's clock may be a little ahead.
        if now.wrapping_sub(self.window).cast_signed() >= SECOND as i64 {
            self.window = now;
            self.sent = 0;
        }
        self.sent += 1;
        self.sent <= most
    }
}

/// The network of an address, mixed: two of them must not look like two others.
#[inline(always)]
fn network(address: &Address) -> u64 {
    let network = address.network();
    network.wrapping_mul(0xff51_afd7_ed55_8ccd)
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;
    use std::collections::HashSet;

    use super::*;

    fn flow(src: &str, dst: &str) -> Tuple {
        let [src, dst] = [src, dst].map(|ip| ip.parse::<IpAddr>().unwrap().into());
        Tuple {
            src,
            dst,
            ..Tuple::default()
        }
    }

    #[test]
    fn a_share_is_that_of_a_pair_of_networks_either_way() {
        let one = flow("10.50.1.2", "10.50.2.2");
        assert_eq!(Share::of(&one), Share::of(&one.reversed()));
        assert_eq!(
            Share::of(&one),
            Share::of(&flow("10.50.1.77", "10.50.2.99"))
        );
        assert_ne!(Share::of(&one), Share::of(&flow("10.51.1.2", "10.50.2.2")));
        // Within a network, too.
        assert_ne!(
            Share::pair(&flow("10.50.1.2", "10.50.1.3")),
            Share::pair(&flow("10.51.1.2", "10.51.1.3"))
        );
        let six = flow("fd00:0:0:1::2", "fd00:0:0:2::2");
        assert_eq!(
            Share::of(&six),
            Share::of(&flow("fd00:0:0:1:9::", "fd00:0:0:2::"))
        );
        assert_ne!(
            Share::of(&six),
            Share::of(&flow("fd00:0:0:3::2", "fd00:0:0:2::2"))
        );
    }

    #[test]
    fn networks_that_follow_each_other_have_different_shares() {
        let shares: HashSet<_> = (0..=255)
            .map(|third| Share::of(&flow(&std::format!("10.51.{third}.1"), "10.50.2.2")))
            .collect();
        assert!(shares.len() > 240, "{}", shares.len());
        assert!(shares.iter().all(|share| *share < SHARES));
    }

    #[test]
    fn a_share_is_had_anew_each_second() {
        let mut share = Share::default();
        let mut taken = |now| {
            (0..100)
                .filter(|_| share.take(now, EVENTS_PER_SHARE))
                .count() as u64
        };
        assert_eq!(taken(5_000_000_000), EVENTS_PER_SHARE);
        assert_eq!(taken(5_999_999_999), 0);
        assert_eq!(taken(6_000_000_000), EVENTS_PER_SHARE);
        // A clock that is behind begins no new second.
        assert_eq!(taken(5_999_999_000), 0);
    }
}
