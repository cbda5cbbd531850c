//! A rule of another table that accepts what was dropped: two firewalls share a host, or two backends of
//! iptables do, and one does not know of the other's rules.

use crate::{
    model::Hook,
    node::ruleset::{
        Ruleset,
        model::Table,
        packet::HookPacket,
        suspects::Suspect,
        walk::{Question, Walk},
    },
};

/// The rule, in words; `None` where a hook can translate the packet, or no rule surely accepts it.
pub(super) fn accepting(
    ruleset: &Ruleset,
    suspect: &Suspect,
    packet: &HookPacket,
) -> Option<String> {
    (packet.hook == Some(Hook::Forward)).then_some(())?;
    let own = &ruleset.tables[suspect.at.table];
    let others = ruleset.tables.iter();
    let mut others = others.filter(|table| !std::ptr::eq(*table, own) && filters(table));
    others.find_map(|other| {
        let is_other = |table: &Table| std::ptr::eq(table, other);
        let walk = Walk::new(ruleset, packet, Question::WhatBecomes, is_other);
        let place = walk.accepting.first()?;
        Some(ruleset.that_takes(*place, packet).describe())
    })
}

/// Whether a table is there to filter: those of iptables have their purposes.
fn filters(table: &Table) -> bool {
    !table.is_iptables() || table.name == "filter"
}
