//! Rules as the kernel has them, written as nft's JSON has them.
//!
//! Only plain rules: what compares addresses, ports, protocols, interfaces, marks and states, counts
//! and decides. A table with any other rule is left to nft, whose words are then the same.

mod values;

use serde_json::{Value, json};

use self::values::{address, protocol, reject, states, verdict, version};
use super::{
    model::{Family, Table},
    nft,
};
use crate::net::{NftExpression, NftRule};

/// `NFT_META_…` of include/uapi/linux/netfilter/nf_tables.h.
mod meta {
    pub(super) const MARK: u32 = 3;
    pub(super) const IIFNAME: u32 = 6;
    pub(super) const OIFNAME: u32 = 7;
    pub(super) const NFPROTO: u32 = 15;
    pub(super) const L4PROTO: u32 = 16;
}

/// `NFT_CT_STATE`
const CT_STATE: u32 = 0;
/// `NFT_PAYLOAD_NETWORK_HEADER`
const NETWORK: u32 = 1;
/// `NFT_PAYLOAD_TRANSPORT_HEADER`
const TRANSPORT: u32 = 2;
/// Bytes of `IFNAMSIZ`.
const NAME: usize = 16;

/// What a register holds.
#[derive(Clone, Debug)]
struct Loaded {
    field: Field,
    /// Bits that are compared; all of them without a mask.
    mask: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Protocol,
    Family,
    Mark,
    Input,
    Output,
    State,
    /// A header's field by nft's names, and its full length.
    Header(&'static str, &'static str, usize),
}

/// Puts rules into the chains of a table. `None` if one of them is not plain.
pub(super) fn fill(mut table: Table, rules: &[NftRule]) -> Option<Table> {
    for rule in rules {
        let expressions = expressions(table.family, &rule.expressions)?;
        let chain = table.chain(&rule.chain)?;
        let filled = nft::rule_of(Some(rule.handle), rule.comment.as_deref(), &expressions);
        table.chains[chain].rules.push(filled);
    }
    Some(table)
}

/// The number of a family in the kernel's interface (`NFPROTO_…`).
pub(super) fn number(family: Family) -> u8 {
    let number = match family {
        Family::Ip => libc::NFPROTO_IPV4,
        Family::Ip6 => libc::NFPROTO_IPV6,
        Family::Inet => libc::NFPROTO_INET,
        Family::Bridge => libc::NFPROTO_BRIDGE,
        Family::Netdev => libc::NFPROTO_NETDEV,
    };
    u8::try_from(number).unwrap_or_default()
}

/// The expressions of nft's JSON.
fn expressions(family: Family, all: &[NftExpression]) -> Option<Vec<Value>> {
    let mut writer = Writer::new(family);
    for expression in all {
        writer.take(expression)?;
    }
    writer.end();
    Some(writer.written)
}

struct Writer {
    registers: Vec<(u32, Loaded)>,
    written: Vec<Value>,
    /// The IP version that was asked for, by the table or a rule.
    is_v6: Option<bool>,
    protocol: Option<u8>,
    /// A question that nft leaves out where a later one implies it.
    implied: Vec<Implied>,
}

struct Implied {
    field: Field,
    written: Value,
}

impl Writer {
    fn new(family: Family) -> Self {
        Self {
            registers: Vec::new(),
            written: Vec::new(),
            is_v6: match family {
                Family::Ip => Some(false),
                Family::Ip6 => Some(true),
                _ => None,
            },
            protocol: None,
            implied: Vec::new(),
        }
    }

    fn take(&mut self, expression: &NftExpression) -> Option<()> {
        match expression {
            NftExpression::Meta { key, register } => {
                let field = match *key {
                    meta::MARK => Field::Mark,
                    meta::IIFNAME => Field::Input,
                    meta::OIFNAME => Field::Output,
                    meta::NFPROTO => Field::Family,
                    meta::L4PROTO => Field::Protocol,
                    _ => return None,
                };
                self.load(*register, field);
            }
            NftExpression::Payload {
                base,
                offset,
                len,
                register,
            } => {
                let field = self.header(*base, *offset, *len)?;
                self.load(*register, field);
                // Fewer bytes than the field has are a prefix of it.
                if let Field::Header(_, _, full) = field
                    && *len as usize != full
                {
                    let mut mask = vec![0xff; *len as usize];
                    mask.resize(full, 0);
                    self.loaded(*register)?.mask = Some(mask);
                }
            }
            NftExpression::Ct { key, register } => {
                (*key == CT_STATE).then_some(())?;
                self.load(*register, Field::State);
            }
            NftExpression::Bitwise {
                from,
                to,
                mask,
                xor,
            } => {
                let loaded = self.loaded(*from)?.clone();
                let is_plain = loaded.mask.is_none() && xor.iter().all(|byte| *byte == 0);
                is_plain.then_some(())?;
                self.load(*to, loaded.field);
                self.loaded(*to)?.mask = Some(mask.clone());
            }
            NftExpression::Compare {
                register,
                operator,
                value,
            } => {
                let loaded = self.loaded(*register)?.clone();
                self.compare(&loaded, *operator, value)?;
            }
            NftExpression::Counter { packets } => {
                self.end();
                self.written.push(json!({"counter": {"packets": packets}}));
            }
            NftExpression::Verdict { code, chain } => {
                self.end();
                self.written.push(verdict(*code, chain.as_deref())?);
            }
            NftExpression::Reject { kind, code } => {
                self.end();
                self.written.push(reject(*kind, *code)?);
            }
            NftExpression::Other => return None,
        }
        Some(())
    }

    fn load(&mut self, register: u32, field: Field) {
        self.registers.retain(|(known, _)| *known != register);
        self.registers
            .push((register, Loaded { field, mask: None }));
    }

