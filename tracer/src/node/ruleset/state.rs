//! What is known of a packet on its way through the chains, and how conditions add to it.

use std::mem;

use super::{
    condition::Mark,
    model::{MarkChange, Nat, NatPort},
    packet::Ends,
};

/// What is known of a packet on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// It comes here for sure.
    pub(super) sure: bool,
    /// Conditions on its way here that may not hold.
    pub(super) open: u16,
    /// The states that conntrack may have given it.
    pub(super) states: u8,
    /// It comes here because a condition asked for packets that fit no connection.
    pub(super) as_invalid: bool,
    pub(super) mark: Known,
    pub(super) connection_mark: Known,
    pub(super) ends: Ends,
    /// Which of them are known, as bits of [`End`].
    pub(super) known_ends: u8,
}

/// A number of which some bits are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) value: u32,
    pub(super) known: u32,
}

/// One of the parts of [`Ends`].
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Source = 1,
    Destination = 2,
    SourcePort = 4,
    DestinationPort = 8,
}

pub(super) const ALL_ENDS: u8 = 15;

impl State {
    pub(super) fn unsure(self) -> Self {
        Self {
            sure: false,
            ..self
        }
    }

    /// Behind a condition that may hold.
    pub(super) fn guessed(self) -> Self {
        Self {
            open: self.open.saturating_add(1),
            ..self.unsure()
        }
    }

    pub(super) fn known(&self, end: End) -> bool {
        self.known_ends & end as u8 != 0
    }

    /// Whether the packet can be one with these ends.
    pub(super) fn may_be(&self, ends: Ends) -> bool {
        let agrees = |end, same: bool| same || !self.known(end);
        let alike =
            |one: Option<u16>, other: Option<u16>| one.is_none() || other.is_none() || one == other;
        agrees(End::Source, self.ends.src == ends.src)
            && agrees(End::Destination, self.ends.dst == ends.dst)
            && agrees(End::SourcePort, alike(self.ends.sport, ends.sport))
            && agrees(End::DestinationPort, alike(self.ends.dport, ends.dport))
    }

    fn bits(&mut self, mark: Mark) -> &mut Known {
        match mark {
            Mark::Packet => &mut self.mark,
            Mark::Connection => &mut self.connection_mark,
        }
    }

    pub(super) fn changed(mut self, change: MarkChange) -> Self {
        let from = change.from.map(|from| *self.bits(from)).unwrap_or(Known {
            value: 0,
            known: u32::MAX,
        });
        let to = self.bits(change.to);
        *to = Known {
            value: (to.value & change.keep) ^ (from.value & change.mask) ^ change.xor,
            known: (to.known | !change.keep) & (from.known | !change.mask) & change.known,
        };
        self
    }

    pub(super) fn translated(mut self, nat: &Nat) -> Self {
        let (address, port) = match nat.is_destination {
            true => (End::Destination, End::DestinationPort),
            false => (End::Source, End::SourcePort),
        };
        self.known_ends |= address as u8;
        match nat.address {
            Some(to) if nat.is_destination => self.ends.dst = to,
            Some(to) => self.ends.src = to,
            None => self.known_ends &= !(address as u8),
        }
        match nat.port {
            NatPort::Kept => {}
            NatPort::To(to) => {
                self.known_ends |= port as u8;
                match nat.is_destination {
                    true => self.ends.dport = Some(to),
                    false => self.ends.sport = Some(to),
                }
            }
            NatPort::Unknown => self.known_ends &= !(port as u8),
        }
        self
    }
}

impl Known {
    fn either(self, other: Self) -> Self {
        Self {
            value: self.value,
            known: self.known & other.known & !(self.value ^ other.value),
        }
    }
}

pub(super) fn either(one: Option<State>, other: Option<State>) -> Option<State> {
    let (Some(one), Some(other)) = (one, other) else {
        return one.or(other);
    };
    let same = |end: End, same: bool| if same { end as u8 } else { 0 };
    let agree = same(End::Source, one.ends.src == other.ends.src)
        | same(End::Destination, one.ends.dst == other.ends.dst)
        | same(End::SourcePort, one.ends.sport == other.ends.sport)
        | same(End::DestinationPort, one.ends.dport == other.ends.dport);
    Some(State {
        sure: one.sure || other.sure,
        open: one.open.min(other.open),
        states: one.states | other.states,
        as_invalid: one.as_invalid && other.as_invalid,
        mark: one.mark.either(other.mark),
        connection_mark: one.connection_mark.either(other.connection_mark),
        ends: one.ends,
        known_ends: one.known_ends & other.known_ends & agree,
    })
}

/// The packet whose state is one of these, and the one whose state is not.
pub(super) fn by_conntrack(
    state: State,
    states: u8,
    translated: Option<bool>,
) -> (Option<State>, Option<State>) {
    let (holding, failing) = (state.states & states, state.states & !states);
    let branch = |states: u8, whole: bool| {
        (states != 0).then_some(State {
            states,
            sure: state.sure && whole,
            open: state.open + u16::from(!whole),
            ..state
        })
    };
    match translated {
        Some(true) => (Some(state), None),
        Some(false) => (
            branch(holding, failing == 0),
            branch(failing, holding == 0).map(|failing| State {
                open: state.open,
                ..failing
            }),
        ),
        None => (
            Some(match failing {
                0 => state,
                _ => state.guessed(),
            }),
            branch(failing, false).map(|failing| State {
                open: state.open,
                ..failing
            }),
        ),
    }
}

pub(super) fn swapped_if<T>(swap: bool, mut pair: (T, T)) -> (T, T) {
    if swap {
        mem::swap(&mut pair.0, &mut pair.1);
    }
    pair
}

/// The packet whose mark has these bits, and the one whose mark has not.
pub(super) fn by_mark(
    state: State,
    of: Mark,
    mask: u32,
    value: u32,
) -> (Option<State>, Option<State>) {
    let bits = match of {
        Mark::Packet => state.mark,
        Mark::Connection => state.connection_mark,
    };
    let differs = (bits.value ^ value) & mask;
    if differs & bits.known != 0 || value & !mask != 0 {
        return (None, Some(state));
    }
    let unknown = mask & !bits.known;
    if unknown == 0 {
        return (Some(state), None);
    }
    let with = |mut state: State, value: u32| {
        *state.bits(of) = Known {
            value: (bits.value & !unknown) | (value & unknown),
            known: bits.known | unknown,
        };
        state
    };
    // Only a single bit that is not so must be the other.
    let fails = match unknown.is_power_of_two() {
        true => with(state.unsure(), !value),
        false => state.unsure(),
    };
    (Some(with(state.guessed(), value)), Some(fails))
}
