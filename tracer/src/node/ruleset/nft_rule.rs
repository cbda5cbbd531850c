//! From the expressions of nft's JSON to the statements of a rule.

use serde_json::Value;

use super::{
    condition::{
        Condition, Element, Field, Guard, Mark, Part, Translated, Values, state, tcp_flag,
    },
    model::{Answer, Counter, MarkChange, Nat, NatPort, Proxy, Statement, Verdict},
    names, nft, nft_field, nft_value,
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
            statements.push(Statement::Match(Condition::Unknown(Guard::Any)));
            continue;
        };
        if kind == "counter" {
            // After a verdict, it counts only what that verdict let pass.
            let decides = |statement: &Statement| {
                matches!(
                    statement,
                    Statement::Verdict(_) | Statement::VerdictMap { .. }
                )
            };
            if !statements.iter().any(decides) {
                counter = value["packets"].as_u64().map(|packets| Counter {
                    packets,
                    exact: true,
                });
            }
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
                key: nft_field::key(&value["key"]),
                entries: nft::entries(&value["data"]["set"]),
                name,
            }
        }
        "mangle" => return mangle(&value["key"], &value["value"]),
        "notrack" => Statement::Untrack,
        "xt" => return xt(value),
        "masquerade" | "dnat" | "snat" | "redirect" => Statement::Nat(nat(kind, value)),
        "fwd" => Statement::Verdict(Verdict::Accept),
        "synproxy" => Statement::Verdict(Verdict::Unknown),
        "tproxy" => Statement::Tproxy(tproxy(value)),
        "log" | "ct helper" | "ct timeout" | "ct expectation" | "dup" | "flow" | "secmark"
        | "last" => return None,
        // Limits, quotas, sets that are filled, and what is not known.
        _ => Statement::Match(Condition::Unknown(Guard::Any)),
    })
}

fn tproxy(value: &Value) -> Proxy {
    let address = value["addr"].as_str();
    let port = value["port"].as_u64();
    Proxy {
        address: address.and_then(|address| address.parse().ok()),
        port: port.and_then(|port| u16::try_from(port).ok()),
    }
}

/// A statement that writes into the packet or its connection.
fn mangle(key: &Value, value: &Value) -> Option<Statement> {
    let to = match (key["meta"]["key"].as_str(), key["ct"]["key"].as_str()) {
        (Some("mark"), _) => Mark::Packet,
        (_, Some("mark")) => Mark::Connection,
        (_, Some("zone")) => return Some(Statement::Zone(zone(key, value))),
        _ => {
            let field = nft_field::field(key);
            return (key["payload"].is_object()).then_some(Statement::Rewrite(field));
        }
    };
    Some(Statement::Mark(mark(to, value)))
}

/// The zone that a connection is tracked in. One of a single direction is another one for its answers.
fn zone(key: &Value, value: &Value) -> Option<u16> {
    let is_both = key["ct"]["dir"].is_null();
    let zone = value.as_u64().filter(|_| is_both)?;
    u16::try_from(zone).ok()
}

/// What iptables' own matches and targets are, if nft does not show their details.
fn xt(value: &Value) -> Option<Statement> {
    Some(match (value["type"].as_str(), value["name"].as_str()) {
        (Some("match"), Some("comment")) => return None,
        (Some("match"), Some("tcp")) => guarded(6),
        (Some("match"), Some("udp")) => guarded(17),
        (Some("match"), Some("icmp")) => guarded(1),
        (Some("match"), Some("icmp6")) => guarded(58),
        (Some("match"), Some("sctp")) => guarded(132),
        (Some("target"), Some("REJECT")) => Statement::Verdict(Verdict::Reject(Answer::Unknown)),
        (Some("target"), Some(name @ ("MASQUERADE" | "DNAT" | "SNAT" | "REDIRECT"))) => {
            Statement::Nat(Nat {
                is_destination: matches!(name, "DNAT" | "REDIRECT"),
                address: None,
                port: NatPort::Unknown,
            })
        }
        (Some("target"), Some("TPROXY")) => Statement::Verdict(Verdict::Proxy(Proxy {
            address: None,
            port: None,
        })),
        (Some("target"), Some("MARK")) => Statement::Mark(MarkChange::to_anything(Mark::Packet)),
        // It may write the one into the other.
        (Some("target"), Some("CONNMARK")) => {
            Statement::Mark(MarkChange::to_anything(Mark::Packet))
        }
        (Some("target"), Some("NOTRACK")) => Statement::Untrack,
        // It may choose any.
        (Some("target"), Some("CT")) => Statement::Zone(None),
        (Some("target"), Some("LOG" | "NFLOG" | "TCPMSS" | "CLASSIFY")) => return None,
        (Some("target"), Some("NFQUEUE")) => Statement::Verdict(Verdict::Queue),
        // ebtables ends a rule so that has no other target.
        (Some("target"), Some("standard")) => return None,
        (Some("target"), _) => Statement::Verdict(Verdict::Unknown),
        _ => Statement::Match(Condition::Unknown(Guard::Any)),
    })
}

