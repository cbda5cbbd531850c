//! From the expressions of nft's JSON to the statements of a rule.

use serde_json::Value;

use super::{
    condition::{Condition, Field, Part, Values, Version, state, tcp_flag},
    model::{Counter, Statement, Verdict},
    nft, nft_value,
};

/// The statements of a rule, and its counter.
pub(super) fn statements(expressions: &[Value]) -> (Vec<Statement>, Option<Counter>) {
    let mut statements = Vec::new();
    let mut counter = None;
    for expression in expressions {
        let Some((kind, value)) = expression
            .as_object()
            .and_then(|object| object.iter().next())
        else {
            statements.push(Statement::Match(Condition::Unknown));
            continue;
        };
        if kind == "counter" {
            counter = value["packets"].as_u64().map(|packets| Counter {
                packets,
                exact: true,
            });
            continue;
        }
        let Some(statement) = statement(kind, value, expression) else {
            continue;
        };
        let narrows = matches!(
            statement,
            Statement::Match(_) | Statement::VerdictMap { .. }
        );
        if let Some(counter) = counter.as_mut().filter(|_| narrows) {
            counter.exact = false;
        }
        statements.push(statement);
    }
    (statements, counter)
}

/// `None` for a statement that neither stops the packet nor changes what is looked at.
fn statement(kind: &str, value: &Value, whole: &Value) -> Option<Statement> {
    if let Some(verdict) = verdict(whole) {
        return Some(Statement::Verdict(verdict));
    }
    Some(match kind {
        "match" => Statement::Match(condition(value)),
        "vmap" => {
            let name = value["data"]
                .as_str()
                .map(|name| name.trim_start_matches('@').to_owned());
            Statement::VerdictMap {
                key: key(&value["key"]),
                entries: nft::entries(&value["data"]["set"]),
                name,
            }
        }
        "mangle" if value["key"]["meta"]["key"] == "mark" => mark(&value["value"]),
        "xt" => match (value["type"].as_str(), value["name"].as_str()) {
            (Some("match"), Some("comment")) => return None,
            (Some("target"), Some("REJECT")) => Statement::Verdict(Verdict::Reject),
            (Some("target"), Some("MASQUERADE" | "DNAT" | "SNAT" | "REDIRECT")) => {
                Statement::Verdict(Verdict::Accept)
            }
            (Some("target"), Some("MARK" | "CONNMARK")) => ANY_MARK,
            (Some("target"), Some("LOG" | "NFLOG" | "CT" | "TCPMSS" | "CLASSIFY")) => return None,
            (Some("target"), Some("NFQUEUE")) => Statement::Verdict(Verdict::Queue),
            (Some("target"), _) => Statement::Verdict(Verdict::Unknown),
            _ => Statement::Match(Condition::Unknown),
        },
        "masquerade" | "dnat" | "snat" | "redirect" | "fwd" | "tproxy" => {
            Statement::Verdict(Verdict::Accept)
        }
        "synproxy" => Statement::Verdict(Verdict::Unknown),
        "log" | "mangle" | "notrack" | "ct helper" | "ct timeout" | "ct expectation" | "dup"
        | "flow" | "secmark" | "last" => return None,
        // Limits, quotas, sets that are filled, and what is not known.
        _ => Statement::Match(Condition::Unknown),
    })
}

/// The verdict that a statement, or the right side of a map, is.
pub(super) fn verdict(value: &Value) -> Option<Verdict> {
    let (kind, value) = value.as_object()?.iter().next()?;
    let target = || value["target"].as_str().unwrap_or_default().to_owned();
    Some(match kind.as_str() {
        "drop" => Verdict::Drop,
        "reject" => Verdict::Reject,
        "accept" => Verdict::Accept,
        "return" => Verdict::Return,
        "continue" => Verdict::Continue,
        "queue" => Verdict::Queue,
        "jump" => Verdict::Jump(target()),
        "goto" => Verdict::Goto(target()),
        _ => return None,
    })
}

const ANY_MARK: Statement = Statement::Mark {
    and: 0,
    xor: 0,
    known: 0,
};

/// `meta mark set VALUE`, where the value may be made of the mark itself.
fn mark(value: &Value) -> Statement {
    fn changed(value: &Value) -> Option<(u32, u32)> {
        if let Some(number) = value.as_u64() {
            return Some((0, number as u32));
        }
        if value["meta"]["key"] == "mark" {
            return Some((u32::MAX, 0));
        }
        let (operator, operands) = value.as_object()?.iter().next()?;
        let (and, xor) = changed(operands.get(0)?)?;
        let operand = operands.get(1)?.as_u64()? as u32;
        Some(match operator.as_str() {
            "&" => (and & operand, xor & operand),
            "|" => (and & !operand, xor & !operand | operand),
            "^" => (and, xor ^ operand),
            _ => return None,
        })
    }
    match changed(value) {
        Some((and, xor)) => Statement::Mark {
            and,
            xor,
            known: u32::MAX,
        },
        None => ANY_MARK,
    }
}

