//! From `ipset list` to sets.

use std::{collections::HashMap, net::IpAddr};

use super::{
    condition::{Element, Field, Guard, Mark, Part, Since, Version, protocol},
    model::Set,
    names,
    nft_value::{address_number, prefix_range},
};

/// An ipset.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct IpSet {
    /// What its entries are made of: `ip`, `net`, `port`, …
    pub(crate) parts: Vec<String>,
    /// Its members; the port of a set that hashes is two parts, protocol and number.
    pub(crate) set: Set,
    /// The sets of a `list:set`.
    pub(crate) lists: Vec<String>,
    /// The family of its addresses.
    pub(crate) is_v6: bool,
    /// It holds bare numbers: a `bitmap`.
    is_bitmap: bool,
    /// How many bits of an address count.
    netmask: Option<u64>,
    /// How long a member stays, in seconds, that says nothing of its own.
    timeout: Option<u64>,
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
                    if !self.is_bitmap {
                        key.push(Field::Protocol(None));
                    }
                    key.push(match is_source {
                        true => Field::SourcePort(None),
                        false => Field::DestinationPort(None),
                    });
                }
                ("iface", Some(true)) => key.push(Field::Input),
                ("iface", Some(false)) => key.push(Field::Output),
                ("mac", Some(true)) => key.push(Field::SourceMac),
                ("mark", _) => key.push(Field::Mark(Mark::Packet)),
                _ => key.push(Field::Unknown(Guard::Any)),
            }
        }
        key
    }

    fn header(&mut self, header: &str) {
        let mut words = header.split(' ');
        while let Some(word) = words.next() {
            match word {
                "family" => self.is_v6 = words.next() == Some("inet6"),
                "netmask" => self.netmask = words.next().and_then(|bits| bits.parse().ok()),
                // A mask with holes.
                "bitmask" => self.netmask = Some(0),
                "timeout" => self.timeout = words.next().and_then(|time| time.parse().ok()),
                _ => {}
            }
        }
    }

    fn member(&mut self, line: &str) {
        let (entry, options) = line.split_once(' ').unwrap_or((line, ""));
        // A comment is anything, and the last option.
        let options = options.split(" comment ").next().unwrap_or_default();
        let options: Vec<_> = options.split(' ').collect();
        if self.parts.first().is_some_and(|part| part == "set") {
            self.lists.push(entry.to_owned());
            return;
        }
        let left = options
            .windows(2)
            .find(|pair| pair[0] == "timeout")
            .map(|pair| pair[1].parse().unwrap_or(0));
        let since = match (left, self.timeout) {
            (None | Some(0), _) => Since::Forever,
            (Some(left), Some(whole)) if left <= whole => Since::Seconds(whole - left),
            _ => Since::Unknown,
        };
        let mut parts = Vec::new();
        for (kind, text) in self.parts.iter().zip(entry.split(',')) {
            match kind.as_str() {
                "ip" | "net" => parts.push(match self.netmask {
                    Some(0) => Part::Unknown,
                    Some(bits) => network(text, bits),
                    None => addresses(text),
                }),
                "port" if self.is_bitmap => parts.push(ports(text, '-')),
                "port" => {
                    let (name, port) = text.split_once(':').unwrap_or(("tcp", text));
                    parts.push(protocol(name).map_or(Part::Unknown, Part::number));
                    parts.push(ports(port, '-'));
                }
                "iface" => parts.push(match text.strip_prefix("physdev:") {
                    Some(_) => Part::Unknown,
                    None => Part::Name(text.to_owned()),
                }),
                "mac" => parts.push(names::mac(text).map_or(Part::Unknown, Part::number)),
                "mark" => parts.push(
                    text.strip_prefix("0x")
                        .and_then(|hex| u32::from_str_radix(hex, 16).ok())
                        .map_or(Part::Unknown, Part::number),
                ),
                _ => parts.push(Part::Unknown),
            }
        }
        // A `bitmap:ip,mac` may hold an address whose MAC address any will do.
        if parts.len() < self.parts.len() {
            parts.resize(self.parts.len(), Part::Any);
        }
        self.set.elements.push(Element {
            parts,
            since,
            is_exception: options.contains(&"nomatch"),
            ..Element::default()
        });
    }
}

/// The sets in the output of `ipset list`.
pub(crate) fn parse(text: &str) -> HashMap<String, IpSet> {
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
            let (method, parts) = kind.split_once(':').unwrap_or_default();
            set.is_bitmap = method == "bitmap";
            set.parts = parts.split(',').map(str::to_owned).collect();
        } else if let Some(header) = line.strip_prefix("Header: ") {
            set.header(header);
        } else if line == "Members:" {
            is_member = true;
        } else if is_member && !line.is_empty() {
            set.member(line);
        }
    }
    sets
}

/// All addresses of the network that an address stands for.
fn network(text: &str, bits: u64) -> Part {
    match text.parse() {
        Ok(address) => prefix_range(address, bits),
        Err(_) => addresses(text),
    }
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