fn guarded(proto: u8) -> Statement {
    Statement::Match(Condition::Unknown(Guard::Transport(proto)))
}

fn nat(kind: &str, value: &Value) -> Nat {
    let port = match value["port"]
        .as_u64()
        .and_then(|port| u16::try_from(port).ok())
    {
        Some(port) => NatPort::To(port),
        // The kernel looks for another one where the connection's is taken.
        None if !value["port"].is_null() || matches!(kind, "snat" | "masquerade") => {
            NatPort::Unknown
        }
        None => NatPort::Kept,
    };
    Nat {
        is_destination: matches!(kind, "dnat" | "redirect"),
        address: value["addr"]
            .as_str()
            .and_then(|address| address.parse().ok()),
        port,
    }
}

/// The verdict that a statement, or the right side of a map, is.
pub(super) fn verdict(value: &Value) -> Option<Verdict> {
    let (kind, value) = value.as_object()?.iter().next()?;
    let target = || value["target"].as_str().unwrap_or_default().to_owned();
    Some(match kind.as_str() {
        "drop" => Verdict::Drop,
        "reject" => Verdict::Reject(answer(value)),
        "accept" => Verdict::Accept,
        "return" => Verdict::Return,
        "continue" => Verdict::Continue,
        "queue" => Verdict::Queue,
        "jump" => Verdict::Jump(target()),
        "goto" => Verdict::Goto(target()),
        _ => return None,
    })
}

fn answer(reject: &Value) -> Answer {
    let code = reject["expr"].as_str();
    match (reject["type"].as_str(), code) {
        (Some("tcp reset"), _) => Answer::Reset,
        (Some("icmp" | "icmpv6" | "icmpx") | None, None) => Answer::Unreachable(3, 4),
        // `icmpx` has names of its own for what both versions have.
        (Some("icmpx"), Some("no-route")) => Answer::Unreachable(0, 0),
        (Some("icmpx"), Some("host-unreachable")) => Answer::Unreachable(1, 3),
        (Some("icmpx"), Some("admin-prohibited")) => Answer::Unreachable(13, 1),
        (_, Some(code)) => match (names::icmp_code(code), names::icmpv6_code(code)) {
            (None, None) => Answer::Unknown,
            (v4, v6) => Answer::Unreachable(v4.unwrap_or(u8::MAX), v6.unwrap_or(u8::MAX)),
        },
        _ => Answer::Unknown,
    }
}

/// `meta mark set VALUE`, where the value may be made of either mark.
fn mark(to: Mark, value: &Value) -> MarkChange {
    fn changed(to: Mark, value: &Value) -> Option<MarkChange> {
        if let Some(number) = value.as_u64() {
            return Some(MarkChange::kept(to, 0, number as u32));
        }
        let of = match (value["meta"]["key"].as_str(), value["ct"]["key"].as_str()) {
            (Some("mark"), _) => Some(Mark::Packet),
            (_, Some("mark")) => Some(Mark::Connection),
            _ => None,
        };
        match of {
            Some(own) if own == to => return Some(MarkChange::kept(to, u32::MAX, 0)),
            Some(other) => {
                return Some(MarkChange {
                    from: Some(other),
                    mask: u32::MAX,
                    ..MarkChange::kept(to, 0, 0)
                });
            }
            None => {}
        }
        let (operator, operands) = value.as_object()?.iter().next()?;
        let change = changed(to, operands.get(0)?)?;
        let operand = operands.get(1)?.as_u64()? as u32;
        let MarkChange {
            keep, mask, xor, ..
        } = change;
        Some(match operator.as_str() {
            "&" => MarkChange {
                keep: keep & operand,
                mask: mask & operand,
                xor: xor & operand,
                ..change
            },
            "|" => MarkChange {
                keep: keep & !operand,
                mask: mask & !operand,
                xor: xor & !operand | operand,
                ..change
            },
            "^" => MarkChange {
                xor: xor ^ operand,
                ..change
            },
            _ => return None,
        })
    }
    changed(to, value).unwrap_or(MarkChange::to_anything(to))
}

