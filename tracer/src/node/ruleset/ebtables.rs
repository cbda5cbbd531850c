//! The rules of ebtables, in its own words: nft prints no matches of iptables'.

use super::model::{Family, Table};

/// Gives the rules of a table their texts by `ebtables-nft-save`, where that shows as many.
/// Returns whether it does, for all that nft does not show whole.
pub(super) fn name_rules(table: &mut Table, saved: &str) -> bool {
    let mut is_whole = true;
    for chain in &mut table.chains {
        let lines: Vec<_> = of_chain(saved, &table.name, &chain.name).collect();
        // The policy of a chain that is jumped to is its last rule.
        let policy = usize::from(chain.base.is_none());
        let own = chain.rules.len().saturating_sub(policy);
        if ![own, chain.rules.len()].contains(&lines.len()) {
            is_whole &= !chain.rules.iter().any(|rule| rule.is_opaque());
            continue;
        }
        for (rule, line) in chain.rules.iter_mut().zip(lines) {
            line.clone_into(&mut rule.text);
        }
    }
    is_whole
}

/// Whether ebtables has made a table, by its name.
pub(super) fn is_its(table: &Table) -> bool {
    table.family == Family::Bridge && ["filter", "nat", "broute"].contains(&table.name.as_str())
}

/// `-A FORWARD -p IPv4 -j DROP` of the chain, in order.
fn of_chain<'a>(saved: &'a str, table: &str, chain: &str) -> impl Iterator<Item = &'a str> {
    let mut lines = saved.lines();
    let heading = format!("*{table}");
    lines.by_ref().find(|line| *line == heading);
    let own = lines.take_while(|line| !line.starts_with('*'));
    let start = format!("-A {chain} ");
    own.filter(move |line| line.starts_with(&start))
}
