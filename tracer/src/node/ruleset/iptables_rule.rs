//! From the words of one iptables rule to its statements.

use super::{
    condition::{
        Bits, Condition, Element, EntryEnd, Field, Guard, Layer, Mark, Part, Translated, Values,
        Version, protocol, state, tcp_flag,
    },
    ipset::{addresses, ports},
    iptables_target::target,
    model::{Family, Statement},
};

/// A rule's statements and comment.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) statements: Vec<Statement>,
    pub(super) comment: Option<String>,
}

/// Matches whose options are understood, or that say nothing by themselves.
const KNOWN: [&str; 23] = [
    "tcp",
    "udp",
    "sctp",
    "dccp",
    "udplite",
    "icmp",
    "icmp6",
    "comment",
    "conntrack",
    "state",
    "mark",
    "connmark",
    "set",
    "multiport",
    "iprange",
    "nfacct",
    "addrtype",
    "physdev",
    "mac",
    "ttl",
    "hl",
    "length",
    "pkttype",
];

/// Parses what follows `-A CHAIN`.
pub(super) fn parse(words: &[String], family: Family) -> Parsed {
    let version = if family == Family::Ip6 {
        Version::V6
    } else {
        Version::V4
    };
    let mut parsed = Parsed::default();
    let mut parser = Parser {
        words,
        version,
        proto: None,
        module: "",
    };
    while let Some((option, negated)) = parser.option() {
        match option {
            "-m" => {
                parser.module = parser.value();
                if parser.module == "rpfilter" {
                    let condition = parser.rpfilter();
                    parsed.statements.push(Statement::Match(condition));
                } else if !KNOWN.contains(&parser.module) {
                    let unknown = Condition::Unknown(Guard::Any);
                    parsed.statements.push(Statement::Match(unknown));
                }
            }
            "--comment" => parsed.comment = Some(parser.value().to_owned()),
            "-j" | "-g" => {
                let target = parser.value();
                let statement = self::target(option, target, parser.words);
                parsed.statements.extend(statement);
                break;
            }
            // The name of a counter, which every packet passes.
            "--nfacct-name" => parser.skip(),
            option => {
                let condition = parser.condition(option, negated);
                parser.skip();
                let condition = condition.unwrap_or(Condition::Unknown(Guard::Any));
                parsed.statements.push(Statement::Match(condition));
            }
        }
    }
    parsed
}

struct Parser<'a> {
    words: &'a [String],
    version: Version,
    /// What `-p` asked for.
    proto: Option<u8>,
    /// The last `-m`.
    module: &'a str,
}

impl<'a> Parser<'a> {
    /// The next option, and whether it is negated. Words that are none are passed over.
    fn option(&mut self) -> Option<(&'a str, bool)> {
        let mut negated = false;
        loop {
            match self.value() {
                "" if self.words.is_empty() => return None,
                "!" => negated = true,
                option if option.starts_with('-') => return Some((option, negated)),
                _ => {}
            }
        }
    }

