//! What is known of a packet on its way through the chains, and how conditions add to it.

use std::{collections::HashSet, mem};

use super::model::{Statement, Table, Verdict};

/// What is known of a packet on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// It comes here for sure.
    pub(super) sure: bool,
    pub(super) states: u8,
    pub(super) mark: u32,
    /// The bits of `mark` that are known.
    pub(super) known: u32,
}

impl State {
    pub(super) fn unsure(self) -> Self {
        Self {
            sure: false,
            ..self
        }
    }
}

pub(super) fn either(one: Option<State>, other: Option<State>) -> Option<State> {
    let (Some(one), Some(other)) = (one, other) else {
        return one.or(other);
    };
    Some(State {
        sure: one.sure || other.sure,
        states: one.states | other.states,
        mark: one.mark,
        known: one.known & other.known & !(one.mark ^ other.mark),
    })
}

/// The packet whose state is one of these, and the one whose state is not.
pub(super) fn by_conntrack(state: State, states: u8, more: bool) -> (Option<State>, Option<State>) {
    let (holding, failing) = (state.states & states, state.states & !states);
    let branch = |states: u8, whole: bool| {
        (states != 0).then_some(State {
            states,
            sure: state.sure && whole,
            ..state
        })
    };
    let holds = match more {
        true => Some(state.unsure()),
        false => branch(holding, failing == 0),
    };
    (holds, branch(failing, holding == 0 && !more))
}

pub(super) fn swapped_if<T>(swap: bool, mut pair: (T, T)) -> (T, T) {
    if swap {
        mem::swap(&mut pair.0, &mut pair.1);
    }
    pair
}

/// The packet whose mark has these bits, and the one whose mark has not.
pub(super) fn by_mark(state: State, mask: u32, value: u32) -> (Option<State>, Option<State>) {
    let differs = (state.mark ^ value) & mask;
    if differs & state.known != 0 || value & !mask != 0 {
        return (None, Some(state));
    }
    let unknown = mask & !state.known;
    if unknown == 0 {
        return (Some(state), None);
    }
    let holds = State {
        mark: (state.mark & !unknown) | (value & unknown),
        known: state.known | unknown,
        ..state.unsure()
    };
    // Only a single bit that is not so must be the other.
    let fails = match unknown.is_power_of_two() {
        true => State {
            mark: (state.mark & !unknown) | (!value & unknown),
            ..holds
        },
        false => state.unsure(),
    };
    (Some(holds), Some(fails))
}

/// The bits of the mark that the rules of a chain, and of those it leads to, can change.
pub(super) fn changed_bits(table: &Table, chain: usize) -> u32 {
    let mut seen = HashSet::from([chain]);
    let mut open = vec![chain];
    let mut changed = 0;
    while let Some(chain) = open.pop() {
        for statement in table.chains[chain]
            .rules
            .iter()
            .flat_map(|rule| &rule.statements)
        {
            let mut targets = Vec::new();
            match statement {
                Statement::Mark { and, xor, known } => changed |= !and | xor | !known,
                Statement::Verdict(verdict) => targets.push(verdict),
                Statement::VerdictMap { name, entries, .. } => {
                    let named = name.as_ref().and_then(|name| table.maps.get(name));
                    let entries = named.unwrap_or(entries).iter();
                    targets.extend(entries.map(|entry| &entry.verdict));
                }
                Statement::Match(_) => {}
            }
            for verdict in targets {
                if let Verdict::Jump(name) | Verdict::Goto(name) = verdict
                    && let Some(target) = table.chain(name)
                    && seen.insert(target)
                {
                    open.push(target);
                }
            }
        }
    }
    changed
}
