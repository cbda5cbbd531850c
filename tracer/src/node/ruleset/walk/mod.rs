//! A packet's way through the base chains of its hook, wherever it may lead.
//!
//! What is known of the packet grows on the way: behind `ct state new jump …`, a packet that did
//! not jump was not new, and marks are followed bit by bit. NAT changes its addresses at its place
//! among the chains. At a rule that drops, addresses and mark must be those that the drop showed.

mod chain;
mod marks;
mod nat;
mod split;

use super::{
    Ruleset,
    condition::state,
    model::{Base, MarkChange, Proxy, Table, Verdict},
    packet::{Device, HookPacket, Side},
    state::{ALL_ENDS, Known, State, either},
    translation,
    truth::Truth,
};
use crate::{decode::tracked::Tracked, model::Hook};

/// Where conntrack looks at packets (`NF_IP_PRI_CONNTRACK` of include/uapi/linux/netfilter_ipv4.h).
const CONNTRACK: i64 = -200;

/// Where a packet may have been dropped, or handed to a process.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) table: usize,
    pub(super) chain: usize,
    /// `None`: by the chain's policy.
    pub(super) rule: Option<usize>,
    pub(super) base: usize,
    pub(super) verdict: Verdict,
    pub(super) reached: Truth,
    /// Conditions on the way there that may not have held.
    pub(super) open: u16,
    /// It came there because it fits no connection.
    pub(super) as_invalid: bool,
    /// The named map that led there, and the comment of the map's element.
    pub(super) map: Option<(String, Option<String>)>,
}

/// As many of the rules that change marks are kept.
pub(super) const MOST_MARKS: usize = 1024;

/// A rule that changes marks, and that the packet may meet.
#[derive(Clone, Debug)]
pub(super) struct Marked {
    /// The rule: table, chain, rule, and the base chain.
    pub(super) place: [usize; 4],
    /// The rule that leads to its chain.
    pub(super) by: Option<[usize; 4]>,
    pub(super) change: MarkChange,
    /// The packet meets it for sure.
    pub(super) is_sure: bool,
}

/// What is asked of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Which rules could have dropped the packet, which is as the drop showed it.
    WhoDropped,
    /// What becomes of the packet, which is as it comes to the hook.
    WhatBecomes,
}

/// A base chain: table, chain.
type Place = (usize, usize);

pub(super) struct Walk<'a> {
    ruleset: &'a Ruleset,
    packet: &'a HookPacket,
    question: Question,
    pub(super) candidates: Vec<Candidate>,
    /// Everything was looked at.
    pub(super) is_complete: bool,
    /// The packet behind the hook, where it may get there.
    pub(super) left: Option<State>,
    /// What NAT may have made of it, one for each rule that may have translated it.
    pub(super) translated: Vec<State>,
    /// Those rules: table, chain, rule, and the base chain.
    pub(super) translating: Vec<[usize; 4]>,
    /// The rules that surely accept it: table, chain, rule, and the base chain.
    pub(super) accepting: Vec<[usize; 4]>,
    /// The packet behind NAT, where it may get there untranslated.
    pub(super) untranslated: Option<State>,
    /// The last rule that exempted it from tracking: table, chain, rule, and the base chain.
    pub(super) exempting: Option<[usize; 4]>,
    /// The rules that change marks, in the order in which the packet meets them.
    pub(super) marked: Vec<Marked>,
    /// Rules of nft that may give it the socket of a proxy.
    pub(super) proxied: Vec<([usize; 4], Proxy)>,
    /// The zone that it is tracked in; `None` if that depends on what is not known.
    pub(super) zone: Option<u16>,
    /// Where the walk is, seen from the hook's NAT.
    side: Side,
    /// The walk is in front of conntrack.
    is_untracked: bool,
    /// The packet came to the hook without an entry in conntrack.
    came_untracked: bool,
    table: usize,
    base: usize,
    maps: Vec<(String, Option<String>)>,
    /// The rules that led to the chain that the walk is in.
    callers: Vec<[usize; 4]>,
    depth: usize,
    steps: usize,
    /// How often a packet may have ended its way so far.
    ends: usize,
    accepted: Option<State>,
}

