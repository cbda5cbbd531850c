//! IP protocols.

use std::{fmt, str::FromStr};

use tracer_common::packet::protocol;

/// An IP protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// ICMP, for IPv4
    Icmp,
    /// ICMPv6
    Icmpv6,
    /// SCTP
    Sctp,
    /// Any other, by its number.
    Other(u8),
}

/// The protocols that have a name here.
const NAMED: [(Protocol, u8, &str); 5] = [
    (Protocol::Tcp, protocol::TCP, "tcp"),
    (Protocol::Udp, protocol::UDP, "udp"),
    (Protocol::Icmp, protocol::ICMP, "icmp"),
    (Protocol::Icmpv6, protocol::ICMPV6, "icmpv6"),
    (Protocol::Sctp, protocol::SCTP, "sctp"),
];

impl Protocol {
    /// Its number, as IANA assigned it.
    pub fn number(self) -> u8 {
        match self {
            Self::Other(number) => number,
            named => NAMED
                .iter()
                .find(|(known, ..)| *known == named)
                .map_or(0, |(_, number, _)| *number),
        }
    }

    /// Its name, where it has one here.
    pub fn name(self) -> Option<&'static str> {
        let mut named = NAMED.iter();
        named
            .find(|(known, ..)| *known == self)
            .map(|(.., name)| *name)
    }

    /// ICMP of either IP version.
    pub fn is_icmp(self) -> bool {
        matches!(self, Self::Icmp | Self::Icmpv6)
    }
}

impl From<u8> for Protocol {
    fn from(number: u8) -> Self {
        let mut named = NAMED.iter();
        named
            .find(|(_, known, _)| *known == number)
            .map_or(Self::Other(number), |(protocol, ..)| *protocol)
    }
}

/// The name, or the number of a protocol that has none.
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.number()),
        }
    }
}

/// Reads what `Display` writes.
impl FromStr for Protocol {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut named = NAMED.iter();
        match named.find(|(.., name)| *name == text) {
            Some((protocol, ..)) => Ok(*protocol),
            None => text.parse::<u8>().map(Self::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_comes_back_from_its_text() {
        for number in 0..=u8::MAX {
            let protocol = Protocol::from(number);
            assert_eq!(protocol.number(), number);
            assert_eq!(protocol.to_string().parse(), Ok(protocol));
        }
        assert_eq!("132".parse(), Ok(Protocol::Sctp));
        assert!("tcpx".parse::<Protocol>().is_err());
    }
}
