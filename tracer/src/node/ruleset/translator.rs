//! Which rule translates the destination of a packet, and what would without it.

use super::{
    Ruleset,
    model::Statement,
    packet::HookPacket,
    state::End,
    suspects::Suspect,
    walk::{Question, Walk},
};

/// A rule that translates a packet's destination.
#[derive(Clone, Debug)]
pub(crate) struct Translator {
    /// The rule.
    pub(crate) rule: Suspect,
    /// The packet behind it.
    pub(crate) packet: HookPacket,
}

impl Ruleset {
    /// The rule that translates a new connection's packet at its hook; `None` if none does, or if that
    /// depends on what is not known.
    pub(crate) fn translator(&self, packet: &HookPacket) -> Option<Translator> {
        let walk = Walk::new(self, packet, Question::WhatBecomes, |_| true);
        let is_complete = walk.is_complete && self.nft_read && self.legacy_read;
        let ([state], [place]) = (walk.translated.as_slice(), walk.translating.as_slice()) else {
            return None;
        };
        let is_known = state.sure && state.known(End::Destination);
        (is_complete && is_known).then(|| Translator {
            rule: self.that_takes(*place, packet),
            packet: HookPacket {
                ends: state.ends,
                ..packet.clone()
            },
        })
    }

    /// The same rules, without what this one translates.
    pub(crate) fn without(&self, translator: &Translator) -> Self {
        let mut all = self.clone();
        let at = translator.rule.at;
        if let Some(rule) = at.rule {
            let rule = &mut all.tables[at.table].chains[at.chain].rules[rule];
            rule.statements
                .retain(|statement| !matches!(statement, Statement::Nat(_)));
        }
        all
    }
}
