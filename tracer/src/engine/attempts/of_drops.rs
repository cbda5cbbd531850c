//! What the attempts say of a drop, before it is judged.

use std::{net::IpAddr, time::Duration};

use super::Attempts;
use crate::{
    attempt::{Lost, Reply},
    decode::{
        drop::{DropFacts, SentBack},
        untranslated::Untranslated,
    },
    engine::knowledge::Context,
    model::Direction,
};

/// A rule that rejects a packet answers it, and drops it right after that.
const ANSWERS_WITHIN: Duration = Duration::from_millis(10);

impl Attempts {
    /// Whether the attempt that a dropped packet belongs to has reached its destination.
    pub(crate) fn has_reached(&self, facts: &DropFacts) -> bool {
        // Copies are flooded to where the packet itself does not pass.
        let of = self.table.claimed_owner_of(facts);
        let attempt = of.and_then(|(key, ..)| self.table.get(&key));
        attempt
            .is_some_and(|attempt| matches!(attempt.reply, Some(Reply::Answer(_) | Reply::Reset)))
    }

    /// Whether an attempt is between two addresses, at any of its hops.
    pub(crate) fn connects(&self, one: IpAddr, other: IpAddr) -> bool {
        self.table.connects(one, other)
    }

    /// The translation that a dropped segment lacks, and its connection began with.
    pub(crate) fn untranslated(&self, facts: &DropFacts) -> Option<Untranslated> {
        let (_, untranslated) = self.table.untranslated(facts)?;
        Some(untranslated)
    }

    /// What was sent back just before an opening packet was dropped, in the same namespace.
    pub(crate) fn sent_back(&self, facts: &DropFacts, cx: &Context<'_>) -> Option<SentBack> {
        let (key, lost, _) = self.table.claimed_owner_of(facts)?;
        let attempt = self.table.get(&key).filter(|_| lost == Lost::Opening)?;
        let first = attempt.reply_hops.first()?;
        let is_from_here =
            first.place.dir == Direction::Out && facts.netns == Some(first.place.netns);
        let ago = facts.at.duration_since(cx.clock.wall(first.at)).ok()?;
        (is_from_here && ago < ANSWERS_WITHIN).then_some(())?;
        match attempt.reply.as_ref()? {
            Reply::Answer(_) => None,
            Reply::Reset => Some(SentBack::Reset),
            Reply::Rejection(rejection) => {
                let [kind, code] = rejection.icmp;
                Some(SentBack::Error(kind, code))
            }
        }
    }
}
