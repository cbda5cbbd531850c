//! From `nft -j list ruleset` to tables, chains, sets and rules.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{
    condition::Since,
    model::{Backend, Base, Chain, Entry, Family, Rule, Set, Table},
    nft_rule, nft_text, nft_value,
};

/// An element that lives shorter than this may have gone before the set was read, in seconds.
const SHORT: u64 = 10;

/// The tables in nft's JSON. What is not understood becomes a condition that may hold or not.
///
/// # Errors
///
/// nft did not print it.
pub(crate) fn parse(json: &str) -> Result<Vec<Table>> {
    let json: Value = serde_json::from_str(json).context("nft did not print JSON")?;
    let objects = json["nftables"]
        .as_array()
        .context("nft printed no list of objects")?;
    let mut tables = Vec::new();
    let of_kind = |object| Value::as_object(object)?.iter().next();
    for (kind, object) in objects.iter().filter_map(of_kind) {
        add(&mut tables, kind, object);
    }
    for (_, rule) in objects.iter().filter_map(of_kind) {
        note_filled(&mut tables, rule);
    }
    Ok(tables)
}

/// The tables in the JSON of `nft list chains`, which has no objects of theirs, with their chains.
///
/// # Errors
///
/// nft did not print it.
pub(super) fn parse_chains(json: &str) -> Result<Vec<Table>> {
    let json: Value = serde_json::from_str(json).context("nft did not print JSON")?;
    let objects = json["nftables"]
        .as_array()
        .context("nft printed no list of objects")?;
    let mut tables = Vec::new();
    for chain in objects.iter().filter_map(|object| object.get("chain")) {
        if table_of(&mut tables, chain).is_none()
            && let Some(family) = chain["family"].as_str().and_then(Family::from_name)
            && let Some(name) = chain["table"].as_str()
        {
            tables.push(Table::new(Backend::Nft, family, name));
        }
        add(&mut tables, "chain", chain);
    }
    Ok(tables)
}

/// Notes what a rule puts into sets or takes out of them: what is there now may not have been there
/// at the drop, and the other way round.
fn note_filled(tables: &mut [Table], rule: &Value) -> Option<()> {
    for statement in rule["expr"].as_array()? {
        let change = &statement["set"];
        let Some(name) = change["set"].as_str() else {
            continue;
        };
        let set = table_of(tables, rule)?
            .sets
            .get_mut(name.trim_start_matches('@'))?;
        let timeout = change["elem"]["elem"]["timeout"].as_u64();
        set.is_filled = true;
        set.loses |= change["op"] == "delete" || timeout.is_some_and(|timeout| timeout < SHORT);
        for element in &mut set.elements {
            if element.since == Since::Forever {
                element.since = Since::Unknown;
            }
        }
    }
    None
}

/// The table that an object is in.
fn table_of<'t>(tables: &'t mut [Table], object: &Value) -> Option<&'t mut Table> {
    let family = Family::from_name(object["family"].as_str()?)?;
    let name = object["table"].as_str()?;
    tables
        .iter_mut()
        .find(|candidate| candidate.family == family && candidate.name == name)
}

fn add(tables: &mut Vec<Table>, kind: &str, object: &Value) -> Option<()> {
    let family = Family::from_name(object["family"].as_str()?)?;
    let name = object["name"].as_str();
    if kind == "table" {
        tables.push(Table::new(Backend::Nft, family, name?));
        return None;
    }
    let table = table_of(tables, object)?;
    match kind {
        "chain" => {
            table.add(Chain {
                name: name?.to_owned(),
                base: base(object),
                comment: object["comment"].as_str().map(str::to_owned),
                rules: Vec::new(),
            });
        }
        "set" => {
            table.sets.insert(name?.to_owned(), set(object));
        }
        "map" if object["map"] == "verdict" => {
            table
                .maps
                .insert(name?.to_owned(), entries(&object["elem"]));
        }
        "rule" => {
            let chain = table.chain(object["chain"].as_str()?)?;
            table.chains[chain].rules.push(rule(object));
        }
        _ => {}
    }
    None
}

