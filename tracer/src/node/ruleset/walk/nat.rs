//! The hook's NAT, at its place among the chains.

use super::{Place, Question, Walk};
use crate::node::ruleset::{
    condition::state,
    model::Base,
    packet::Side,
    state::{ALL_ENDS, End, Known, State, either},
    translation::Nat,
};

impl Walk<'_> {
    /// The packet behind the hook's NAT.
    pub(super) fn nat(
        &mut self,
        chains: &[(&Base, Place)],
        state: Option<State>,
        nat: Nat,
    ) -> Option<State> {
        let packet = self.packet;
        let translation = packet.nat;
        if self.question == Question::WhoDropped {
            if translation.side != Side::Behind {
                self.side = Side::Before;
                let mut here = state;
                for (_, (table, chain)) in chains {
                    let Some(state) = here else { break };
                    // Later packets of a connection do not come here.
                    let inside = match translation.side {
                        Side::Before => state,
                        _ => state.unsure(),
                    };
                    here = either(
                        self.base_chain(*table, *chain, inside),
                        Some(state.unsure()),
                    );
                }
            }
            if translation.side == Side::Before {
                return None;
            }
            // Where it is not known what came to the hook, it came here whatever rules in front
            // of NAT say.
            let shown = |state: State| State {
                ends: packet.ends,
                known_ends: ALL_ENDS,
                ..state
            };
            let through = match translation.before {
                Some(_) => state,
                None => either(state, Some(self.start_again(state))),
            };
            return through.map(shown);
        }
        let state = state?;
        if let Some(after) = translation.after {
            return Some(State {
                ends: after,
                known_ends: ALL_ENDS,
                ..state
            });
        }
        // What conntrack has no entry for passes NAT as it is (`nf_nat_inet_fn`, nf_nat_core.c).
        let outside = state.states & (state::UNTRACKED | state::INVALID);
        let untouched = (outside != 0).then_some(State {
            states: outside,
            sure: state.sure && outside == state.states,
            ..state
        });
        let first = state.states & (state::NEW | state::RELATED);
        let mut here = (first != 0).then_some(State {
            states: first,
            sure: state.sure && first == state.states,
            ..state
        });
        for (_, (table, chain)) in chains {
            let Some(state) = here else { break };
            here = self.base_chain(*table, *chain, state);
        }
        let later = state.states & !first & !outside;
        let later = (later != 0).then(|| {
            let (address, port) = match nat {
                Nat::Destination => (End::Destination, End::DestinationPort),
                Nat::Source => (End::Source, End::SourcePort),
            };
            State {
                states: later,
                known_ends: state.known_ends & !(address as u8 | port as u8),
                ..state.unsure()
            }
        });
        self.untranslated = either(either(here, later), untouched);
        let translated = self.translated.iter().copied().map(Some);
        translated.fold(self.untranslated, either)
    }

    /// The packet as it comes behind NAT where nothing is known of what came before.
    fn start_again(&self, state: Option<State>) -> State {
        let known = |known: Known| Known { known: 0, ..known };
        let packet = self.packet;
        let base = state.unwrap_or(State {
            sure: false,
            open: 0,
            states: self.states(),
            as_invalid: false,
            mark: Known::default(),
            connection_mark: Known::default(),
            ends: packet.ends,
            known_ends: ALL_ENDS,
        });
        State {
            mark: known(base.mark),
            connection_mark: known(base.connection_mark),
            ..base.unsure()
        }
    }
}