fn condition(value: &Value) -> Condition {
    let operator = value["op"].as_str().unwrap_or("==");
    let (left, right) = (&value["left"], &value["right"]);
    let negated = operator == "!=";
    let (base, mask) = match left["&"].as_array().map(Vec::as_slice) {
        Some([base, mask]) => (base, Some(mask)),
        _ => (left, None),
    };
    let understood = if base["meta"]["key"] == "mark" {
        mark_condition(operator, mask, right, negated)
    } else if base["ct"]["key"] == "state" && mask.is_none() {
        state_condition(right, negated)
    } else if base["payload"]["protocol"] == "tcp" && base["payload"]["field"] == "flags" {
        flags_condition(operator, mask, right, negated)
    } else if mask.is_none() {
        plain_condition(operator, left, right, negated)
    } else {
        None
    };
    understood.unwrap_or(Condition::Unknown)
}

fn mark_condition(
    operator: &str,
    mask: Option<&Value>,
    right: &Value,
    negated: bool,
) -> Option<Condition> {
    let number = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
    let mask = mask.map_or(Some(u32::MAX), number)?;
    matches!(operator, "==" | "!=").then_some(())?;
    Some(Condition::Mark {
        mask,
        value: number(right)?,
        negated,
    })
}

fn state_condition(right: &Value, negated: bool) -> Option<Condition> {
    let mut states = 0;
    for name in nft_value::names(right)? {
        states |= state::from_name(name)?;
    }
    Some(Condition::State {
        states,
        more: false,
        negated,
    })
}

fn flags_condition(
    operator: &str,
    mask: Option<&Value>,
    right: &Value,
    negated: bool,
) -> Option<Condition> {
    let flags = |value: &Value| -> Option<u8> {
        if let Some(number) = value.as_u64() {
            return u8::try_from(number).ok();
        }
        let names = nft_value::names(value)?.into_iter();
        names
            .map(tcp_flag)
            .try_fold(0, |flags, flag| Some(flags | flag?))
    };
    let right = flags(right)?;
    // Without a mask, one of the flags is enough (`in`).
    let (mask, value) = match (mask, operator) {
        (Some(mask), _) => (flags(mask)?, Some(right)),
        (None, "in") => (right, None),
        (None, _) => (u8::MAX, Some(right)),
    };
    Some(Condition::TcpFlags {
        mask,
        value,
        negated,
    })
}

fn plain_condition(
    operator: &str,
    left: &Value,
    right: &Value,
    negated: bool,
) -> Option<Condition> {
    let key = key(left);
    let bound = || nft_value::number(right);
    let range = |low: u128, high: u128| {
        let parts = vec![Part::Range(low, high)];
        Values::Inline(vec![super::condition::Element {
            parts,
            comment: None,
        }])
    };
    let values = match operator {
        "<" => range(0, bound()?.checked_sub(1)?),
        "<=" => range(0, bound()?),
        ">" => range(bound()?.checked_add(1)?, u128::MAX),
        ">=" => range(bound()?, u128::MAX),
        "==" | "!=" | "in" => match right.as_str().and_then(|name| name.strip_prefix('@')) {
            Some(set) => Values::Set(set.to_owned()),
            None => Values::Inline(nft_value::elements(right)),
        },
        _ => return None,
    };
    Some(Condition::In {
        key,
        negated,
        values,
    })
}

/// The fields that an expression looks at.
fn key(expression: &Value) -> Vec<Field> {
    match expression["concat"].as_array() {
        Some(parts) => parts.iter().map(field).collect(),
        None => vec![field(expression)],
    }
}

fn field(expression: &Value) -> Field {
    if let Some(key) = expression["meta"]["key"].as_str() {
        return match key {
            "l4proto" => Field::Protocol(None),
            "nfproto" => Field::Family,
            "protocol" => Field::EtherType,
            "iifname" | "iif" => Field::Input,
            "oifname" | "oif" => Field::Output,
            _ => Field::Unknown,
        };
    }
    let payload = &expression["payload"];
    let (Some(protocol), Some(field)) = (payload["protocol"].as_str(), payload["field"].as_str())
    else {
        return Field::Unknown;
    };
    let transport = match protocol {
        "th" => None,
        name => super::condition::protocol(name),
    };
    match (protocol, field) {
        ("ip", "saddr") => Field::Source(Version::V4),
        ("ip", "daddr") => Field::Destination(Version::V4),
        ("ip", "protocol") => Field::Protocol(Some(Version::V4)),
        ("ip6", "saddr") => Field::Source(Version::V6),
        ("ip6", "daddr") => Field::Destination(Version::V6),
        ("ip6", "nexthdr") => Field::Protocol(Some(Version::V6)),
        ("ether", "type") => Field::EtherType,
        ("icmp", "type") => Field::IcmpType(1),
        ("icmpv6", "type") => Field::IcmpType(58),
        ("th" | "tcp" | "udp" | "sctp" | "dccp" | "udplite", "sport") => {
            Field::SourcePort(transport)
        }
        ("th" | "tcp" | "udp" | "sctp" | "dccp" | "udplite", "dport") => {
            Field::DestinationPort(transport)
        }
        _ => Field::Unknown,
    }
}
