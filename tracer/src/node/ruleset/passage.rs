//! What becomes of a packet that comes to a hook.

use super::{
    Ruleset,
    condition::state,
    model::{Proxy, Statement, Verdict},
    packet::{HookPacket, Translation},
    state::{End, State},
    suspects::Suspect,
    truth::Truth,
    walk::{Candidate, Question, Walk},
};
use crate::decode::tracked::Tracked;

/// What becomes of a packet at a hook.
#[derive(Clone, Debug)]
pub(crate) enum Passage {
    /// It gets through. Several ways where a rule chooses one of them, as a balancer does.
    Passed(Vec<Way>),
    /// This rule drops it.
    Dropped(Box<Suspect>),
    /// Undecidable.
    Undecided {
        /// Rules that may drop it, hand it to a process, or to a proxy that may not be there.
        rules: Vec<Suspect>,
        /// How it may get through; none at all where one of the rules surely drops it.
        ways: Vec<Way>,
        /// The rules could not all be read or followed: one that is not listed may drop it, too.
        incomplete: bool,
    },
}

/// A packet behind a hook.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// The packet, with the addresses and the mark that it leaves with. A translated address or
    /// port that is not known here is listed in `unknown`.
    pub(crate) packet: HookPacket,
    /// What of the packet's ends is not known.
    pub(crate) unknown: Unknown,
    /// The rule that exempts it from tracking, so that NAT leaves it alone.
    pub(crate) exempted_by: Option<String>,
}

/// Parts of a packet's ends that NAT has made something unknown of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unknown {
    /// The source address.
    pub(crate) src: bool,
    /// The destination address.
    pub(crate) dst: bool,
    /// The source port.
    pub(crate) sport: bool,
    /// The destination port.
    pub(crate) dport: bool,
}

impl Ruleset {
    /// What becomes of the packet at its hook. It is as it comes there: what the connection's entry
    /// makes of it is in [`HookPacket::nat`], otherwise the NAT rules decide.
    pub(crate) fn pass(&self, packet: &HookPacket) -> Passage {
        let walk = Walk::new(self, packet, Question::WhatBecomes, |_| true);
        let is_complete = walk.is_complete && self.nft_read && self.legacy_read;
        let mut ways = ways(packet, &walk);
        let exempted = |way: &&mut Way| way.packet.tracked == Tracked::Untracked;
        if let Some(rule) = self.exempting(packet, &walk) {
            for way in ways.iter_mut().filter(exempted) {
                way.exempted_by = Some(rule.clone());
            }
        }
        let mut rules: Vec<_> = walk
            .candidates
            .iter()
            .map(|candidate| self.suspect(candidate, packet))
            .collect();
        rules.sort_by_key(|rule| (std::cmp::Reverse(rule.reached), rule.open));
        let drops = |rule: &Suspect| {
            rule.reached == Truth::Yes && matches!(rule.verdict, Verdict::Drop | Verdict::Reject(_))
        };
        match rules.as_mut_slice() {
            [] if is_complete => Passage::Passed(ways),
            [only] if is_complete && ways.is_empty() && drops(only) => {
                Passage::Dropped(Box::new(only.clone()))
            }
            _ => Passage::Undecided {
                rules,
                ways,
                incomplete: !is_complete,
            },
        }
    }

    /// The zone that a packet is tracked in which comes to `PREROUTING` or `OUTPUT`; `None` if that
    /// depends on what is not known.
    pub(crate) fn zone(&self, packet: &HookPacket) -> Option<u16> {
        match self.has_zones {
            true => Walk::new(self, packet, Question::WhatBecomes, |_| true).zone,
            false => Some(0),
        }
    }

    /// The rule that exempts a packet from tracking which comes to `PREROUTING` or `OUTPUT`.
    pub(super) fn exempted_by(&self, packet: &HookPacket) -> Option<String> {
        let packet = HookPacket {
            tracked: Tracked::Unknown,
            entry: None,
            ..packet.clone()
        };
        let walk = Walk::new(self, &packet, Question::WhatBecomes, |_| true);
        self.exempting(&packet, &walk)
    }

    /// The rule that exempts the packet from tracking, if it meets one.
    fn exempting(&self, packet: &HookPacket, walk: &Walk<'_>) -> Option<String> {
        Some(self.that_takes(walk.exempting?, packet).describe())
    }

    /// The rule at this place of a walk (table, chain, rule, base chain), which the packet meets.
    pub(super) fn that_takes(&self, place: [usize; 4], packet: &HookPacket) -> Suspect {
        let [table, chain, rule, base] = place;
        let candidate = Candidate {
            table,
            chain,
            rule: Some(rule),
            base,
            verdict: Verdict::Accept,
            reached: Truth::Yes,
            open: 0,
            as_invalid: false,
            map: None,
        };
        self.suspect(&candidate, packet)
    }

    /// The same rules, with none that exempts from tracking.
    pub(crate) fn tracking_all(&self) -> Self {
        let mut all = self.clone();
        let chains = all.tables.iter_mut().flat_map(|table| &mut table.chains);
        for rule in chains.flat_map(|chain| &mut chain.rules) {
            rule.statements
                .retain(|statement| !matches!(statement, Statement::Untrack));
        }
        all
    }

    /// Where a rule of nft that the packet may meet sends it by `tproxy`.
    pub(crate) fn proxies_of_nft(&self, packet: &HookPacket) -> Vec<(Suspect, Proxy)> {
        let walk = Walk::new(self, packet, Question::WhatBecomes, |_| true);
        let proxied = walk.proxied.iter();
        proxied
            .map(|(place, proxy)| (self.that_takes(*place, packet), *proxy))
            .collect()
    }

    /// Where a rule that the packet meets sends it by `TPROXY`; empty where none does.
    pub(crate) fn proxies(&self, packet: &HookPacket) -> Vec<(Suspect, Proxy)> {
        let walk = Walk::new(self, packet, Question::WhoDropped, |_| true);
        let candidates = walk.candidates.iter();
        candidates
            .filter_map(|candidate| match candidate.verdict {
                Verdict::Proxy(proxy) => Some((self.suspect(candidate, packet), proxy)),
                _ => None,
            })
            .collect()
    }
}

/// The packet behind the hook: once for each translation that may have been chosen, and once as it
/// came where it may pass without one.
fn ways(packet: &HookPacket, walk: &Walk<'_>) -> Vec<Way> {
    let Some(left) = walk.left else {
        return Vec::new();
    };
    let behind_nat = walk.translated.iter().chain(&walk.untranslated);
    let ways: Vec<_> = behind_nat
        .map(|state| State {
            ends: state.ends,
            known_ends: state.known_ends,
            ..left
        })
        .map(|state| way(packet, &state))
        .collect();
    if ways.is_empty() {
        return vec![way(packet, &left)];
    }
    ways
}

fn way(packet: &HookPacket, state: &State) -> Way {
    Way {
        packet: HookPacket {
            ends: state.ends,
            mark: (state.mark.known == u32::MAX).then_some(state.mark.value),
            tracked: match state.states {
                state::UNTRACKED => Tracked::Untracked,
                state::INVALID => Tracked::Nothing,
                state::NEW => Tracked::New,
                state::ESTABLISHED => Tracked::Established,
                state::RELATED => Tracked::Related,
                _ => Tracked::Unknown,
            },
            nat: Translation::default(),
            ..packet.clone()
        },
        unknown: Unknown {
            src: !state.known(End::Source),
            dst: !state.known(End::Destination),
            sport: !state.known(End::SourcePort),
            dport: !state.known(End::DestinationPort),
        },
        exempted_by: None,
    }
}
