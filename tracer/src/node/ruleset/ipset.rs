//! From `ipset list` to sets.

use std::{collections::HashMap, net::IpAddr};

use super::{
    condition::{Element, Field, Part, Version, protocol},
    model::Set,
    nft_value::{address_number, prefix_range},
};

/// An ipset.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IpSet {
    /// What its entries are made of: `ip`, `net`, `port`, …
    pub parts: Vec<String>,
    /// Its members; a port is two parts, protocol and number.
    pub set: Set,
    /// The family of its addresses.
    pub is_v6: bool,
}

impl IpSet {
    /// The fields that its members are compared with. `sources` says for each part of the type
    /// whether it is the source's.
    pub(super) fn key(&self, sources: &[bool]) -> Vec<Field> {
        let version = if self.is_v6 { Version::V6 } else { Version::V4 };
        let mut key = Vec::new();
        for (index, part) in self.parts.iter().enumerate() {
            let is_source = sources.get(index).copied();
            match (part.as_str(), is_source) {
                ("ip" | "net", Some(true)) => key.push(Field::Source(version)),
                ("ip" | "net", Some(false)) => key.push(Field::Destination(version)),
                ("port", Some(is_source)) => {
                    key.push(Field::Protocol(None));
                    key.push(match is_source {
                        true => Field::SourcePort(None),
                        false => Field::DestinationPort(None),
                    });
                }
                _ => key.push(Field::Unknown),
            }
        }
        key
    }
}

/// The sets in the output of `ipset list`.
pub fn parse(text: &str) -> HashMap<String, IpSet> {
    let mut sets = HashMap::new();
    let mut name = None;
    let mut set = IpSet::default();
    let mut is_member = false;
    for line in text.lines().chain(["Name: "]) {
        if let Some(next) = line.strip_prefix("Name: ") {
            if let Some(name) = name.replace(next.to_owned()) {
                sets.insert(name, std::mem::take(&mut set));
            }
            is_member = false;
        } else if let Some(kind) = line.strip_prefix("Type: ") {
            let (_, parts) = kind.split_once(':').unwrap_or_default();
            set.parts = parts.split(',').map(str::to_owned).collect();
        } else if let Some(header) = line.strip_prefix("Header: ") {
            set.is_v6 = header.contains("family inet6");
        } else if line == "Members:" {
            is_member = true;
        } else if is_member && !line.is_empty() {
            member(&mut set, line);
        }
    }
    sets
}

fn member(set: &mut IpSet, line: &str) {
    let mut words = line.split(' ');
    let entry = words.next().unwrap_or_default();
    let options: Vec<_> = words.collect();
    // Exceptions, and members that go by themselves, make what was read no proof.
    set.set.is_volatile |= options.contains(&"nomatch");
    set.set.is_volatile |= options
        .windows(2)
        .any(|pair| pair[0] == "timeout" && pair[1] != "0");
    let mut parts = Vec::new();
    for (kind, text) in set.parts.iter().zip(entry.split(',')) {
        match kind.as_str() {
            "ip" | "net" => parts.push(addresses(text)),
            "port" => {
                let (name, port) = text.split_once(':').unwrap_or(("tcp", text));
                parts.push(protocol(name).map_or(Part::Unknown, Part::number));
                parts.push(ports(port, '-'));
            }
            _ => parts.push(Part::Unknown),
        }
    }
    set.set.elements.push(Element {
        parts,
        comment: None,
    });
}

/// Addresses, as `A`, `A/BITS`, `A/MASK` or `A-B`.
pub(super) fn addresses(text: &str) -> Part {
    let parse = |text: &str| text.parse::<IpAddr>().ok();
    let parsed = if let Some((address, length)) = text.split_once('/') {
        let bits = match (length.parse(), length.parse()) {
            (Ok(bits), _) => Some(bits),
            // A mask with holes has no length.
            (_, Ok(IpAddr::V4(mask))) => {
                let mask = u32::from(mask);
                (mask.leading_ones() + mask.trailing_zeros() == 32)
                    .then(|| u64::from(mask.leading_ones()))
            }
            _ => None,
        };
        parse(address)
            .zip(bits)
            .map(|(address, bits)| prefix_range(address, bits))
    } else if let Some((low, high)) = text.split_once('-') {
        let bounds = parse(low).zip(parse(high));
        bounds.map(|(low, high)| Part::Range(address_number(low), address_number(high)))
    } else {
        parse(text).map(|address| Part::number(address_number(address)))
    };
    parsed.unwrap_or(Part::Unknown)
}

/// Ports, as `N` or as a range.
pub(super) fn ports(text: &str, separator: char) -> Part {
    let (low, high) = text.split_once(separator).unwrap_or((text, text));
    match (low.parse::<u16>(), high.parse::<u16>()) {
        (Ok(low), Ok(high)) => Part::Range(low.into(), high.into()),
        _ => Part::Unknown,
    }
}
