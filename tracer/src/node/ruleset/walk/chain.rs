//! Through one chain: its rules, their statements and verdicts.

use super::{Candidate, MOST_MARKS, Marked, Question, Walk};
use crate::node::ruleset::{
    condition::{Condition, Element, Field, Mark, Part, Translated, Values, state},
    model::{Chain, Entry, Statement, Table, Verdict},
    names::number_of,
    packet::Side,
    state::{State, either},
    truth::Truth,
};

/// The kernel's own limit of nested jumps.
const DEEPEST: usize = 16;
/// Rules looked at before giving up.
const MOST_STEPS: usize = 2_000_000;

impl<'a> Walk<'a> {
    /// The packet behind a chain, where it comes back to its caller.
    pub(super) fn chain(&mut self, at: usize, state: State) -> Option<State> {
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
            inside = match statement {
                Statement::Match(condition) => {
                    let (holds, fails) = self.split(condition, state);
                    passed_by = either(passed_by, fails);
                    holds
                }
                Statement::Mark(change) => {
                    if self.marked.len() < MOST_MARKS {
                        self.marked.push(Marked {
                            place: [self.table, chain, rule, self.base],
                            by: self.callers.last().copied(),
                            change: *change,
                            is_sure: state.sure,
                        });
                    }
                    Some(state.changed(*change))
                }
                Statement::Tproxy(proxy) => {
                    let place = [self.table, chain, rule, self.base];
                    self.proxied.push((place, *proxy));
                    passed_by = either(passed_by, Some(state.unsure()));
                    Some(state.guessed())
                }
                Statement::Untrack => {
                    self.exempting = Some([self.table, chain, rule, self.base]);
                    Some(State {
                        states: state::UNTRACKED,
                        ..state
                    })
                }
                Statement::Zone(zone) => {
                    self.track_in(*zone, state.sure);
                    Some(state)
                }
                Statement::Rewrite(_) => Some(state),
                Statement::Nat(nat) => {
                    self.ends += 1;
                    let behind = state.translated(nat);
                    match self.question {
                        Question::WhatBecomes => {
                            self.translated.push(behind);
                            let place = [self.table, chain, rule, self.base];
                            self.translating.push(place);
                        }
                        Question::WhoDropped => {
                            self.accepted = either(self.accepted, Some(behind));
                        }
                    }
                    None
                }
                Statement::Verdict(verdict) => {
                    inside = self.verdict(chain, rule, verdict, state, returned);
                    break;
                }
                Statement::VerdictMap { key, name, entries } => {
                    let entries = match name {
                        Some(name) => table.maps.get(name).map(Vec::as_slice),
                        None => Some(entries.as_slice()),
                    };
                    let Some(entries) = entries else {
                        self.is_complete = false;
                        break;
                    };
                    let map = (name.as_deref().unwrap_or_default(), key.as_slice(), entries);
                    let (behind, left) = self.map((chain, rule), map, state, returned);
                    passed_by = either(passed_by, behind);
                    inside = left;
                    break;
                }
            };
        }
        either(passed_by, inside)
    }

    /// The packet behind the verdicts of a map, and where the map has none for it.
    fn map(
        &mut self,
        (chain, rule): (usize, usize),
        (name, key, entries): (&str, &[Field], &'a [Entry]),
        state: State,
        returned: &mut Option<State>,
    ) -> (Option<State>, Option<State>) {
        let mut behind = None;
        let mut left = Some(state);
        // What matches everything counts where nothing else does.
        let (rest, specific): (Vec<_>, Vec<_>) = entries
            .iter()
            .partition(|entry| entry.element.parts.is_empty());
        for entry in specific.into_iter().chain(rest) {
            let Some(here) = left else { break };
            let (taken, others) = self.split_by(key, &entry.element, here);
            left = others;
            let Some(taken) = taken else { continue };
            let comment = entry.element.comment.clone();
            self.maps.push((name.to_owned(), comment));
            let passed = self.verdict(chain, rule, &entry.verdict, taken, returned);
            self.maps.pop();
            behind = either(behind, passed);
        }
        // A key that the map does not have ends the rule.
        (behind, left)
    }

    /// The packet whose key is the element, and the one whose key is another.
    fn split_by(
        &self,
        key: &[Field],
        element: &Element,
        state: State,
    ) -> (Option<State>, Option<State>) {
        let number = |field| match element.parts.as_slice() {
            [Part::Range(low, high)] if low == high => Some(*low),
            [Part::Name(name)] => number_of(field, name),
            _ => None,
        };
        // What is known of marks and states grows by the entries that it was not.
        let condition = match key {
            _ if element.parts.is_empty() => return (Some(state), None),
            [Field::State] => number(Field::State).and_then(|states| {
                Some(Condition::State {
                    states: u8::try_from(states).ok()?,
                    translated: Translated::default(),
                    negated: false,
                })
            }),
            [Field::Mark(of)] => number(Field::Mark(*of)).and_then(|value| mark(*of, value)),
            _ => None,
        };
        let condition = condition.unwrap_or_else(|| Condition::In {
            key: key.to_vec(),
            negated: false,
            values: Values::Inline(vec![element.clone()]),
        });
        self.split(&condition, state)
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
            Verdict::Drop | Verdict::Reject(_) => {
                self.end(chain, Some(rule), verdict, state);
                None
            }
            // A process may send the packet on, or take it.
            Verdict::Queue => {
                self.end(chain, Some(rule), verdict, state);
                Some(state.unsure())
            }
            Verdict::Proxy(_) => {
                self.end(chain, Some(rule), verdict, state);
                self.accepted = either(self.accepted, Some(state.unsure()));
                None
            }
            Verdict::Accept => {
                self.ends += 1;
                if state.sure {
                    let place = [self.table, chain, rule, self.base];
                    self.accepting.push(place);
                }
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
                let state = state.guessed();
                self.accepted = either(self.accepted, Some(state));
                Some(state)
            }
            Verdict::Jump(target) => self.called((chain, rule), target, state),
            Verdict::Goto(target) => {
                let back = self.called((chain, rule), target, state);
                *returned = either(*returned, back);
                None
            }
        }
    }

    /// The packet behind a chain that is jumped to.
    fn called(
        &mut self,
        (chain, rule): (usize, usize),
        target: &str,
        state: State,
    ) -> Option<State> {
        let Some(at) = self.ruleset.tables[self.table].chain(target) else {
            // Not a chain, so a target that is not known.
            self.ends += 1;
            self.accepted = either(self.accepted, Some(state.guessed()));
            return Some(state.guessed());
        };
        if self.depth >= DEEPEST {
            self.is_complete = false;
            return Some(state.unsure());
        }
        self.depth += 1;
        self.callers.push([self.table, chain, rule, self.base]);
        let ends = self.ends;
        let mut behind = self.chain(at, state);
        if let Some(behind) = behind.as_mut().filter(|_| ends == self.ends) {
            behind.sure = state.sure;
        }
        self.callers.pop();
        self.depth -= 1;
        behind
    }

    pub(super) fn end(
        &mut self,
        chain: usize,
        rule: Option<usize>,
        verdict: &Verdict,
        state: State,
    ) {
        self.ends += 1;
        if self.question == Question::WhoDropped && !self.is_as_shown(state) {
            return;
        }
        let reached = if state.sure { Truth::Yes } else { Truth::Maybe };
        let same = |other: &&mut Candidate| {
            (other.table, other.chain, other.rule) == (self.table, chain, rule)
        };
        if let Some(known) = self.candidates.iter_mut().find(same) {
            known.reached = known.reached.max(reached);
            known.open = known.open.min(state.open);
            return;
        }
        self.candidates.push(Candidate {
            table: self.table,
            chain,
            rule,
            base: self.base,
            verdict: verdict.clone(),
            reached,
            open: state.open,
            as_invalid: state.as_invalid,
            map: self.maps.last().cloned(),
        });
    }

    /// Whether a packet that is dropped here looks as the drop showed it.
    fn is_as_shown(&self, state: State) -> bool {
        let packet = self.packet;
        let shown = packet.mark.unwrap_or(state.mark.value);
        let is_other_side = matches!(
            (self.side, packet.nat.side),
            (Side::Before, Side::Behind) | (Side::Behind, Side::Before)
        );
        let has_entry = packet.entry.is_some();
        !(is_other_side
            || (shown ^ state.mark.value) & state.mark.known != 0
            || !state.may_be(packet.ends)
            || (self.is_untracked && self.came_untracked && has_entry))
    }
}

fn mark(of: Mark, value: u128) -> Option<Condition> {
    Some(Condition::Mark {
        of,
        mask: u32::MAX,
        value: u32::try_from(value).ok()?,
        negated: false,
    })
}