    fn loaded(&mut self, register: u32) -> Option<&mut Loaded> {
        let mut all = self.registers.iter_mut();
        all.find(|(known, _)| *known == register)
            .map(|(_, loaded)| loaded)
    }

    fn header(&mut self, base: u32, offset: u32, len: u32) -> Option<Field> {
        let (name, field, full) = match (base, self.is_v6, self.protocol, offset) {
            (NETWORK, Some(false), _, 9) => return (len == 1).then_some(Field::Protocol),
            (NETWORK, Some(false), _, 12) => ("ip", "saddr", 4),
            (NETWORK, Some(false), _, 16) => ("ip", "daddr", 4),
            (NETWORK, Some(true), _, 8) => ("ip6", "saddr", 16),
            (NETWORK, Some(true), _, 24) => ("ip6", "daddr", 16),
            (TRANSPORT, _, Some(6), 0) => ("tcp", "sport", 2),
            (TRANSPORT, _, Some(6), 2) => ("tcp", "dport", 2),
            (TRANSPORT, _, Some(17), 0) => ("udp", "sport", 2),
            (TRANSPORT, _, Some(17), 2) => ("udp", "dport", 2),
            (TRANSPORT, _, _, 0) => ("th", "sport", 2),
            (TRANSPORT, _, _, 2) => ("th", "dport", 2),
            _ => return None,
        };
        let implies = match base {
            NETWORK => Field::Family,
            _ => Field::Protocol,
        };
        // Ports are compared as a whole.
        (len as usize <= full && (base == NETWORK || len == 2)).then_some(())?;
        if name != "th" {
            self.implied.retain(|implied| implied.field != implies);
        }
        Some(Field::Header(name, field, full))
    }

    fn compare(&mut self, loaded: &Loaded, operator: u32, value: &[u8]) -> Option<()> {
        let operator = ["==", "!=", "<", "<=", ">", ">="].get(operator as usize)?;
        let is_equal = *operator == "==";
        let written = |left: Value, right: Value| json!({"match": {"op": operator, "left": left, "right": right}});
        let Loaded { field, mask } = loaded;
        let meta = |key: &str| json!({"meta": {"key": key}});
        match field {
            Field::Protocol | Field::Family => {
                let ([number], None) = (value, mask) else {
                    return None;
                };
                let (key, right) = match field {
                    Field::Protocol => ("l4proto", protocol(*number)),
                    _ => ("nfproto", version(*number)?),
                };
                let written = written(meta(key), right);
                if !is_equal {
                    self.push(written);
                    return Some(());
                }
                match field {
                    Field::Protocol => self.protocol = Some(*number),
                    _ => self.is_v6 = Some(i32::from(*number) == libc::NFPROTO_IPV6),
                }
                self.implied.push(Implied {
                    field: *field,
                    written,
                });
            }
            Field::Mark => {
                // Marks are in the order of the host.
                let number = |bytes: &[u8]| Some(u32::from_ne_bytes(bytes.try_into().ok()?));
                let (right, left) = (number(value)?, meta("mark"));
                let left = match mask {
                    Some(mask) => json!({"&": [left, number(mask)?]}),
                    None => left,
                };
                self.push(written(left, right.into()));
            }
            Field::Input | Field::Output => {
                let key = match field {
                    Field::Input => "iifname",
                    _ => "oifname",
                };
                let end = value.iter().position(|byte| *byte == 0);
                let name = std::str::from_utf8(&value[..end.unwrap_or(value.len())]).ok()?;
                // The start of a name is compared without the rest.
                let name = match (value.len(), end) {
                    (NAME, Some(_)) => name.to_owned(),
                    (_, None) => format!("{name}*"),
                    _ => return None,
                };
                mask.is_none().then_some(())?;
                self.push(written(meta(key), name.into()));
            }
            Field::State => {
                // A mask that leaves something: one of these states.
                let is_one_of = *operator == "!=" && value.iter().all(|byte| *byte == 0);
                let mask: [u8; 4] = mask
                    .as_ref()
                    .filter(|_| is_one_of)?
                    .as_slice()
                    .try_into()
                    .ok()?;
                let states = states(u32::from_ne_bytes(mask))?;
                let left = json!({"ct": {"key": "state"}});
                self.push(json!({"match": {"op": "in", "left": left, "right": states}}));
            }
            Field::Header(name, field, full) => {
                let left = json!({"payload": {"protocol": name, "field": field}});
                let right = match *full {
                    2 => match mask {
                        Some(_) => return None,
                        None => u16::from_be_bytes(value.try_into().ok()?).into(),
                    },
                    _ => address(value, mask.as_deref(), *full)?,
                };
                // Addresses are compared for equality, or in ranges that nft writes otherwise.
                let is_range = !matches!(*operator, "==" | "!=");
                (!is_range || *full == 2).then_some(())?;
                self.push(written(left, right));
            }
        }
        Some(())
    }

    fn push(&mut self, written: Value) {
        // From and to, one after the other, are a range.
        let ends = self.written.last().and_then(|last| {
            let (from, to) = (&last["match"], &written["match"]);
            let is_range = from["op"] == ">=" && to["op"] == "<=" && from["left"] == to["left"];
            is_range.then(|| {
                (
                    from["left"].clone(),
                    from["right"].clone(),
                    to["right"].clone(),
                )
            })
        });
        match ends {
            Some((left, from, to)) => {
                self.written.pop();
                let right = json!({"range": [from, to]});
                let range = json!({"match": {"op": "==", "left": left, "right": right}});
                self.written.push(range);
            }
            None => self.written.push(written),
        }
    }

    /// Nothing follows that would imply what was asked before.
    fn end(&mut self) {
        let implied = self.implied.drain(..).map(|implied| implied.written);
        self.written.extend(implied);
    }
}
