//! Which field of a packet an expression of nft's looks at.

use serde_json::Value;

use super::condition::{Bits, EntryEnd, Field, Guard, Layer, Mark, Version, protocol};

/// The fields that an expression looks at.
pub(super) fn key(expression: &Value) -> Vec<Field> {
    match expression["concat"].as_array() {
        Some(parts) => parts.iter().map(field).collect(),
        None => vec![field(expression)],
    }
}

/// The field of an expression that is none of several.
pub(super) fn field(expression: &Value) -> Field {
    let Some((kind, value)) = expression
        .as_object()
        .and_then(|object| object.iter().next())
    else {
        return Field::Unknown(Guard::Any);
    };
    match kind.as_str() {
        "meta" => meta(value["key"].as_str().unwrap_or_default()),
        "ct" => ct(value),
        "fib" => fib(value),
        "payload" => payload(value),
        _ => Field::Unknown(Guard::Any),
    }
}

/// Which packets have the field at all.
pub(super) fn guard(expression: &Value) -> Guard {
    match field(expression) {
        Field::Unknown(guard) => guard,
        Field::Header(Bits { layer, .. }) => of_layer(layer),
        Field::IcmpType(proto) | Field::IcmpCode(proto) => Guard::Transport(proto),
        _ => Guard::Any,
    }
}

fn of_layer(layer: Layer) -> Guard {
    match layer {
        Layer::Network(version) => Guard::Version(version),
        Layer::Transport(proto) => Guard::Transport(proto),
        Layer::AnyNetwork | Layer::AnyTransport => Guard::Any,
    }
}

fn meta(key: &str) -> Field {
    match key {
        "l4proto" => Field::Protocol(None),
        "nfproto" => Field::Family,
        "protocol" => Field::EtherType,
        "iifname" | "iif" => Field::Input,
        "oifname" | "oif" => Field::Output,
        "mark" => Field::Mark(Mark::Packet),
        "length" => Field::Length,
        "pkttype" => Field::PacketType,
        _ => Field::Unknown(Guard::Any),
    }
}

fn ct(value: &Value) -> Field {
    let entry = |is_source, is_port| match value["dir"].as_str() {
        Some(direction) => Field::Entry(EntryEnd {
            is_reply: direction == "reply",
            is_source,
            is_port,
        }),
        None => Field::Unknown(Guard::Any),
    };
    match value["key"].as_str().unwrap_or_default() {
        "state" => Field::State,
        "mark" => Field::Mark(Mark::Connection),
        "direction" => Field::Direction,
        "saddr" | "ip saddr" | "ip6 saddr" => entry(true, false),
        "daddr" | "ip daddr" | "ip6 daddr" => entry(false, false),
        "proto-src" => entry(true, true),
        "proto-dst" => entry(false, true),
        _ => Field::Unknown(Guard::Any),
    }
}

