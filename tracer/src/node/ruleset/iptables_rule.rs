//! From the words of one iptables rule to its statements.

use super::{
    condition::{Condition, Element, Field, Part, Values, Version, protocol, state, tcp_flag},
    ipset::{addresses, ports},
    model::{Family, Statement, Verdict},
};

/// A rule's statements and comment.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) statements: Vec<Statement>,
    pub(super) comment: Option<String>,
}

/// Matches whose options are understood, or that say nothing by themselves.
const KNOWN: [&str; 15] = [
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
    "set",
    "multiport",
    "iprange",
    "nfacct",
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
                if !KNOWN.contains(&parser.module) {
                    parsed.statements.push(Statement::Match(Condition::Unknown));
                }
            }
            "--comment" => parsed.comment = Some(parser.value().to_owned()),
            "-j" | "-g" => {
                let target = parser.value();
                parsed
                    .statements
                    .extend(self::target(option, target, parser.words));
                break;
            }
            // The name of a counter, which every packet passes.
            "--nfacct-name" => parser.skip(),
            option => {
                let condition = parser.condition(option, negated);
                parser.skip();
                let condition = condition.unwrap_or(Condition::Unknown);
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
            let elements = parts.into_iter().map(|part| Element {
                parts: vec![part],
                comment: None,
            });
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
            "--mark" if self.module == "mark" => {
                let (value, mask) = masked(self.value())?;
                Some(Condition::Mark {
                    mask,
                    value,
                    negated,
                })
            }
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
                    // A code is more than is looked at here.
                    Some(_) => None,
                    None => among(
                        Field::IcmpType(proto),
                        vec![Part::number(kind.parse::<u8>().ok()?)],
                    ),
                }
            }
            _ => None,
        }
    }
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
    let mut more = false;
    for name in list.split(',') {
        match (name, state::from_name(name)) {
            (_, Some(bit)) => states |= bit,
            ("DNAT" | "SNAT", None) => more = true,
            _ => return None,
        }
    }
    Some(Condition::State {
        states,
        more,
        negated,
    })
}

/// `VALUE` or `VALUE/MASK`.
fn masked(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    match text.split_once('/') {
        Some((value, mask)) => Some((number(value)?, number(mask)?)),
        None => Some((number(text)?, u32::MAX)),
    }
}

/// The statement of a target; `None` for one that lets the rules go on.
fn target(option: &str, name: &str, options: &[String]) -> Option<Statement> {
    Some(Statement::Verdict(match name {
        "DROP" => Verdict::Drop,
        "REJECT" => Verdict::Reject,
        "ACCEPT" | "MASQUERADE" | "DNAT" | "SNAT" | "REDIRECT" | "NETMAP" | "TPROXY" => {
            Verdict::Accept
        }
        "RETURN" => Verdict::Return,
        "QUEUE" | "NFQUEUE" => Verdict::Queue,
        "SYNPROXY" => Verdict::Unknown,
        "MARK" => return Some(mark(options)),
        // It may write the connection's mark into the packet's.
        "CONNMARK" if options.iter().any(|word| word == "--restore-mark") => {
            return Some(Statement::Mark {
                and: 0,
                xor: 0,
                known: 0,
            });
        }
        "LOG" | "NFLOG" | "ULOG" | "CT" | "NOTRACK" | "TRACE" | "CONNMARK" | "TCPMSS" | "TTL"
        | "HL" | "TOS" | "DSCP" | "CLASSIFY" | "CHECKSUM" | "SET" | "AUDIT" | "TEE" | "SECMARK"
        | "CONNSECMARK" | "TCPOPTSTRIP" | "RATEEST" | "ECN" | "" => return None,
        chain if option == "-g" => Verdict::Goto(chain.to_owned()),
        chain => Verdict::Jump(chain.to_owned()),
    }))
}

fn mark(options: &[String]) -> Statement {
    // `--set-xmark VALUE/MASK` clears the mask's bits, then turns the value's over.
    let change = match options {
        [option, value, ..] if option == "--set-xmark" => masked(value),
        _ => None,
    };
    match change {
        Some((value, mask)) => Statement::Mark {
            and: !mask,
            xor: value,
            known: u32::MAX,
        },
        None => Statement::Mark {
            and: 0,
            xor: 0,
            known: 0,
        },
    }
}