impl<'a> Walk<'a> {
    /// Walks the base chains at the packet's hook, of the tables that `takes_part` admits.
    pub(super) fn new(
        ruleset: &'a Ruleset,
        packet: &'a HookPacket,
        question: Question,
        takes_part: impl Fn(&Table) -> bool,
    ) -> Self {
        let mut walk = Self {
            ruleset,
            packet,
            question,
            candidates: Vec::new(),
            is_complete: true,
            left: None,
            translated: Vec::new(),
            translating: Vec::new(),
            accepting: Vec::new(),
            untranslated: None,
            exempting: None,
            marked: Vec::new(),
            proxied: Vec::new(),
            zone: Some(0),
            side: Side::Either,
            is_untracked: false,
            came_untracked: false,
            table: 0,
            base: 0,
            maps: Vec::new(),
            callers: Vec::new(),
            depth: 0,
            steps: 0,
            ends: 0,
            accepted: None,
        };
        let mut hooks: Vec<(&str, Vec<(&Base, Place)>)> = Vec::new();
        for (table_at, table) in ruleset.tables.iter().enumerate() {
            for (chain_at, chain) in table.chains.iter().enumerate() {
                let Some(base) = &chain.base else { continue };
                if takes_part(table) && packet.meets(table.family, &base.hook) {
                    let place = (base, (table_at, chain_at));
                    match hooks.iter_mut().find(|(hook, _)| *hook == base.hook) {
                        Some((_, places)) => places.push(place),
                        None => hooks.push((&base.hook, vec![place])),
                    }
                }
            }
        }
        if hooks.is_empty() {
            walk.hook("", Vec::new());
        }
        for (hook, places) in hooks {
            walk.hook(hook, places);
        }
        walk
    }

    fn hook(&mut self, hook: &str, mut places: Vec<(&Base, Place)>) {
        places.sort_by_key(|(base, place)| (base.priority, *place));
        // Where the packet's hook is not known, it may be that of any chain.
        let hook = self.packet.hook.or(hook.to_ascii_uppercase().parse().ok());
        let nat = hook.and_then(translation::of_hook);
        let nat = nat.filter(|_| self.ruleset.translates);
        let (translating, chains): (Vec<_>, Vec<_>) =
            places.into_iter().partition(|(base, _)| base.is_nat);
        let all = chains.iter().chain(&translating).map(|(_, place)| *place);
        let is_tracking = matches!(hook, Some(Hook::Prerouting | Hook::Output));
        let mut state = Some(self.start(marks::changed(self.ruleset, all), is_tracking));
        let mut nat_to_come = nat;
        let mut rest = chains.as_slice();
        loop {
            let priority = rest.first().map(|(base, _)| base.priority);
            if let Some(nat) = nat_to_come.filter(|nat| priority.is_none_or(|p| p > nat.priority()))
            {
                nat_to_come = None;
                if is_tracking && self.is_untracked {
                    state = state.map(|state| self.tracked(state));
                }
                state = self.nat(&translating, state, nat);
            }
            let (Some(priority), Some(here)) = (priority, state) else {
                break;
            };
            let count = rest
                .iter()
                .take_while(|(base, _)| base.priority == priority);
            let (group, behind) = rest.split_at(count.count());
            rest = behind;
            self.side = match nat {
                Some(nat) if priority < nat.priority() => Side::Before,
                Some(nat) if priority > nat.priority() => Side::Behind,
                _ => Side::Either,
            };
            let here = match is_tracking && self.is_untracked && priority >= CONNTRACK {
                true => self.tracked(here),
                false => here,
            };
            state = self.group(group, here);
        }
        self.left = either(self.left, state);
    }

