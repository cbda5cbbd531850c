//! Which bits of the firewall mark the rules of a hook can change.

use std::collections::HashSet;

use super::Place;
use crate::node::ruleset::{
    Ruleset,
    condition::Mark,
    model::{Statement, Table, Verdict},
};

/// The bits that the rules of these chains, and of those they lead to, can change.
pub(super) fn changed(ruleset: &Ruleset, places: impl Iterator<Item = Place>) -> u32 {
    places.fold(0, |changed, (table, chain)| {
        changed | changed_by(&ruleset.tables[table], chain)
    })
}

fn changed_by(table: &Table, chain: usize) -> u32 {
    let mut seen = HashSet::from([chain]);
    let mut open = vec![chain];
    let mut changed = 0;
    while let Some(chain) = open.pop() {
        let rules = table.chains[chain].rules.iter();
        for statement in rules.flat_map(|rule| &rule.statements) {
            let mut targets = Vec::new();
            match statement {
                Statement::Mark(change) if change.to == Mark::Packet => {
                    changed |= !change.keep | change.mask | change.xor | !change.known;
                }
                Statement::Verdict(verdict) => targets.push(verdict),
                Statement::VerdictMap { name, entries, .. } => {
                    let named = name.as_ref().and_then(|name| table.maps.get(name));
                    let entries = named.unwrap_or(entries).iter();
                    targets.extend(entries.map(|entry| &entry.verdict));
                }
                _ => {}
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
