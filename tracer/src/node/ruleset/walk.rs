//! A packet's way through the base chains of its hook, wherever it may lead.
//!
//! What is known of the packet grows on the way: behind `ct state new jump …`, a packet that did
//! not jump was not new, and marks are followed bit by bit. At a rule that drops, the mark must be
//! the one that the drop showed.

use super::{
    Ruleset,
    condition::{Condition, Values, state},
    model::{Chain, Entry, Statement, Table, Verdict},
    packet::{HookPacket, Value},
    state::{State, by_conntrack, by_mark, changed_bits, either, swapped_if},
    truth::{Truth, among, matches},
};

/// The kernel's own limit of nested jumps.
const DEEPEST: usize = 16;
/// Rules looked at before giving up.
const MOST_STEPS: usize = 2_000_000;

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
    /// The named map that led there, and the comment of the map's element.
    pub(super) map: Option<(String, Option<String>)>,
}

/// A base chain: priority, table, chain.
type Place = (i64, usize, usize);

pub(super) struct Walk<'a> {
    ruleset: &'a Ruleset,
    packet: &'a HookPacket,
    pub(super) candidates: Vec<Candidate>,
    /// Everything was looked at.
    pub(super) is_complete: bool,
    table: usize,
    base: usize,
    maps: Vec<(String, Option<String>)>,
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
        takes_part: impl Fn(&Table) -> bool,
    ) -> Self {
        let mut walk = Self {
            ruleset,
            packet,
            candidates: Vec::new(),
            is_complete: true,
            table: 0,
            base: 0,
            maps: Vec::new(),
            depth: 0,
            steps: 0,
            ends: 0,
            accepted: None,
        };
        let mut hooks: Vec<(&str, Vec<Place>)> = Vec::new();
        for (table_at, table) in ruleset.tables.iter().enumerate() {
            for (chain_at, chain) in table.chains.iter().enumerate() {
                let Some(base) = &chain.base else { continue };
                if takes_part(table) && packet.meets(table.family, &base.hook) {
                    let place = (base.priority, table_at, chain_at);
                    match hooks.iter_mut().find(|(hook, _)| *hook == base.hook) {
                        Some((_, places)) => places.push(place),
                        None => hooks.push((&base.hook, vec![place])),
                    }
                }
            }
        }
        for (_, mut places) in hooks {
            places.sort_unstable();
            walk.hook(&places);
        }
        walk
    }

    fn hook(&mut self, places: &[Place]) {
        // Bits of the mark that no rule here changes are those that the drop showed.
        let changed = places.iter().fold(0, |changed, (_, table, chain)| {
            changed | changed_bits(&self.ruleset.tables[*table], *chain)
        });
        let mut state = Some(State {
            sure: self.packet.hook.is_some(),
            states: self.packet.states(),
            mark: self.packet.mark.unwrap_or(0),
            known: self.packet.mark.map_or(0, |_| !changed),
        });
        for (_, table, chain) in places {
            let Some(here) = state else { return };
            state = self.base_chain(*table, *chain, here);
        }
    }

    /// The packet behind a base chain.
    fn base_chain(&mut self, table: usize, chain_at: usize, state: State) -> Option<State> {
        let chain = &self.ruleset.tables[table].chains[chain_at];
        let base = chain.base.as_ref()?;
        let device = [&self.packet.iifname, &self.packet.oifname]
            .into_iter()
            .flatten()
            .next();
        let hangs_at_device = matches!(base.hook.as_str(), "ingress" | "egress");
        let of_device = match device {
            _ if !hangs_at_device => Truth::Yes,
            _ if base.devices.is_empty() => Truth::Maybe,
            Some(device) => base.devices.contains(device).into(),
            None => Truth::Maybe,
        };
        if of_device == Truth::No {
            return Some(state);
        }
        // Of a connection's later packets, NAT chains see none.
        let is_seen = of_device == Truth::Yes && !base.is_nat;
        let inside = if is_seen { state } else { state.unsure() };
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
        match is_seen {
            true => behind,
            false => either(behind, Some(state.unsure())),
        }
    }

    /// The packet behind a chain, where it comes back to its caller.
    fn chain(&mut self, at: usize, state: State) -> Option<State> {
        let chain: &'a Chain = &self.ruleset.tables[self.table].chains[at];
        let mut back = None;
        let mut here = Some(state);
        for rule in 0..chain.rules.len() {
            let Some(state) = here else { break };
            self.steps += 1;
            if self.steps > MOST_STEPS {
                self.is_complete = false;
                break;
            }
            let mut returned = None;
            let ends = self.ends;
            here = self.rule(at, rule, state, &mut returned);
            if let Some(here) = here
                .as_mut()
                .filter(|_| ends == self.ends && returned.is_none())
            {
                here.sure = state.sure;
            }
            back = either(back, returned);
        }
        either(back, here)
    }

    /// The packet behind a rule, where the chain goes on.
    fn rule(
        &mut self,
        chain: usize,
        rule: usize,
        state: State,
        returned: &mut Option<State>,
    ) -> Option<State> {
        let table: &'a Table = &self.ruleset.tables[self.table];
        let mut passed_by = None;
        let mut inside = Some(state);
        for statement in &table.chains[chain].rules[rule].statements {
            let Some(state) = inside else { break };
            match statement {
                Statement::Match(condition) => {
                    let (holds, fails) = self.split(condition, state);
                    passed_by = either(passed_by, fails);
                    inside = holds;
                    if inside.is_none() {
                        break;
                    }
                }
                Statement::Mark { and, xor, known } => {
                    inside = Some(State {
                        mark: (state.mark & and) ^ xor,
                        known: (state.known | !and) & known,
                        ..state
                    });
                }
                Statement::Verdict(verdict) => {
                    inside = self.verdict(chain, rule, verdict, state, returned);
                    break;
                }
                Statement::VerdictMap { key, name, entries } => {
                    let entries = match name {
                        Some(name) => table.maps.get(name),
                        None => Some(entries),
                    };
                    let Some(entries) = entries else {
                        self.is_complete = false;
                        break;
                    };
                    let values: Vec<_> = key.iter().map(|f| self.packet.value(*f)).collect();
                    let truth = |entry: &Entry| matches(key, &values, &entry.element);
                    let mut left = Some(state);
                    if values.contains(&Value::Absent) {
                        break;
                    }
                    // What matches everything counts where nothing else does.
                    let (rest, specific): (Vec<_>, Vec<_>) = entries
                        .iter()
                        .partition(|entry| entry.element.parts.is_empty());
                    for entry in specific.into_iter().chain(rest) {
                        let Some(rest) = left else { break };
                        let truth = truth(entry);
                        if truth == Truth::No {
                            continue;
                        }
                        let taken = if truth == Truth::Yes {
                            rest
                        } else {
                            rest.unsure()
                        };
                        let comment = entry.element.comment.clone();
                        let named = name.clone().unwrap_or_default();
                        self.maps.push((named, comment));
                        let behind = self.verdict(chain, rule, &entry.verdict, taken, returned);
                        self.maps.pop();
                        passed_by = either(passed_by, behind);
                        left = (truth != Truth::Yes).then(|| rest.unsure());
                    }
                    // A key that the map does not have ends the rule.
                    inside = left;
                    break;
                }
            }
        }
        either(passed_by, inside)
    }

    fn verdict(
        &mut self,
        chain: usize,
        rule: usize,
        verdict: &Verdict,
        state: State,
        returned: &mut Option<State>,
    ) -> Option<State> {
        match verdict {
            Verdict::Drop | Verdict::Reject | Verdict::Queue => {
                self.end(chain, Some(rule), verdict, state);
                // A queue's process may send the packet on.
                (*verdict == Verdict::Queue).then(|| state.unsure())
            }
            Verdict::Accept => {
                self.ends += 1;
                self.accepted = either(self.accepted, Some(state));
                None
            }
            Verdict::Return => {
                *returned = either(*returned, Some(state));
                None
            }
            Verdict::Continue => Some(state),
            Verdict::Unknown => {
                self.ends += 1;
                let state = state.unsure();
                self.accepted = either(self.accepted, Some(state));
                Some(state)
            }
            Verdict::Jump(target) => self.called(target, state),
            Verdict::Goto(target) => {
                let back = self.called(target, state);
                *returned = either(*returned, back);
                None
            }
        }
    }

    /// The packet behind a chain that is jumped to.
    fn called(&mut self, target: &str, state: State) -> Option<State> {
        let Some(at) = self.ruleset.tables[self.table].chain(target) else {
            // Not a chain, so a target that is not known.
            self.ends += 1;
            self.accepted = either(self.accepted, Some(state.unsure()));
            return Some(state.unsure());
        };
        if self.depth >= DEEPEST {
            self.is_complete = false;
            return Some(state.unsure());
        }
        self.depth += 1;
        let ends = self.ends;
        let mut behind = self.chain(at, state);
        if let Some(behind) = behind.as_mut().filter(|_| ends == self.ends) {
            behind.sure = state.sure;
        }
        self.depth -= 1;
        behind
    }

    fn end(&mut self, chain: usize, rule: Option<usize>, verdict: &Verdict, state: State) {
        self.ends += 1;
        let shown = self.packet.mark.unwrap_or(state.mark);
        if (shown ^ state.mark) & state.known != 0 {
            return;
        }
        let reached = if state.sure { Truth::Yes } else { Truth::Maybe };
        let same = |other: &&mut Candidate| {
            (other.table, other.chain, other.rule) == (self.table, chain, rule)
        };
        if let Some(known) = self.candidates.iter_mut().find(same) {
            known.reached = known.reached.max(reached);
            return;
        }
        self.candidates.push(Candidate {
            table: self.table,
            chain,
            rule,
            base: self.base,
            verdict: verdict.clone(),
            reached,
            map: self.maps.last().cloned(),
        });
    }

    /// The packet where the condition holds, and where it does not.
    fn split(&self, condition: &Condition, state: State) -> (Option<State>, Option<State>) {
        let by_truth = |truth: Truth| match truth {
            Truth::Yes => (Some(state), None),
            Truth::No => (None, Some(state)),
            Truth::Maybe => (Some(state.unsure()), Some(state.unsure())),
        };
        match condition {
            Condition::Unknown => by_truth(Truth::Maybe),
            Condition::In {
                key,
                negated,
                values,
            } => by_truth(match self.among(key, values) {
                Some(truth) => truth.negated_if(*negated),
                None => Truth::No,
            }),
            Condition::LaterFragment { negated } => {
                by_truth(Truth::from(self.packet.is_later_fragment != *negated))
            }
            Condition::TcpFlags {
                mask,
                value,
                negated,
            } => by_truth(match self.packet.tcp_flags {
                _ if self.packet.proto != 6 || self.packet.is_later_fragment => Truth::No,
                None => Truth::Maybe,
                Some(flags) => {
                    let flags = flags & mask;
                    let holds = value.map_or(flags != 0, |value| flags == value);
                    Truth::from(holds != *negated)
                }
            }),
            Condition::State {
                states,
                more,
                negated,
            } => swapped_if(*negated, by_conntrack(state, *states, *more)),
            Condition::Mark {
                mask,
                value,
                negated,
            } => swapped_if(*negated, by_mark(state, *mask, *value)),
        }
    }

    fn among(&self, key: &[super::condition::Field], values: &Values) -> Option<Truth> {
        let in_set = |key: &[_], set: &super::model::Set| {
            let truth = among(self.packet, key, &set.elements)?;
            Some(if set.is_volatile { Truth::Maybe } else { truth })
        };
        match values {
            Values::Inline(elements) => among(self.packet, key, elements),
            Values::Set(name) => match self.ruleset.tables[self.table].sets.get(name) {
                Some(set) => in_set(key, set),
                None => Some(Truth::Maybe),
            },
            Values::IpSet { name, sources } => match self.ruleset.ipsets.get(name) {
                Some(set) => in_set(&set.key(sources), &set.set),
                None => Some(Truth::Maybe),
            },
        }
    }
}

/// Whether a rule asks for the state `invalid`, and for no other.
pub(super) fn asks_for_invalid(statements: &[Statement]) -> bool {
    statements.iter().any(|statement| {
        matches!(
            statement,
            Statement::Match(Condition::State {
                states: state::INVALID,
                negated: false,
                ..
            })
        )
    })
}