    /// The packet in front of the hook's first chain.
    fn start(&mut self, changed: u32, is_tracking: bool) -> State {
        let packet = self.packet;
        self.is_untracked = is_tracking;
        let may_be_tracked = match packet.hook {
            // What comes in through the loopback device has its entry already.
            Some(Hook::Prerouting) => packet.input.name().is_none_or(|name| name == "lo"),
            // So has what a rule's `reject` has made.
            Some(Hook::Output) => {
                packet.proto != 17 && packet.tcp_flags.is_none_or(|flags| flags & 4 != 0)
            }
            _ => true,
        };
        self.came_untracked = is_tracking && !may_be_tracked;
        let (ends, known) = match self.question {
            Question::WhatBecomes => (packet.ends, u32::MAX),
            // Bits of the mark that no rule here changes are those that the drop showed.
            Question::WhoDropped => (packet.nat.before.unwrap_or(packet.ends), !changed),
        };
        State {
            sure: packet.hook.is_some(),
            open: 0,
            states: match self.came_untracked {
                true => state::INVALID,
                false => self.states(),
            },
            as_invalid: false,
            mark: Known {
                value: packet.mark.unwrap_or(0),
                known: packet.mark.map_or(0, |_| known),
            },
            connection_mark: Known::default(),
            ends,
            known_ends: ALL_ENDS,
        }
    }

    /// The packet behind conntrack.
    fn tracked(&mut self, state: State) -> State {
        self.is_untracked = false;
        State {
            states: match state.states {
                state::UNTRACKED => state::UNTRACKED,
                _ => self.states(),
            },
            ..state
        }
    }

    /// A rule chooses the zone that the packet is tracked in. Behind conntrack, that comes too late.
    fn track_in(&mut self, zone: Option<u16>, is_sure: bool) {
        if self.is_untracked && (is_sure || self.zone != zone) {
            self.zone = zone.filter(|_| is_sure);
        }
    }

    /// The states that conntrack may have given the packet.
    fn states(&self) -> u8 {
        match self.packet.tracked {
            Tracked::Unknown => state::ALL,
            Tracked::New => state::NEW,
            Tracked::Established => state::ESTABLISHED,
            Tracked::Related => state::RELATED,
            Tracked::Untracked => state::UNTRACKED,
            Tracked::Nothing => state::INVALID,
        }
    }

    /// The packet behind base chains of one priority. Which of them comes first is not known.
    fn group(&mut self, group: &[(&Base, Place)], state: State) -> Option<State> {
        let before = self.candidates.len();
        let mut blamed = 0;
        let mut behind = Some(state);
        let mut is_over = false;
        for (_, (table, chain)) in group {
            let count = self.candidates.len();
            let here = behind.unwrap_or(state.unsure());
            behind = self.base_chain(*table, *chain, here);
            is_over |= behind.is_none();
            blamed += usize::from(self.candidates.len() > count);
        }
        if blamed > 1 {
            for candidate in &mut self.candidates[before..] {
                candidate.reached = candidate.reached.min(Truth::Maybe);
            }
        }
        behind.filter(|_| !is_over)
    }

    /// The packet behind a base chain.
    fn base_chain(&mut self, table: usize, chain_at: usize, state: State) -> Option<State> {
        let chain = &self.ruleset.tables[table].chains[chain_at];
        let base = chain.base.as_ref()?;
        let of_device = match base.hook.as_str() {
            "ingress" => self.is_at_device(base, &self.packet.input),
            "egress" => self.is_at_device(base, &self.packet.output),
            _ => Truth::Yes,
        };
        let inside = match of_device {
            Truth::No => return Some(state),
            Truth::Maybe => state.unsure(),
            Truth::Yes => state,
        };
        (self.table, self.base) = (table, chain_at);
        self.accepted = None;
        let ends = self.ends;
        let mut behind = self.chain(chain_at, inside);
        if let Some(here) = behind.filter(|_| base.drops) {
            self.end(chain_at, None, &Verdict::Drop, here);
            behind = None;
        }
        behind = either(behind, self.accepted.take());
        if let Some(behind) = behind.as_mut().filter(|_| ends == self.ends) {
            behind.sure = inside.sure;
        }
        match of_device {
            Truth::Yes => behind,
            _ => either(behind, Some(state.unsure())),
        }
    }

    fn is_at_device(&self, base: &Base, device: &Device) -> Truth {
        match device.name() {
            Some(name) if !base.devices.is_empty() => {
                base.devices.iter().any(|own| own == name).into()
            }
            _ => Truth::Maybe,
        }
    }
}
