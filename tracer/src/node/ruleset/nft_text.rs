//! A rule of nft's JSON, written as `nft list ruleset` would.

use serde_json::{Map, Value};

/// The rule's text.
pub(super) fn rule(expressions: &[Value], comment: Option<&str>) -> String {
    let mut words: Vec<_> = expressions.iter().map(statement).collect();
    if let Some(comment) = comment {
        words.push(format!("comment \"{comment}\""));
    }
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

fn only(value: &Value) -> Option<(&str, &Value)> {
    let (kind, value) = value.as_object()?.iter().next()?;
    Some((kind.as_str(), value))
}

fn statement(statement: &Value) -> String {
    let Some((kind, value)) = only(statement) else {
        return expression(statement);
    };
    let hex = is_of_marks(value).then(|| in_hex(value));
    let value = hex.as_ref().unwrap_or(value);
    match kind {
        "match" => {
            if let Some(flags) = masked_flags(value) {
                return flags;
            }
            let left = expression(&value["left"]);
            let right = match value["right"]["|"].is_null() {
                // Flags that are enough by themselves are listed, not joined.
                false if value["op"] == "in" => expression(&value["right"]).replace(" | ", ","),
                _ if value["op"] == "in" => list(&value["right"], ","),
                _ => expression(&value["right"]),
            };
            if let (Some("fib"), Some(there)) = (
                only(&value["left"]).map(|(kind, _)| kind),
                value["right"].as_bool(),
            ) {
                let is = there == (value["op"] != "!=");
                return format!("{left} {}", if is { "exists" } else { "missing" });
            }
            let is_name = left.ends_with("ifname") || matches!(left.as_str(), "iif" | "oif");
            let right = match value["right"].as_str() {
                Some(name) if is_name && !name.starts_with('@') => format!("\"{name}\""),
                _ => right,
            };
            match value["op"].as_str() {
                Some("==") if !value["left"]["&"].is_null() => format!("{left} == {right}"),
                Some("==" | "in") | None => format!("{left} {right}"),
                Some(operator) => format!("{left} {operator} {right}"),
            }
        }
        // Without its figures: the text identifies a rule across readings.
        "counter" => "counter".to_owned(),
        "vmap" => format!(
            "{} vmap {}",
            expression(&value["key"]),
            expression(&value["data"])
        ),
        "mangle" => format!(
            "{} set {}",
            expression(&value["key"]),
            expression(&value["value"])
        ),
        "reject" => match (value["type"].as_str(), value["expr"].as_str()) {
            (Some("tcp reset"), _) => "reject with tcp reset".to_owned(),
            // What nft leaves out as well: the error that is sent without being asked for.
            (Some("icmp" | "icmpv6" | "icmpx"), Some("port-unreachable")) | (None, _) => {
                "reject".to_owned()
            }
            (Some(kind), reason) => format!("reject with {kind} {}", reason.unwrap_or_default()),
        },
        "limit" => {
            let over = if value["inv"] == true { "over " } else { "" };
            let (rate, per) = (expression(&value["rate"]), expression(&value["per"]));
            let [unit, burst_unit] = ["rate_unit", "burst_unit"].map(|key| &value[key]);
            let (unit, burst) = match unit.as_str() {
                None | Some("packets") => (
                    String::new(),
                    // What nft leaves out: the burst that it takes by itself.
                    (value["burst"] != 5).then(|| "packets".to_owned()),
                ),
                Some(unit) => (
                    format!(" {unit}"),
                    (value["burst"] != 0).then(|| expression(burst_unit)),
                ),
            };
            let burst = burst.filter(|_| !value["burst"].is_null());
            let burst = burst.map_or_else(String::new, |unit| {
                format!(" burst {} {unit}", expression(&value["burst"]))
            });
            format!("limit rate {over}{rate}{unit}/{per}{burst}")
        }
        "quota" => {
            let over = if value["inv"] == true { "over " } else { "" };
            let [amount, unit] = ["val", "val_unit"].map(|key| expression(&value[key]));
            format!("quota {over}{amount} {unit}")
        }
        "xt" => format!(
            "xt {} {}",
            expression(&value["type"]),
            expression(&value["name"])
        ),
        "masquerade" => match value["flags"].is_null() {
            true => kind.to_owned(),
            false => format!("{kind} {}", expression(&value["flags"])),
        },
        "ct count" => {
            let over = if value["inv"] == true { "over " } else { "" };
            format!("ct count {over}{}", expression(&value["val"]))
        }
        "tproxy" => tproxy(value),
        "set" if value["op"].is_string() => filled(value),
        "queue" | "log" => words(kind, value),
        _ => expression(statement),
    }
}

/// `tproxy ip to 127.0.0.1:15001`
fn tproxy(value: &Value) -> String {
    let family = match value["family"].as_str() {
        Some(family) => format!(" {family}"),
        None => String::new(),
    };
    let address = match value["addr"].as_str() {
        Some(address) if address.contains(':') => format!("[{address}]"),
        other => other.unwrap_or_default().to_owned(),
    };
    let port = match value["port"].is_null() {
        true => String::new(),
        false => format!(":{}", expression(&value["port"])),
    };
    format!("tproxy{family} to {address}{port}")
}

/// A rule puts an element into a set: `add @flood { ip saddr limit rate over 2/minute }`.
fn filled(value: &Value) -> String {
    let element = match value["elem"].get("elem") {
        Some(whole) => whole,
        None => &value["elem"],
    };
    let mut words = vec![match element.get("val") {
        Some(own) => expression(own),
        None => expression(element),
    }];
    if let Some(seconds) = element["timeout"].as_u64() {
        words.push(format!("timeout {seconds}s"));
    }
    words.extend(
        value["stmt"]
            .as_array()
            .into_iter()
            .flatten()
            .map(statement),
    );
    let [operation, set] = ["op", "set"].map(|key| expression(&value[key]));
    format!("{operation} {set} {{ {} }}", words.join(" "))
}

/// `tcp flags syn / fin,syn,rst,ack`.
fn masked_flags(of: &Value) -> Option<String> {
    let [field, mask] = of["left"]["&"].as_array()?.as_slice() else {
        return None;
    };
    (field["payload"]["field"] == "flags").then_some(())?;
    let flags = |value: &Value| expression(value).replace(" | ", ",");
    let operator = match of["op"].as_str()? {
        "==" => String::new(),
        operator => format!("{operator} "),
    };
    let (field, mask) = (expression(field), flags(mask));
    Some(format!(
        "{field} {operator}{} / {mask}",
        flags(&of["right"])
    ))
}

/// Whether a statement asks for a mark, or sets one.
fn is_of_marks(statement: &Value) -> bool {
    let mut subject = statement.get("left").or_else(|| statement.get("key"));
    while let Some(inner) = subject.and_then(|one| one.as_object()?.iter().next()) {
        match (inner.0.as_str(), inner.1) {
            ("meta" | "ct", what) => return what["key"] == "mark",
            (_, operands) => subject = operands.get(0),
        }
    }
    false
}

/// The same with numbers as marks are written.
fn in_hex(value: &Value) -> Value {
    match value {
        Value::Number(number) => match number.as_u64() {
            Some(number) => format!("0x{number:08x}").into(),
            None => value.clone(),
        },
        Value::Array(values) => values.iter().map(in_hex).collect(),
        Value::Object(object) => {
            let parts = object
                .iter()
                .map(|(key, value)| (key.clone(), in_hex(value)));
            Value::Object(parts.collect())
        }
        other => other.clone(),
    }
}

fn expression(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Array(_) => list(value, ","),
        Value::Object(object) => compound(object),
    }
}

