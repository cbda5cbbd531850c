//! The numbers that nft and iptables print as names.

use super::condition::{Bits, Field, Layer, protocol, state};

/// The number that a name stands for in a field.
pub(super) fn number_of(field: Field, name: &str) -> Option<u128> {
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
            "8021ad" => 0x88a8,
            _ => return None,
        },
        Field::State => state::from_name(name)?.into(),
        Field::SourcePort(_) | Field::DestinationPort(_) => port(name)?.into(),
        Field::SourceMac => mac(name)?.into(),
        Field::IcmpType(1) => icmp_type(name)?.into(),
        Field::IcmpType(_) => icmpv6_type(name)?.into(),
        Field::IcmpCode(1) => icmp_code(name)?.into(),
        Field::IcmpCode(_) => icmpv6_code(name)?.into(),
        Field::Header(Bits {
            layer: Layer::Network(_),
            count: 6,
            ..
        }) => dscp(name)?.into(),
        _ => return None,
    })
}

/// Services that nft prints by name when it is asked to, and ipset for none at all.
fn port(name: &str) -> Option<u16> {
    Some(match name {
        "ftp" => 21,
        "ssh" => 22,
        "telnet" => 23,
        "smtp" => 25,
        "domain" => 53,
        "http" => 80,
        "ntp" => 123,
        "snmp" => 161,
        "https" => 443,
        _ => return name.parse().ok(),
    })
}

/// A MAC address as a number.
pub(super) fn mac(text: &str) -> Option<u64> {
    let mut number = 0u64;
    let mut count = 0;
    for byte in text.split(':') {
        number = number.checked_shl(8)? | u64::from(u8::from_str_radix(byte, 16).ok()?);
        count += 1;
    }
    (count == 6).then_some(number)
}

fn icmp_type(name: &str) -> Option<u8> {
    Some(match name {
        "echo-reply" => 0,
        "destination-unreachable" => 3,
        "source-quench" => 4,
        "redirect" => 5,
        "echo-request" => 8,
        "router-advertisement" => 9,
        "router-solicitation" => 10,
        "time-exceeded" => 11,
        "parameter-problem" => 12,
        "timestamp-request" => 13,
        "timestamp-reply" => 14,
        "info-request" => 15,
        "info-reply" => 16,
        "address-mask-request" => 17,
        "address-mask-reply" => 18,
        _ => return name.parse().ok(),
    })
}

fn icmpv6_type(name: &str) -> Option<u8> {
    Some(match name {
        "destination-unreachable" => 1,
        "packet-too-big" => 2,
        "time-exceeded" => 3,
        "parameter-problem" => 4,
        "echo-request" => 128,
        "echo-reply" => 129,
        "mld-listener-query" => 130,
        "mld-listener-report" => 131,
        "mld-listener-done" | "mld-listener-reduction" => 132,
        "nd-router-solicit" | "router-solicitation" => 133,
        "nd-router-advert" | "router-advertisement" => 134,
        "nd-neighbor-solicit" | "neighbour-solicitation" | "neighbor-solicitation" => 135,
        "nd-neighbor-advert" | "neighbour-advertisement" | "neighbor-advertisement" => 136,
        "nd-redirect" | "redirect" => 137,
        "router-renumbering" => 138,
        "ind-neighbor-solicit" => 141,
        "ind-neighbor-advert" => 142,
        "mld2-listener-report" => 143,
        _ => return name.parse().ok(),
    })
}

/// Codes of "destination unreachable".
pub(super) fn icmp_code(name: &str) -> Option<u8> {
    Some(match name.strip_prefix("icmp-").unwrap_or(name) {
        "net-unreachable" => 0,
        "host-unreachable" => 1,
        "prot-unreachable" | "proto-unreachable" => 2,
        "port-unreachable" => 3,
        "frag-needed" => 4,
        "net-prohibited" => 9,
        "host-prohibited" => 10,
        "admin-prohibited" => 13,
        other => return other.parse().ok(),
    })
}

/// The same of ICMPv6.
pub(super) fn icmpv6_code(name: &str) -> Option<u8> {
    Some(match name.strip_prefix("icmp6-").unwrap_or(name) {
        "no-route" => 0,
        "admin-prohibited" | "adm-prohibited" => 1,
        "addr-unreachable" => 3,
        "port-unreachable" => 4,
        "policy-fail" => 5,
        "reject-route" => 6,
        other => return other.parse().ok(),
    })
}

/// Classes of service (RFC 2474, 2597, 3246, 8622).
fn dscp(name: &str) -> Option<u8> {
    let class = |digits: &str| {
        let (class, precedence) = digits.split_at_checked(1)?;
        let (class, precedence): (u8, u8) = (class.parse().ok()?, precedence.parse().ok()?);
        (class < 8 && precedence < 4).then_some(class * 8 + precedence * 2)
    };
    match name {
        "be" => Some(0),
        "ef" => Some(46),
        "lephb" | "le" => Some(1),
        "va" => Some(44),
        _ => match (name.strip_prefix("cs"), name.strip_prefix("af")) {
            (Some(class), _) => class
                .parse::<u8>()
                .ok()
                .filter(|class| *class < 8)
                .map(|c| c * 8),
            (_, Some(digits)) => class(digits),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_numbers_of_their_standards() {
        assert_eq!(dscp("cs6"), Some(48));
        assert_eq!(dscp("af41"), Some(34));
        assert_eq!(dscp("cs9"), None);
        assert_eq!(dscp("af4é"), None);
        assert_eq!(icmp_code("icmp-host-prohibited"), Some(10));
        assert_eq!(icmpv6_code("icmp6-adm-prohibited"), Some(1));
        assert_eq!(mac("02:30:00:00:00:09"), Some(0x0230_0000_0009));
        assert_eq!(mac("02:30:00:00:09"), None);
    }
}