/// A question about routes: its flags say what is looked up.
fn fib(value: &Value) -> Field {
    let flags: Vec<_> = match &value["flags"] {
        Value::String(flag) => vec![flag.as_str()],
        Value::Array(flags) => flags.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    match (value["result"].as_str(), flags.as_slice()) {
        (Some("type"), ["saddr"]) => Field::SourceType,
        (Some("type"), ["daddr"]) => Field::DestinationType,
        (Some("oif" | "oifname"), ["saddr", "iif"] | ["saddr", "iif", "mark"])
        | (Some("oif" | "oifname"), ["saddr", "mark", "iif"]) => Field::ReversePath,
        _ => Field::Unknown(Guard::Any),
    }
}

fn payload(value: &Value) -> Field {
    let (Some(name), Some(field)) = (value["protocol"].as_str(), value["field"].as_str()) else {
        return raw(value);
    };
    let header = |layer, (at, count)| Field::Header(Bits { layer, at, count });
    match name {
        "ip" => match field {
            "saddr" => Field::Source(Version::V4),
            "daddr" => Field::Destination(Version::V4),
            "protocol" => Field::Protocol(Some(Version::V4)),
            _ => match ip(field) {
                Some(bits) => header(Layer::Network(Version::V4), bits),
                None => Field::Unknown(Guard::Version(Version::V4)),
            },
        },
        "ip6" => match field {
            "saddr" => Field::Source(Version::V6),
            "daddr" => Field::Destination(Version::V6),
            "nexthdr" => Field::Protocol(Some(Version::V6)),
            _ => match ip6(field) {
                Some(bits) => header(Layer::Network(Version::V6), bits),
                None => Field::Unknown(Guard::Version(Version::V6)),
            },
        },
        "ether" => match field {
            "type" => Field::EtherType,
            "saddr" => Field::SourceMac,
            _ => Field::Unknown(Guard::Any),
        },
        "vlan" => Field::Unknown(Guard::Any),
        "arp" => Field::Unknown(Guard::Never),
        "th" => match field {
            "sport" => Field::SourcePort(None),
            "dport" => Field::DestinationPort(None),
            _ => Field::Unknown(Guard::Any),
        },
        _ => match protocol(name) {
            Some(proto) => transport(proto, field),
            None => Field::Unknown(Guard::Any),
        },
    }
}

fn transport(proto: u8, field: &str) -> Field {
    let bits = match (proto, field) {
        (6 | 17 | 33 | 132 | 136, "sport") => return Field::SourcePort(Some(proto)),
        (6 | 17 | 33 | 132 | 136, "dport") => return Field::DestinationPort(Some(proto)),
        (1 | 58, "type") => return Field::IcmpType(proto),
        (1 | 58, "code") => return Field::IcmpCode(proto),
        (1 | 58, "checksum") => (16, 16),
        (1 | 58, "id") => (32, 16),
        (1 | 58, "sequence") => (48, 16),
        (1, "gateway") | (58, "mtu" | "parameter-problem") => (32, 32),
        (1, "mtu") => (48, 16),
        (6, "sequence") => (32, 32),
        (6, "ackseq") => (64, 32),
        (6, "doff") => (96, 4),
        (6, "flags") => (104, 8),
        (6, "window") => (112, 16),
        (6, "urgptr") => (144, 16),
        (17, "length") => (32, 16),
        (132, "vtag") => (32, 32),
        _ => return Field::Unknown(Guard::Transport(proto)),
    };
    Field::Header(Bits {
        layer: Layer::Transport(proto),
        at: bits.0,
        count: bits.1,
    })
}

/// The first bit of a field of IPv4's header, and how many it has.
fn ip(field: &str) -> Option<(u16, u16)> {
    Some(match field {
        "version" => (0, 4),
        "hdrlength" => (4, 4),
        "dscp" => (8, 6),
        "ecn" => (14, 2),
        "length" => (16, 16),
        "id" => (32, 16),
        "frag-off" => (48, 16),
        "ttl" => (64, 8),
        _ => return None,
    })
}

/// The same for IPv6.
fn ip6(field: &str) -> Option<(u16, u16)> {
    Some(match field {
        "version" => (0, 4),
        "dscp" => (4, 6),
        "ecn" => (10, 2),
        "flowlabel" => (12, 20),
        "length" => (32, 16),
        "hoplimit" => (56, 8),
        _ => return None,
    })
}

/// `@nh,AT,COUNT` and `@th,AT,COUNT`.
fn raw(value: &Value) -> Field {
    let number = |name: &str| value[name].as_u64().and_then(|n| u16::try_from(n).ok());
    let layer = match value["base"].as_str() {
        Some("nh") => Layer::AnyNetwork,
        Some("th") => Layer::AnyTransport,
        _ => return Field::Unknown(Guard::Any),
    };
    match (number("offset"), number("len")) {
        (Some(at), Some(count)) => Field::Header(Bits { layer, at, count }),
        _ => Field::Unknown(Guard::Any),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_known_by_their_places() {
        let frag_off = json!({"payload": {"protocol": "ip", "field": "frag-off"}});
        let bits = Bits {
            layer: Layer::Network(Version::V4),
            at: 48,
            count: 16,
        };
        assert_eq!(field(&frag_off), Field::Header(bits));
        let vtag = json!({"payload": {"protocol": "sctp", "field": "vtag"}});
        assert_eq!(guard(&vtag), Guard::Transport(132));
        let raw = json!({"payload": {"base": "nh", "offset": 64, "len": 8}});
        assert!(matches!(field(&raw), Field::Header(Bits { at: 64, .. })));
        let reverse = json!({"fib": {"result": "oif", "flags": ["saddr", "iif"]}});
        assert_eq!(field(&reverse), Field::ReversePath);
        for odd in [json!({}), json!(null), json!([1]), json!({"payload": 3})] {
            assert_eq!(field(&odd), Field::Unknown(Guard::Any));
        }
    }
}