    /// The next word.
    fn value(&mut self) -> &'a str {
        match self.words.split_first() {
            Some((first, rest)) => {
                self.words = rest;
                first
            }
            None => "",
        }
    }

    /// Passes over the values of an option.
    fn skip(&mut self) {
        let end = |word: &String| word.starts_with('-') || word == "!";
        let count = self.words.iter().position(end).unwrap_or(self.words.len());
        self.words = &self.words[count..];
    }

    fn condition(&mut self, option: &str, negated: bool) -> Option<Condition> {
        let among = |field: Field, parts: Vec<Part>| {
            let elements = parts.into_iter().map(Element::of);
            Some(Condition::In {
                key: vec![field],
                negated,
                values: Values::Inline(elements.collect()),
            })
        };
        let version = self.version;
        match option {
            "-s" | "--src-range" => among(Field::Source(version), vec![addresses(self.value())]),
            "-d" | "--dst-range" => {
                among(Field::Destination(version), vec![addresses(self.value())])
            }
            "-i" => among(Field::Input, vec![interface(self.value())]),
            "-o" => among(Field::Output, vec![interface(self.value())]),
            "-p" => {
                let name = self.value();
                let number = protocol(name)?;
                self.proto = Some(number).filter(|_| !negated);
                among(Field::Protocol(None), vec![Part::number(number)])
            }
            "-f" => Some(Condition::LaterFragment { negated }),
            "--sport" => among(
                Field::SourcePort(self.proto),
                vec![ports(self.value(), ':')],
            ),
            "--dport" => among(
                Field::DestinationPort(self.proto),
                vec![ports(self.value(), ':')],
            ),
            "--sports" => among(Field::SourcePort(self.proto), port_list(self.value())),
            "--dports" => among(Field::DestinationPort(self.proto), port_list(self.value())),
            "--tcp-flags" => Some(Condition::TcpFlags {
                mask: flags(self.value())?,
                value: Some(flags(self.value())?),
                negated,
            }),
            "--ctstate" | "--state" => states(self.value(), negated),
            "--mark" if self.module == "mark" => self.mark(Mark::Packet, negated),
            "--mark" if self.module == "connmark" => self.mark(Mark::Connection, negated),
            "--ctdir" => among(
                Field::Direction,
                vec![Part::Name(self.value().to_ascii_lowercase())],
            ),
            "--ctorigsrc" => among(entry(false, true, false), vec![addresses(self.value())]),
            "--ctorigdst" => among(entry(false, false, false), vec![addresses(self.value())]),
            "--ctreplsrc" => among(entry(true, true, false), vec![addresses(self.value())]),
            "--ctrepldst" => among(entry(true, false, false), vec![addresses(self.value())]),
            "--ctorigsrcport" => among(entry(false, true, true), vec![ports(self.value(), ':')]),
            "--ctorigdstport" => among(entry(false, false, true), vec![ports(self.value(), ':')]),
            "--src-type" => among(Field::SourceType, address_types(self.value())),
            "--dst-type" => among(Field::DestinationType, address_types(self.value())),
            "--mac-source" => among(Field::SourceMac, vec![Part::Name(self.value().to_owned())]),
            // A packet that no bridge hands over has no port, and then only a negated question holds:
            // that one is left as it is not understood.
            "--physdev-in" | "--physdev-out" if negated => None,
            "--physdev-in" => among(Field::InputPort, vec![interface(self.value())]),
            "--physdev-out" => among(Field::OutputPort, vec![interface(self.value())]),
            "--physdev-is-bridged" | "--physdev-is-in" | "--physdev-is-out" => {
                among(Field::InputPort, vec![Part::Name("*".to_owned())])
            }
            "--ttl-eq" | "--hl-eq" => among(self.ttl(), vec![number(self.value())?]),
            "--ttl-lt" | "--hl-lt" => {
                let bound = self.value().parse::<u128>().ok()?.checked_sub(1)?;
                among(self.ttl(), vec![Part::Range(0, bound)])
            }
            "--ttl-gt" | "--hl-gt" => {
                let bound = self.value().parse::<u128>().ok()? + 1;
                among(self.ttl(), vec![Part::Range(bound, u128::MAX)])
            }
            "--length" if self.module == "length" => {
                among(Field::Length, vec![ports(self.value(), ':')])
            }
            "--pkt-type" => among(
                Field::PacketType,
                vec![Part::Name(match self.value() {
                    "unicast" => "host".to_owned(),
                    other => other.to_owned(),
                })],
            ),
            "--match-set" => {
                let name = self.value().to_owned();
                let sources = self.value().split(',').map(|word| word == "src").collect();
                Some(Condition::In {
                    key: Vec::new(),
                    negated,
                    values: Values::IpSet { name, sources },
                })
            }
            "--icmp-type" | "--icmpv6-type" => {
                let proto = if version == Version::V4 { 1 } else { 58 };
                let kind = self.value();
                match kind.split_once('/') {
                    Some((kind, code)) => Some(Condition::In {
                        key: vec![Field::IcmpType(proto), Field::IcmpCode(proto)],
                        negated,
                        values: Values::Inline(vec![Element {
                            parts: vec![number(kind)?, number(code)?],
                            ..Element::default()
                        }]),
                    }),
                    None if kind == "any" => among(Field::IcmpType(proto), vec![Part::Any]),
                    None => among(Field::IcmpType(proto), vec![Part::Name(kind.to_owned())]),
                }
            }
            _ => None,
        }
    }

    fn mark(&mut self, of: Mark, negated: bool) -> Option<Condition> {
        let (value, mask) = masked(self.value())?;
        Some(Condition::Mark {
            of,
            mask,
            value,
            negated,
        })
    }

    fn ttl(&self) -> Field {
        let (at, count) = match self.version {
            Version::V4 => (64, 8),
            Version::V6 => (56, 8),
        };
        Field::Header(Bits {
            layer: Layer::Network(self.version),
            at,
            count,
        })
    }

    /// `-m rpfilter --invert` holds where the source is not routed back through the interface.
    fn rpfilter(&mut self) -> Condition {
        let mut inverted = false;
        let mut is_plain = true;
        while let [option, rest @ ..] = self.words {
            match option.as_str() {
                "--invert" => inverted = true,
                "--validmark" => {}
                // These ask other questions.
                "--loose" | "--accept-local" => is_plain = false,
                _ => break,
            }
            self.words = rest;
        }
        if !is_plain {
            return Condition::Unknown(Guard::Any);
        }
        Condition::In {
            key: vec![Field::ReversePath],
            negated: false,
            values: Values::Inline(vec![Element::of(Part::number(u8::from(!inverted)))]),
        }
    }
}

fn entry(is_reply: bool, is_source: bool, is_port: bool) -> Field {
    Field::Entry(EntryEnd {
        is_reply,
        is_source,
        is_port,
    })
}

fn address_types(list: &str) -> Vec<Part> {
    let names = list.split(',').map(str::to_ascii_lowercase);
    names.map(Part::Name).collect()
}

fn number(text: &str) -> Option<Part> {
    text.parse::<u32>().ok().map(Part::number)
}

fn interface(name: &str) -> Part {
    Part::Name(match name.strip_suffix('+') {
        Some(start) => format!("{start}*"),
        None => name.to_owned(),
    })
}

fn port_list(list: &str) -> Vec<Part> {
    list.split(',').map(|range| ports(range, ':')).collect()
}

fn flags(list: &str) -> Option<u8> {
    let flags = list.split(',').map(tcp_flag);
    flags.into_iter().try_fold(0, |all, flag| Some(all | flag?))
}

fn states(list: &str, negated: bool) -> Option<Condition> {
    let mut states = 0;
    let mut translated = Translated::default();
    for name in list.split(',') {
        match (name, state::from_name(name)) {
            (_, Some(bit)) => states |= bit,
            ("DNAT", None) => translated.destination = true,
            ("SNAT", None) => translated.source = true,
            _ => return None,
        }
    }
    Some(Condition::State {
        states,
        translated,
        negated,
    })
}

/// `VALUE` or `VALUE/MASK`.
pub(super) fn masked(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    match text.split_once('/') {
        Some((value, mask)) => Some((number(value)?, number(mask)?)),
        None => Some((number(text)?, u32::MAX)),
    }
}
