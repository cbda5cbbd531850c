//! The rules of one table of nf_tables, as the kernel has them.
//!
//! `nft` needs seconds to list fifty thousand rules; the kernel lists them in a fraction of one.

use std::io;

use super::{
    message::{Attributes, Message, Request, u64_be},
    netlink::Netlink,
};

/// Length of `struct nfgenmsg`.
const FIXED: usize = 4;
/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE`
const GET_RULE: u16 = 10 << 8 | 7;
/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE`
const GET_TABLE: u16 = 10 << 8 | 1;

/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN`
const GET_GENERATION: u16 = 10 << 8 | 16;

/// `NFTA_…` of include/uapi/linux/netfilter/nf_tables.h.
mod nfta {
    pub(super) const GEN_ID: u16 = 1;
    pub(super) const RULE_TABLE: u16 = 1;
    pub(super) const RULE_CHAIN: u16 = 2;
    pub(super) const RULE_HANDLE: u16 = 3;
    pub(super) const RULE_EXPRESSIONS: u16 = 4;
    pub(super) const RULE_USERDATA: u16 = 7;
    pub(super) const EXPR_NAME: u16 = 1;
    pub(super) const EXPR_DATA: u16 = 2;
    pub(super) const META_DREG: u16 = 1;
    pub(super) const META_KEY: u16 = 2;
    pub(super) const PAYLOAD_DREG: u16 = 1;
    pub(super) const PAYLOAD_BASE: u16 = 2;
    pub(super) const PAYLOAD_OFFSET: u16 = 3;
    pub(super) const PAYLOAD_LEN: u16 = 4;
    pub(super) const CMP_SREG: u16 = 1;
    pub(super) const CMP_OP: u16 = 2;
    pub(super) const CMP_DATA: u16 = 3;
    pub(super) const BITWISE_SREG: u16 = 1;
    pub(super) const BITWISE_DREG: u16 = 2;
    pub(super) const BITWISE_MASK: u16 = 4;
    pub(super) const BITWISE_XOR: u16 = 5;
    pub(super) const BITWISE_OP: u16 = 6;
    pub(super) const CT_DREG: u16 = 1;
    pub(super) const CT_KEY: u16 = 2;
    pub(super) const CT_DIRECTION: u16 = 3;
    pub(super) const COUNTER_PACKETS: u16 = 2;
    pub(super) const IMMEDIATE_DREG: u16 = 1;
    pub(super) const IMMEDIATE_DATA: u16 = 2;
    pub(super) const DATA_VALUE: u16 = 1;
    pub(super) const DATA_VERDICT: u16 = 2;
    pub(super) const VERDICT_CODE: u16 = 1;
    pub(super) const VERDICT_CHAIN: u16 = 2;
    pub(super) const REJECT_TYPE: u16 = 1;
    pub(super) const REJECT_CODE: u16 = 2;
}

/// `NFTNL_UDATA_RULE_COMMENT` of libnftnl: the user's comment, in the rule's user data.
const COMMENT: u8 = 0;

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NftRule {
    /// Its chain.
    pub(crate) chain: String,
    /// The kernel's number of it.
    pub(crate) handle: u64,
    /// What it does, in order.
    pub(crate) expressions: Vec<NftExpression>,
    /// Its comment.
    pub(crate) comment: Option<String>,
}

/// One step of a rule. Numbers are those of the kernel's interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NftExpression {
    /// Loads something about the packet into a register.
    Meta {
        /// `NFT_META_…`
        key: u32,
        /// Into which one.
        register: u32,
    },
    /// Loads bytes of a header into a register.
    Payload {
        /// `NFT_PAYLOAD_…_HEADER`
        base: u32,
        /// From where in the header.
        offset: u32,
        /// How many.
        len: u32,
        /// Into which one.
        register: u32,
    },
    /// Loads something about the connection into a register; of either direction.
    Ct {
        /// `NFT_CT_…`
        key: u32,
        /// Into which one.
        register: u32,
    },
    /// `to = (from & mask) ^ xor`
    Bitwise {
        /// From which register.
        from: u32,
        /// Into which one.
        to: u32,
        /// The mask.
        mask: Vec<u8>,
        /// Bits that are turned over.
        xor: Vec<u8>,
    },
    /// Goes on only if the register compares so with the value.
    Compare {
        /// Which register.
        register: u32,
        /// `NFT_CMP_…`
        operator: u32,
        /// The value.
        value: Vec<u8>,
    },
    /// Counts.
    Counter {
        /// Packets so far.
        packets: u64,
    },
    /// Decides.
    Verdict {
        /// `NF_…` or `NFT_…`
        code: i32,
        /// Where to, for jumps.
        chain: Option<String>,
    },
    /// Refuses, and answers.
    Reject {
        /// `NFT_REJECT_…`
        kind: u32,
        /// The code, in the numbering of that kind.
        code: u8,
    },
    /// Anything else.
    Other,
}

/// The rules of a table, chain by chain and in order, in the namespace that this thread is in.
/// `family` is its `NFPROTO_` number. Asked for only where there are tables, so that nothing is
/// loaded by asking.
///
/// # Errors
///
/// The kernel refuses, or the rules kept changing while they were read.
pub(crate) fn nft_rules(family: u8, table: &str) -> io::Result<Vec<NftRule>> {
    Netlink::netfilter()?.dump(&question(family, table), read)
}

/// The number of the namespace's rules, which each change of them moves on; `None` where the kernel
/// does not say it. Asked for only where there is nf_tables, so that nothing is loaded by asking.
///
/// # Errors
///
/// The kernel cannot be asked.
pub(crate) fn nft_generation() -> io::Result<Option<u32>> {
    let request = Request::new(GET_GENERATION, &[0; FIXED]);
    let read = |message: &Message<'_>| message.attributes(FIXED).u32(nfta::GEN_ID);
    let answer = Netlink::netfilter()?.ask(&request, read)?;
    Ok(answer.ok().flatten().map(u32::from_be))
}

/// How many tables the namespace has of the families arp and bridge. To be asked only where there is
/// nf_tables, as above.
///
/// # Errors
///
/// The kernel cannot be asked.
pub(crate) fn nft_link_tables() -> io::Result<usize> {
    let request = Request::new(GET_TABLE, &[libc::AF_UNSPEC as u8, 0, 0, 0]);
    let families = Netlink::netfilter()?.dump(&request, |message| message.u8_at(0))?;
    let of_link = [libc::NFPROTO_ARP, libc::NFPROTO_BRIDGE];
    let is_of_link = |family: &&u8| of_link.contains(&i32::from(**family));
    Ok(families.iter().filter(is_of_link).count())
}

fn question(family: u8, table: &str) -> Request {
    let mut name = table.as_bytes().to_vec();
    name.push(0);
    Request::new(GET_RULE, &[family, 0, 0, 0]).with(nfta::RULE_TABLE, &name)
}

pub(super) fn read(message: &Message<'_>) -> Option<NftRule> {
    let all = message.attributes(FIXED);
    let expressions = all.inside(nfta::RULE_EXPRESSIONS).iter();
    Some(NftRule {
        chain: all.text(nfta::RULE_CHAIN)?,
        handle: all.get(nfta::RULE_HANDLE).and_then(u64_be)?,
        expressions: expressions
            .map(|(_, element)| expression(Attributes(element)))
            .collect(),
        comment: all.get(nfta::RULE_USERDATA).and_then(comment),
    })
}

/// Types, lengths and values, a byte each for the first two.
fn comment(mut user_data: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = user_data {
        let (value, behind) = rest.split_at_checked(usize::from(*length))?;
        if *kind == COMMENT {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        user_data = behind;
    }
    None
}

fn expression(element: Attributes<'_>) -> NftExpression {
    let data = element.inside(nfta::EXPR_DATA);
    let name = element.text(nfta::EXPR_NAME).unwrap_or_default();
    known(&name, data).unwrap_or(NftExpression::Other)
}

/// `None` for what is not known, or not whole.
fn known(name: &str, data: Attributes<'_>) -> Option<NftExpression> {
    let number = |kind| data.u32(kind).map(u32::from_be);
    Some(match name {
        "meta" => NftExpression::Meta {
            key: number(nfta::META_KEY)?,
            register: number(nfta::META_DREG)?,
        },
        "payload" => NftExpression::Payload {
            base: number(nfta::PAYLOAD_BASE)?,
            offset: number(nfta::PAYLOAD_OFFSET)?,
            len: number(nfta::PAYLOAD_LEN)?,
            register: number(nfta::PAYLOAD_DREG)?,
        },
        "ct" if data.get(nfta::CT_DIRECTION).is_none() => NftExpression::Ct {
            key: number(nfta::CT_KEY)?,
            register: number(nfta::CT_DREG)?,
        },
        // Shifts have another operation.
        "bitwise" if number(nfta::BITWISE_OP).unwrap_or(0) == 0 => NftExpression::Bitwise {
            from: number(nfta::BITWISE_SREG)?,
            to: number(nfta::BITWISE_DREG)?,
            mask: value(data.inside(nfta::BITWISE_MASK))?,
            xor: value(data.inside(nfta::BITWISE_XOR))?,
        },
        "cmp" => NftExpression::Compare {
            register: number(nfta::CMP_SREG)?,
            operator: number(nfta::CMP_OP)?,
            value: value(data.inside(nfta::CMP_DATA))?,
        },
        "counter" => NftExpression::Counter {
            packets: data.get(nfta::COUNTER_PACKETS).and_then(u64_be)?,
        },
        "immediate" if number(nfta::IMMEDIATE_DREG)? == 0 => {
            let verdict = data.inside(nfta::IMMEDIATE_DATA).inside(nfta::DATA_VERDICT);
            NftExpression::Verdict {
                code: u32::from_be(verdict.u32(nfta::VERDICT_CODE)?).cast_signed(),
                chain: verdict.text(nfta::VERDICT_CHAIN),
            }
        }
        "reject" => NftExpression::Reject {
            kind: number(nfta::REJECT_TYPE)?,
            code: data.u8(nfta::REJECT_CODE).unwrap_or(0),
        },
        _ => return None,
    })
}

fn value(data: Attributes<'_>) -> Option<Vec<u8>> {
    data.get(nfta::DATA_VALUE).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn be(number: u32) -> [u8; 4] {
        number.to_be_bytes()
    }

    #[test]
    fn a_rule_is_its_expressions() {
        let named = |name: &'static [u8], fill: fn(Request) -> Request| {
            move |all: Request| {
                all.nested(1, |element| {
                    element
                        .with(nfta::EXPR_NAME, name)
                        .nested(nfta::EXPR_DATA, fill)
                })
            }
        };
        let message = Request::new(GET_RULE, &[1, 0, 0, 0])
            .with(nfta::RULE_CHAIN, b"forward\0")
            .with(nfta::RULE_HANDLE, &7_u64.to_be_bytes())
            .nested(nfta::RULE_EXPRESSIONS, |all| {
                let all = named(b"payload\0", |data| {
                    data.with(nfta::PAYLOAD_DREG, &be(1))
                        .with(nfta::PAYLOAD_BASE, &be(1))
                        .with(nfta::PAYLOAD_OFFSET, &be(12))
                        .with(nfta::PAYLOAD_LEN, &be(4))
                })(all);
                let all = named(b"cmp\0", |data| {
                    data.with(nfta::CMP_SREG, &be(1))
                        .with(nfta::CMP_OP, &be(0))
                        .nested(nfta::CMP_DATA, |data| {
                            data.with(nfta::DATA_VALUE, &[10, 0, 0, 1])
                        })
                })(all);
                let all = named(b"lookup\0", |data| data)(all);
                named(b"immediate\0", |data| {
                    data.with(nfta::IMMEDIATE_DREG, &be(0))
                        .nested(nfta::IMMEDIATE_DATA, |data| {
                            data.nested(nfta::DATA_VERDICT, |verdict| {
                                verdict.with(nfta::VERDICT_CODE, &be(0))
                            })
                        })
                })(all)
            })
            .with(nfta::RULE_USERDATA, b"\x01\x01x\x00\x03hi\0");
        let rule = read(&message.message()).unwrap();
        assert_eq!((rule.chain.as_str(), rule.handle), ("forward", 7));
        assert_eq!(rule.comment.as_deref(), Some("hi"));
        assert_eq!(
            rule.expressions,
            [
                NftExpression::Payload {
                    base: 1,
                    offset: 12,
                    len: 4,
                    register: 1
                },
                NftExpression::Compare {
                    register: 1,
                    operator: 0,
                    value: vec![10, 0, 0, 1]
                },
                NftExpression::Other,
                NftExpression::Verdict {
                    code: 0,
                    chain: None
                },
            ]
        );
    }

    proptest! {
        #[test]
        fn anything_is_read_without_a_panic(bytes: Vec<u8>) {
            let request = Request::new(GET_RULE, &[1, 0, 0, 0]).with(nfta::RULE_EXPRESSIONS, &bytes);
            let _ = read(&request.message());
            let _ = expression(Attributes(&bytes));
            let _ = comment(&bytes);
        }
    }
}
