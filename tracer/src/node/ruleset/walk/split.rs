//! Conditions: the packet where they hold, and where they do not.

use super::Walk;
use crate::node::ruleset::{
    condition::{Condition, Field, Translated, Values, state},
    model::Set,
    state::{State, by_conntrack, by_mark, swapped_if},
    truth::{Truth, among},
    value::Value,
};

impl Walk<'_> {
    /// The packet where the condition holds, and where it does not.
    pub(super) fn split(
        &self,
        condition: &Condition,
        state: State,
    ) -> (Option<State>, Option<State>) {
        let packet = self.packet;
        let by_truth = |truth: Truth| match truth {
            Truth::Yes => (Some(state), None),
            Truth::No => (None, Some(state)),
            Truth::Maybe => (Some(state.guessed()), Some(state.unsure())),
        };
        match condition {
            Condition::Unknown(guard) => by_truth(match packet.lacks(*guard) {
                true => Truth::No,
                false => Truth::Maybe,
            }),
            Condition::In {
                key,
                negated,
                values,
            } => by_truth(match self.among(key, values, &state) {
                Some(truth) => truth.negated_if(*negated),
                None => Truth::No,
            }),
            Condition::Masked {
                field,
                mask,
                negated,
                values,
            } => by_truth(match packet.value(&state, *field) {
                Value::Absent => Truth::No,
                Value::Number(number) => {
                    let masked = Value::Number(number & mask);
                    among(&[*field], &[masked], values).negated_if(*negated)
                }
                _ => Truth::Maybe,
            }),
            Condition::LaterFragment { negated } => {
                by_truth(Truth::from(packet.is_later_fragment != *negated))
            }
            Condition::TcpFlags {
                mask,
                value,
                negated,
            } => by_truth(match packet.tcp_flags {
                _ if packet.proto != 6 || packet.is_later_fragment => Truth::No,
                None => Truth::Maybe,
                Some(flags) => {
                    let flags = flags & mask;
                    let holds = value.map_or(flags != 0, |value| flags == value);
                    Truth::from(holds != *negated)
                }
            }),
            Condition::State {
                states,
                translated,
                negated,
            } => {
                let translated = self.is_translated(*translated);
                let (holds, fails) = swapped_if(*negated, by_conntrack(state, *states, translated));
                // In front of conntrack nothing has been found to fit no connection.
                let asks = if *negated {
                    state::ALL & !states
                } else {
                    *states
                };
                let is_invalid = asks & !(state::INVALID | state::UNTRACKED) == 0;
                let holds = holds.map(|holds| State {
                    as_invalid: holds.as_invalid || is_invalid && !self.is_untracked,
                    ..holds
                });
                (holds, fails)
            }
            Condition::Mark {
                of,
                mask,
                value,
                negated,
            } => swapped_if(*negated, by_mark(state, *of, *mask, *value)),
        }
    }

    /// Whether conntrack translates the connection in one of these ways.
    fn is_translated(&self, asked: Translated) -> Option<bool> {
        if asked == Translated::default() {
            return Some(false);
        }
        let entry = self.packet.entry?;
        let back = entry.reply?.reversed();
        let destination = (entry.original.dst, entry.original.dport) != (back.dst, back.dport);
        let source = (entry.original.src, entry.original.sport) != (back.src, back.sport);
        Some(asked.destination && destination || asked.source && source)
    }

    fn among(&self, key: &[Field], values: &Values, state: &State) -> Option<Truth> {
        match values {
            Values::Inline(elements) => {
                let values = self.values(key, state)?;
                Some(among(key, &values, elements))
            }
            Values::Set(name) => match self.ruleset.tables[self.table].sets.get(name) {
                Some(set) => self.in_set(key, set, state),
                None => self.values(key, state).map(|_| Truth::Maybe),
            },
            Values::IpSet { name, sources } => Some(self.in_ipset(name, sources, state, 0)),
        }
    }

    /// The packet's values; `None` if it lacks one of the fields.
    fn values(&self, key: &[Field], state: &State) -> Option<Vec<Value<'_>>> {
        let values: Vec<_> = key
            .iter()
            .map(|field| self.packet.value(state, *field))
            .collect();
        (!values.contains(&Value::Absent)).then_some(values)
    }

    fn in_set(&self, key: &[Field], set: &Set, state: &State) -> Option<Truth> {
        let values = self.values(key, state)?;
        Some(match among(key, &values, &set.elements) {
            Truth::No if set.loses => Truth::Maybe,
            truth => truth,
        })
    }

    /// Whether an ipset holds the packet. For ipset, a field that the packet lacks is no match, so
    /// that a negated condition holds.
    fn in_ipset(&self, name: &str, sources: &[bool], state: &State, depth: usize) -> Truth {
        /// A list of sets holds no lists.
        const DEEPEST: usize = 1;
        let Some(set) = self.ruleset.ipsets.get(name) else {
            return Truth::Maybe;
        };
        if set.lists.is_empty() {
            let key = set.key(sources);
            return self.in_set(&key, &set.set, state).unwrap_or(Truth::No);
        }
        if depth >= DEEPEST {
            return Truth::Maybe;
        }
        let members = set.lists.iter();
        members
            .map(|member| self.in_ipset(member, sources, state, depth + 1))
            .max()
            .unwrap_or(Truth::No)
    }
}
