//! What NAT makes of a packet at a hook, by the connection's entry in conntrack.
//!
//! The kernel translates destinations in PREROUTING and OUTPUT and sources in INPUT and
//! POSTROUTING, answers at the same places the other way round. A rule in front of that place sees
//! the packet as it came to the hook; a drop shows it as it was at the rule that dropped it.

use super::packet::{Ends, Entry, Side, Translation};
use crate::model::Hook;

/// What is known of the entry besides its tuples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The entry is in the table: other packets before this one may have made it.
    pub(crate) is_confirmed: bool,
    /// The translation of the source was decided on, be it to none.
    pub(crate) source_done: bool,
    /// The same for the destination.
    pub(crate) destination_done: bool,
}

/// Where a hook translates.
pub(super) fn of_hook(hook: Hook) -> Option<Nat> {
    match hook {
        Hook::Prerouting | Hook::Output => Some(Nat::Destination),
        Hook::Input | Hook::Postrouting => Some(Nat::Source),
        _ => None,
    }
}

/// What a hook translates, in packets of the connection's own direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nat {
    Destination,
    Source,
}

impl Nat {
    /// The priority at which it happens (`NF_IP_PRI_NAT_DST` and `NF_IP_PRI_NAT_SRC` of
    /// include/uapi/linux/netfilter_ipv4.h), whatever the priorities of the chains that decide.
    pub(super) fn priority(self) -> i64 {
        match self {
            Self::Destination => -100,
            Self::Source => 100,
        }
    }
}

impl Translation {
    /// That of a packet which was dropped at the hook and showed these ends.
    pub(crate) fn of_drop(
        hook: Option<Hook>,
        shown: Ends,
        entry: Option<Entry>,
        progress: Option<Progress>,
    ) -> Self {
        let unknown = Self::default();
        let Some(hook) = hook else { return unknown };
        let Some(nat) = of_hook(hook) else {
            return Self {
                before: Some(shown),
                after: Some(shown),
                side: Side::Either,
            };
        };
        let Some(Entry {
            original,
            reply,
            is_reply,
        }) = entry
        else {
            return unknown;
        };
        let (before, after) = match (reply, is_reply, nat) {
            (Some(reply), false, Nat::Destination) => {
                (original, original.to_destination_of(reply.reversed()))
            }
            (Some(reply), false, Nat::Source) => (
                original.to_destination_of(reply.reversed()),
                reply.reversed(),
            ),
            (Some(reply), true, Nat::Destination) => {
                (reply, reply.to_destination_of(original.reversed()))
            }
            (Some(reply), true, Nat::Source) => (
                reply.to_destination_of(original.reversed()),
                original.reversed(),
            ),
            // Without the answers' tuple, only what the first packet looked like is known.
            (None, false, Nat::Destination) => (original, shown),
            (None, ..) => return unknown,
        };
        if !shown.is_like(before) && !shown.is_like(after) {
            // The entry is another packet's: that of a tunnel, or of what an ICMP error quotes.
            return unknown;
        }
        let is_done = progress.map(|progress| match nat {
            Nat::Destination => progress.destination_done,
            Nat::Source => progress.source_done,
        });
        let is_own = progress.is_some_and(|progress| !progress.is_confirmed);
        let side = match is_done {
            // Only this packet could have reached NAT yet.
            Some(true) if is_own => Side::Behind,
            Some(false) if is_own => Side::Before,
            _ if before.is_like(after) => Side::Either,
            _ if shown.is_like(after) => Side::Behind,
            _ => Side::Before,
        };
        Self {
            before: Some(before),
            after: (is_done != Some(false) || !is_own).then_some(after),
            side,
        }
    }
}

impl Ends {
    /// The same, as far as ports are known.
    pub(super) fn is_like(self, other: Self) -> bool {
        let alike =
            |one: Option<u16>, other: Option<u16>| one.is_none() || other.is_none() || one == other;
        (self.src, self.dst) == (other.src, other.dst)
            && alike(self.sport, other.sport)
            && alike(self.dport, other.dport)
    }
}