fn condition(value: &Value) -> Condition {
    let operator = value["op"].as_str().unwrap_or("==");
    let (left, right) = (&value["left"], &value["right"]);
    let negated = operator == "!=";
    let (base, mask) = match left["&"].as_array().map(Vec::as_slice) {
        Some([base, mask]) => (base, Some(mask)),
        _ => (left, None),
    };
    let field = nft_field::field(base);
    let understood = match field {
        Field::Mark(of) => mark_condition(of, operator, mask, right),
        Field::State if mask.is_none() => state_condition(right, negated),
        _ if base["payload"]["protocol"] == "tcp" && base["payload"]["field"] == "flags" => {
            flags_condition(operator, mask, right, negated)
        }
        Field::Unknown(_) => None,
        field => match mask {
            Some(mask) => masked_condition(field, operator, mask, right),
            None => plain_condition(operator, left, right, negated),
        },
    };
    understood
        .or_else(|| {
            let named = right.as_str()?.starts_with('@') || base["concat"].is_array();
            named.then(|| plain_condition(operator, left, right, negated))?
        })
        .unwrap_or(Condition::Unknown(nft_field::guard(base)))
}

fn mark_condition(
    of: Mark,
    operator: &str,
    mask: Option<&Value>,
    right: &Value,
) -> Option<Condition> {
    let number = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
    let mask = mask.map_or(Some(u32::MAX), number)?;
    matches!(operator, "==" | "!=").then_some(())?;
    let Some(value) = number(right) else {
        // A set, or a range.
        let mask = (mask == u32::MAX).then_some(mask)?;
        return masked_values(Field::Mark(of), operator, mask.into(), right);
    };
    Some(Condition::Mark {
        of,
        mask,
        value,
        negated: operator == "!=",
    })
}

/// `FIELD & MASK == VALUE`.
fn masked_condition(
    field: Field,
    operator: &str,
    mask: &Value,
    right: &Value,
) -> Option<Condition> {
    masked_values(field, operator, nft_value::number(mask)?, right)
}

fn masked_values(field: Field, operator: &str, mask: u128, right: &Value) -> Option<Condition> {
    if right.as_str().is_some_and(|name| name.starts_with('@')) {
        return None;
    }
    Some(Condition::Masked {
        field,
        mask,
        negated: operator == "!=",
        values: compared(operator, right)?,
    })
}

fn state_condition(right: &Value, negated: bool) -> Option<Condition> {
    let mut states = 0;
    for name in nft_value::names(right)? {
        states |= state::from_name(name)?;
    }
    Some(Condition::State {
        states,
        translated: Translated::default(),
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
    let set = right.as_str().and_then(|name| name.strip_prefix('@'));
    Some(Condition::In {
        key: nft_field::key(left),
        negated,
        values: match set {
            Some(set) => Values::Set(set.to_owned()),
            None => Values::Inline(compared(operator, right)?),
        },
    })
}

/// The values that a comparison with `right` admits.
fn compared(operator: &str, right: &Value) -> Option<Vec<Element>> {
    let bound = || nft_value::number(right);
    let range = |low: u128, high: u128| Some(vec![Element::of(Part::Range(low, high))]);
    match operator {
        "<" => range(0, bound()?.checked_sub(1)?),
        "<=" => range(0, bound()?),
        ">" => range(bound()?.checked_add(1)?, u128::MAX),
        ">=" => range(bound()?, u128::MAX),
        "==" | "!=" | "in" => Some(nft_value::elements(right)),
        _ => None,
    }
}
