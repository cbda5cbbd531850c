//! Fragments behind the first one show no ports, so a filter by port alone matches those of all
//! datagrams. They count as what was asked for where their addresses are those of a flow that
//! matches.

use std::{
    collections::{HashSet, VecDeque},
    net::IpAddr,
};

use crate::decode::drop::DropFacts;

/// Pairs of addresses that are remembered.
const MAX_PAIRS: usize = 4096;

/// The two ends of a flow, whichever sent the packet.
type Pair = (IpAddr, IpAddr);

/// Whose fragments are whose.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    /// The ends of dropped packets that showed their ports.
    pairs: HashSet<Pair>,
    /// The same, oldest first.
    order: VecDeque<Pair>,
}

impl Fragments {
    /// Takes a drop, and says whether it is a fragment that only the lack of ports lets match.
    /// `connects` says whether an attempt is between two addresses.
    pub(super) fn is_foreign(
        &mut self,
        facts: &DropFacts,
        connects: impl FnOnce(IpAddr, IpAddr) -> bool,
    ) -> bool {
        let (src, dst) = (facts.flow.src, facts.flow.dst);
        let pair = (src.min(dst), src.max(dst));
        if facts.key.flow.is_later_fragment() {
            return !self.pairs.contains(&pair) && !connects(src, dst);
        }
        if self.pairs.insert(pair) {
            self.order.push_back(pair);
            if self.order.len() > MAX_PAIRS
                && let Some(oldest) = self.order.pop_front()
            {
                self.pairs.remove(&oldest);
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tracer_common::{event::DropKey, tuple::Tuple};

    use super::*;
    use crate::decode::drop::DropKind;

    fn drop(src: [u8; 4], flags: u8) -> DropFacts {
        let key = DropKey {
            flow: Tuple {
                src: tracer_common::address::Address::v4(src),
                dst: tracer_common::address::Address::v4([10, 0, 0, 9]),
                sport: 0,
                dport: 0,
                proto: 17,
                flags,
                reserved: [0; 2],
            },
            ..DropKey::default()
        };
        let kind = DropKind {
            key,
            reason: "NETFILTER_DROP".into(),
            function: None,
        };
        kind.facts(SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn a_fragment_belongs_to_a_flow_between_its_addresses() {
        let mut fragments = Fragments::default();
        let later = drop([10, 0, 0, 1], Tuple::LATER_FRAGMENT);
        assert!(fragments.is_foreign(&later, |_, _| false));
        assert!(!fragments.is_foreign(&later, |_, _| true), "an attempt's");
        let first = drop([10, 0, 0, 1], Tuple::HAS_PORTS);
        assert!(!fragments.is_foreign(&first, |_, _| false));
        assert!(!fragments.is_foreign(&later, |_, _| false));
        let other = drop([10, 0, 0, 2], Tuple::LATER_FRAGMENT);
        assert!(fragments.is_foreign(&other, |_, _| false));
    }

    #[test]
    fn as_many_pairs_are_remembered_as_there_is_room_for() {
        let mut fragments = Fragments::default();
        let ip = |n: usize| [10, 1, (n / 250) as u8, (n % 250) as u8];
        for n in 0..=MAX_PAIRS {
            fragments.is_foreign(&drop(ip(n), Tuple::HAS_PORTS), |_, _| false);
        }
        assert_eq!(fragments.pairs.len(), MAX_PAIRS);
        let later = |n| drop(ip(n), Tuple::LATER_FRAGMENT);
        assert!(fragments.is_foreign(&later(0), |_, _| false));
        assert!(!fragments.is_foreign(&later(MAX_PAIRS), |_, _| false));
    }
}