fn compound(object: &Map<String, Value>) -> String {
    let Some((kind, value)) = object.iter().next() else {
        return String::new();
    };
    let field = |name: &str| expression(&value[name]);
    match kind.as_str() {
        "payload" => format!("{} {}", field("protocol"), field("field")),
        "meta" => match field("key") {
            key if matches!(key.as_str(), "iif" | "iifname" | "oif" | "oifname") => key,
            key => format!("meta {key}"),
        },
        "ct" => match value["dir"].as_str() {
            Some(direction) => format!("ct {direction} {}", field("key")),
            None => format!("ct {}", field("key")),
        },
        "tcp option" => format!("tcp option {} {}", field("name"), field("field")),
        "prefix" => format!("{}/{}", field("addr"), field("len")),
        "range" => list(value, "-"),
        "concat" => list(value, " . "),
        "set" => match value {
            Value::Array(_) => format!("{{ {} }}", set(value)),
            single => format!("{{ {} }}", expression(single)),
        },
        "elem" => field("val"),
        "&" | "|" | "^" | "<<" | ">>" => list(value, &format!(" {kind} ")),
        "jump" | "goto" => format!("{kind} {}", field("target")),
        "fib" => format!("fib {} {}", list(&value["flags"], " . "), field("result")),
        kind => words(kind, value),
    }
}

fn set(values: &Value) -> String {
    let values = values.as_array().into_iter().flatten();
    let values = values.map(|value| match value.as_array().map(Vec::as_slice) {
        Some([key, data]) => format!("{} : {}", expression(key), expression(data)),
        _ => expression(value),
    });
    values.collect::<Vec<_>>().join(", ")
}

fn list(value: &Value, separator: &str) -> String {
    match value.as_array() {
        Some(values) => {
            let values: Vec<_> = values.iter().map(expression).collect();
            values.join(separator)
        }
        None => expression(value),
    }
}

/// What has no form of its own here: the keyword, then keys and values as they come.
fn words(kind: &str, value: &Value) -> String {
    let mut words = vec![kind.to_owned()];
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                words.push(key.clone());
                words.push(expression(value));
            }
        }
        value => words.push(expression(value)),
    }
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn statements_are_written_as_nft_writes_them() {
        let proxy = json!({"tproxy": {"family": "ip", "addr": "127.0.0.1", "port": 15001}});
        let proxy6 = json!({"tproxy": {"addr": "::1", "port": 15001}});
        let port = json!({"payload": {"protocol": "ip", "field": "saddr"}});
        let limit = json!({"limit": {"rate": 2, "burst": 5, "per": "minute", "inv": true}});
        let add = json!({"set": {"op": "add", "elem": port, "set": "@flood", "stmt": [limit]}});
        let timed = json!({"elem": {"val": port, "timeout": 30}});
        let update = json!({"set": {"op": "update", "elem": timed, "set": "@seen"}});
        let texts = [proxy, proxy6, add, update].map(|one| rule(&[one], None));
        assert_eq!(
            texts,
            [
                "tproxy ip to 127.0.0.1:15001",
                "tproxy to [::1]:15001",
                "add @flood { ip saddr limit rate over 2/minute }",
                "update @seen { ip saddr timeout 30s }",
            ]
        );
    }
}
