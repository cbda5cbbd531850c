//! Values in nft's JSON: addresses, numbers, ranges, prefixes, names, sets of them.

use std::net::IpAddr;

use serde_json::Value;

use super::condition::{Element, Part, Since};

/// The elements of a set; a single value is a set of one.
pub(super) fn elements(value: &Value) -> Vec<Element> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values.iter().map(element).collect(),
        value => match value["set"].as_array() {
            Some(values) => values.iter().map(element).collect(),
            None => vec![element(value)],
        },
    }
}

/// One element, which may have a comment and be made of several parts.
pub(super) fn element(value: &Value) -> Element {
    let (value, comment, since) = match &value["elem"] {
        Value::Null => (value, None, Since::Forever),
        wrapped => (&wrapped["val"], wrapped["comment"].as_str(), since(wrapped)),
    };
    let parts = match value["concat"].as_array() {
        Some(parts) => parts.iter().map(part).collect(),
        // The element that matches what no other one does.
        None if value == "*" => Vec::new(),
        None => vec![part(value)],
    };
    Element {
        parts,
        comment: comment.map(str::to_owned),
        since,
        ..Element::default()
    }
}

/// How long an element has been there.
fn since(element: &Value) -> Since {
    // With these, it holds for some of the packets that look like it.
    let sometimes = ["limit", "quota", "ct count"];
    if sometimes.iter().any(|kind| !element[*kind].is_null()) {
        return Since::Unknown;
    }
    match (element["timeout"].as_u64(), element["expires"].as_u64()) {
        (_, None) => Since::Forever,
        (Some(whole), Some(left)) if left <= whole => Since::Seconds(whole - left),
        _ => Since::Unknown,
    }
}

fn part(value: &Value) -> Part {
    if let Some(number) = number(value) {
        return Part::number(number);
    }
    if let Some(name) = value.as_str() {
        return Part::Name(name.to_owned());
    }
    if let Some([low, high]) = value["range"].as_array().map(Vec::as_slice) {
        return match (number(low), number(high)) {
            (Some(low), Some(high)) => Part::Range(low, high),
            _ => Part::Unknown,
        };
    }
    let prefix = &value["prefix"];
    let address = prefix["addr"]
        .as_str()
        .and_then(|address| address.parse().ok());
    match (address, prefix["len"].as_u64()) {
        (Some(address), Some(bits)) => prefix_range(address, bits),
        _ => Part::Unknown,
    }
}

/// A number, or an address as a number.
pub(super) fn number(value: &Value) -> Option<u128> {
    match value {
        Value::Number(number) => number.as_u64().map(u128::from),
        Value::Bool(flag) => Some((*flag).into()),
        Value::String(text) => text.parse().ok().map(address_number),
        _ => None,
    }
}

/// An address as a number.
pub(super) fn address_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// All addresses with the same first bits.
pub(super) fn prefix_range(address: IpAddr, bits: u64) -> Part {
    let width: u32 = if address.is_ipv4() { 32 } else { 128 };
    let host_bits = width.saturating_sub(u32::try_from(bits).unwrap_or(u32::MAX));
    let hosts = 1u128
        .checked_shl(host_bits)
        .map_or(u128::MAX, |count| count - 1);
    let address = address_number(address);
    Part::Range(address & !hosts, address | hosts)
}

/// Names of flags, written as one name, as a list, or joined by `|`.
pub(super) fn names(value: &Value) -> Option<Vec<&str>> {
    if let Some(name) = value.as_str() {
        return Some(vec![name]);
    }
    let several = [value, &value["|"], &value["set"]]
        .into_iter()
        .find_map(Value::as_array)?;
    let mut all = Vec::new();
    for value in several {
        all.extend(names(value)?);
    }
    Some(all)
}
