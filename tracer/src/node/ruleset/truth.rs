//! Whether a condition holds, where not everything is known.

use super::{
    condition::{Element, Field, Part, protocol},
    packet::{HookPacket, Value},
};

/// Three-valued logic; `min` is "and", `max` is "or".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Truth {
    /// It does not hold.
    No,
    /// It may hold.
    Maybe,
    /// It holds.
    Yes,
}

impl Truth {
    pub(super) fn negated_if(self, negated: bool) -> Self {
        match (self, negated) {
            (Self::No, true) => Self::Yes,
            (Self::Yes, true) => Self::No,
            (truth, _) => truth,
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// Whether the packet's fields are among the elements; `None` if it lacks one of the fields.
pub(super) fn among(packet: &HookPacket, key: &[Field], elements: &[Element]) -> Option<Truth> {
    let values: Vec<_> = key.iter().map(|field| packet.value(*field)).collect();
    if values.contains(&Value::Absent) {
        return None;
    }
    let truths = elements
        .iter()
        .map(|element| matches(key, &values, element));
    // Nothing beats `Yes`.
    let mut best = Truth::No;
    for truth in truths {
        best = best.max(truth);
        if best == Truth::Yes {
            break;
        }
    }
    Some(best)
}

/// Whether these values are the element.
pub(super) fn matches(key: &[Field], values: &[Value<'_>], element: &Element) -> Truth {
    if element.parts.is_empty() {
        return Truth::Yes;
    }
    if element.parts.len() != values.len() {
        return Truth::Maybe;
    }
    let parts = key.iter().zip(values).zip(&element.parts);
    parts
        .map(|((field, value), part)| compare(*field, *value, part))
        .min()
        .unwrap_or(Truth::Maybe)
}

fn compare(field: Field, value: Value<'_>, part: &Part) -> Truth {
    match (value, part) {
        (Value::Absent, _) => Truth::No,
        (Value::Number(number), Part::Range(low, high)) => (*low..=*high).contains(&number).into(),
        (Value::Number(number), Part::Name(name)) => match number_of(field, name) {
            Some(named) => (named == number).into(),
            None => Truth::Maybe,
        },
        (Value::Name(value), Part::Name(name)) => match name.strip_suffix('*') {
            Some(start) => value.starts_with(start).into(),
            None => (value == name).into(),
        },
        _ => Truth::Maybe,
    }
}

/// The number that nft prints as a name.
fn number_of(field: Field, name: &str) -> Option<u128> {
    Some(match field {
        Field::Protocol(_) => protocol(name)?.into(),
        Field::Family => match name {
            "ipv4" => 2,
            "ipv6" => 10,
            _ => return None,
        },
        Field::EtherType => match name {
            "ip" => 0x0800,
            "ip6" => 0x86dd,
            "arp" => 0x0806,
            "vlan" | "8021q" => 0x8100,
            _ => return None,
        },
        Field::IcmpType(1) => match name {
            "echo-reply" => 0,
            "destination-unreachable" => 3,
            "redirect" => 5,
            "echo-request" => 8,
            "time-exceeded" => 11,
            "parameter-problem" => 12,
            _ => return None,
        },
        Field::IcmpType(_) => match name {
            "destination-unreachable" => 1,
            "packet-too-big" => 2,
            "time-exceeded" => 3,
            "parameter-problem" => 4,
            "echo-request" => 128,
            "echo-reply" => 129,
            "nd-router-solicit" => 133,
            "nd-router-advert" => 134,
            "nd-neighbor-solicit" => 135,
            "nd-neighbor-advert" => 136,
            _ => return None,
        },
        _ => return None,
    })
}