fn base(chain: &Value) -> Option<Base> {
    let devices = match &chain["dev"] {
        Value::String(device) => vec![device.clone()],
        Value::Array(devices) => strings(devices),
        _ => Vec::new(),
    };
    Some(Base {
        hook: chain["hook"].as_str()?.to_owned(),
        priority: chain["prio"].as_i64().unwrap_or(0),
        is_nat: chain["type"] == "nat",
        drops: chain["policy"] == "drop",
        counter: None,
        devices,
    })
}

/// Whether devices that chains hang at are missing: nft 1.0.6 leaves them out of its JSON.
pub(super) fn lacks_devices(tables: &[Table]) -> bool {
    let chains = tables.iter().flat_map(|table| &table.chains);
    chains
        .filter_map(|chain| chain.base.as_ref())
        .any(|base| matches!(base.hook.as_str(), "ingress" | "egress") && base.devices.is_empty())
}

/// Takes the devices over from `nft list chains`, such as `type filter hook ingress device "eth0"
/// priority filter` or `devices = { "eth0", "eth1" }`.
pub(super) fn add_devices(tables: &mut [Table], text: &str) {
    let mut table = None;
    let mut chain = None;
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["table", family, name, ..] => {
                let is_it =
                    |table: &&mut Table| table.family.name() == *family && table.name == *name;
                table = tables.iter_mut().find(is_it);
            }
            ["chain", name, ..] => chain = table.as_ref().and_then(|table| table.chain(name)),
            ["type", ..] => {
                let Some((_, devices)) = line.split_once(" device") else {
                    continue;
                };
                let devices = devices.split(" priority").next().unwrap_or_default();
                let quoted = devices.split('"').skip(1).step_by(2).map(str::to_owned);
                let (Some(table), Some(chain)) = (table.as_mut(), chain) else {
                    continue;
                };
                if let Some(base) = table.chains[chain].base.as_mut() {
                    base.devices = quoted.collect();
                }
            }
            _ => {}
        }
    }
}

fn strings(values: &[Value]) -> Vec<String> {
    let strings = values.iter().filter_map(Value::as_str);
    strings.map(str::to_owned).collect()
}

fn set(set: &Value) -> Set {
    let timeout = set["timeout"].as_u64();
    let mut elements = nft_value::elements(&set["elem"]);
    // An element without a time of its own has the set's.
    if let Some(whole) = timeout {
        let own = set["elem"].as_array().into_iter().flatten();
        for (element, own) in elements.iter_mut().zip(own) {
            if let (true, Some(left)) = (
                own["elem"]["timeout"].is_null(),
                own["elem"]["expires"].as_u64(),
            ) {
                element.since = Since::Seconds(whole.saturating_sub(left));
            }
        }
    }
    Set {
        elements,
        loses: timeout.is_some_and(|timeout| timeout < SHORT),
        is_filled: false,
    }
}

/// The entries of a verdict map: pairs of key and verdict.
pub(super) fn entries(pairs: &Value) -> Vec<Entry> {
    let pairs = pairs.as_array().into_iter().flatten();
    pairs
        .filter_map(|pair| {
            Some(Entry {
                element: nft_value::element(pair.get(0)?),
                verdict: nft_rule::verdict(pair.get(1)?)?,
            })
        })
        .collect()
}

fn rule(rule: &Value) -> Rule {
    let expressions = rule["expr"].as_array().map_or(&[][..], Vec::as_slice);
    rule_of(
        rule["handle"].as_u64(),
        rule["comment"].as_str(),
        expressions,
    )
}

/// A rule with these expressions.
pub(super) fn rule_of(handle: Option<u64>, comment: Option<&str>, expressions: &[Value]) -> Rule {
    let (statements, counter) = nft_rule::statements(expressions);
    Rule {
        handle,
        statements,
        counter,
        comment: comment.map(str::to_owned),
        log_prefix: expressions
            .iter()
            .find_map(|expression| expression["log"]["prefix"].as_str())
            .map(str::to_owned),
        text: nft_text::rule(expressions, comment),
    }
}
