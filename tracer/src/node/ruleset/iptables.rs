//! From `iptables-save -c` to tables, chains and rules.

use super::{
    iptables_listing, iptables_rule, iptables_target,
    model::{Backend, Base, Chain, Counter, Family, Rule, Statement, Table, Verdict},
};

/// The tables in the output of `iptables-save -c` or `ip6tables-save -c`.
pub(crate) fn parse(text: &str, backend: Backend, family: Family) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for line in lines(text) {
        if let Some(name) = line.strip_prefix('*') {
            tables.push(Table::new(backend, family, name));
        } else if let Some(table) = tables.last_mut() {
            if let Some(declared) = line.strip_prefix(':') {
                if let Some(chain) = chain(&table.name, declared) {
                    table.add(chain);
                }
            } else if let Some((name, rule)) = rule(line, family) {
                let index = match table.chain(&name) {
                    Some(index) => index,
                    None => table.add(empty(&name)),
                };
                table.chains[index].rules.push(rule);
            }
        }
    }
    tables
}

/// One table, as `iptables-nft -S -v` lists it.
pub(super) fn parse_listing(name: &str, text: &str, family: Family) -> Option<Table> {
    let saved = iptables_listing::as_saved(name, lines(text).filter(|line| !line.is_empty()));
    parse(&saved, Backend::Nft, family).pop()
}

/// The lines of the text. A newline in a quoted word, such as a comment, ends none.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |letter| {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            '\n' => return !is_quoted,
            _ => {}
        }
        false
    })
}

fn empty(name: &str) -> Chain {
    Chain {
        name: name.to_owned(),
        base: None,
        comment: None,
        rules: Vec::new(),
    }
}

/// `INPUT ACCEPT [60:45537]`, where the policy is `-` for chains that are jumped to.
fn chain(table: &str, declared: &str) -> Option<Chain> {
    let mut words = declared.split(' ');
    let name = words.next()?;
    let policy = words.next()?;
    let counter = words.next().and_then(packets);
    let base = priority(table, name).filter(|_| policy != "-");
    Some(Chain {
        base: base.map(|priority| Base {
            hook: name.to_ascii_lowercase(),
            priority,
            is_nat: table == "nat",
            drops: policy == "DROP",
            counter,
            devices: Vec::new(),
        }),
        ..empty(name)
    })
}

/// The packets of `[PACKETS:BYTES]`.
fn packets(counter: &str) -> Option<u64> {
    let (packets, _) = counter.strip_prefix('[')?.split_once(':')?;
    packets.parse().ok()
}

/// `linux/netfilter_ipv4.h`: `NF_IP_PRI_*`.
fn priority(table: &str, chain: &str) -> Option<i64> {
    Some(match (table, chain) {
        ("raw", _) => -300,
        ("mangle", _) => -150,
        ("nat", "PREROUTING" | "OUTPUT") => -100,
        ("nat", _) => 100,
        ("filter", _) => 0,
        ("security", _) => 50,
        _ => return None,
    })
}

/// `[0:0] -A CHAIN …`, with or without the counter.
fn rule(line: &str, family: Family) -> Option<(String, Rule)> {
    let (counter, text) = match line.split_once("] ") {
        Some((counter, text)) if line.starts_with('[') => (packets(counter), text),
        _ => (None, line),
    };
    let words = words(text);
    let (add, name) = (words.first()?, words.get(1)?);
    if add != "-A" {
        return None;
    }
    let parsed = iptables_rule::parse(&words[2..], family);
    Some((
        name.clone(),
        Rule {
            handle: None,
            statements: parsed.statements,
            counter: counter.map(|packets| Counter {
                packets,
                exact: true,
            }),
            comment: parsed.comment,
            log_prefix: iptables_target::value(&words, "--nflog-prefix").map(str::to_owned),
            text: text.to_owned(),
        },
    ))
}

/// Splits a line as the tool's own parser does: quotes hold together, `\` takes the next literally.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut is_quoted = false;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            '\\' if is_quoted => word.get_or_insert_default().extend(letters.next()),
            ' ' if !is_quoted => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// The hooks at which a table of this name can have chains.
pub(super) fn hooks(table: &str) -> impl Iterator<Item = &'static str> {
    const ALL: [&str; 5] = ["prerouting", "input", "forward", "output", "postrouting"];
    let has: &[usize] = match table {
        "raw" => &[0, 3],
        "nat" => &[0, 1, 3, 4],
        "filter" | "security" => &[1, 2, 3],
        _ => &[0, 1, 2, 3, 4],
    };
    has.iter().map(|hook| ALL[*hook])
}

/// A table by iptables' own tool, with the places of its chains as nft has them.
pub(super) fn with_bases(mut table: Table, by_nft: &Table) -> Table {
    for chain in &mut table.chains {
        let own = by_nft.chain(&chain.name);
        let base = own.and_then(|own| by_nft.chains[own].base.clone());
        let counter = chain.base.as_ref().and_then(|base| base.counter);
        chain.base = base.map(|base| Base { counter, ..base });
    }
    table
}

/// The two readings of a table differ.
pub(super) fn differs(table: &Table) -> String {
    format!("table {} changed while it was read", table.name)
}

/// Replaces what nft cannot show of a table that iptables-nft made with what its own tool shows.
/// The chains' rules are the same, in the same order, unless they changed in between.
///
/// # Errors
///
/// The two readings differ; then nothing is taken over.
pub(super) fn refine(table: &mut Table, by_iptables: &[Table]) -> Result<(), String> {
    let differs = || differs(table);
    let same = by_iptables
        .iter()
        .find(|other| other.name == table.name)
        .ok_or_else(differs)?;
    let mut refined = Vec::new();
    for chain in &table.chains {
        let mut rules = same
            .chain(&chain.name)
            .map_or(&[][..], |index| &same.chains[index].rules)
            .to_vec();
        if rules.len() != chain.rules.len() {
            return Err(differs());
        }
        for (rule, own) in rules.iter_mut().zip(&chain.rules) {
            rule.handle = own.handle;
            // A verdict that only one of the two understands.
            if !rule.statements.iter().any(is_verdict) {
                rule.statements
                    .extend(own.statements.iter().filter(|s| is_verdict(s)).cloned());
            }
        }
        refined.push(rules);
    }
    for (chain, rules) in table.chains.iter_mut().zip(refined) {
        chain.rules = rules;
    }
    Ok(())
}

fn is_verdict(statement: &Statement) -> bool {
    matches!(statement, Statement::Verdict(verdict) if *verdict != Verdict::Unknown)
}
