//! What is written can be read again, and nothing is lost on the way.

use serde_json::Value;

use super::record::{read, write};
use crate::sink::fixtures;

#[test]
fn each_report_comes_back_from_its_json() {
    for report in fixtures::all() {
        let line = write(&report, 1).expect("JSON");
        let back = read(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(write(&back, 1).expect("JSON"), line);
    }
}

/// Absent knowledge may also be absent: traces of other versions have other fields.
#[test]
fn a_field_that_is_not_there_is_not_known() {
    for report in fixtures::all() {
        let line = write(&report, 1).expect("JSON");
        let mut json: Value = serde_json::from_str(&line).expect("JSON");
        strip_nulls(&mut json);
        json["future"] = Value::from(1);
        let back = read(&json.to_string()).unwrap_or_else(|error| panic!("{error}: {json}"));
        assert_eq!(write(&back, 1).expect("JSON"), line);
    }
}

fn strip_nulls(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(strip_nulls);
        }
        Value::Array(values) => values.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

/// The keys of the contract, each kind's. Scripts read them: keys may be added, and none may go.
const PROMISED: [(&str, &[&str]); 8] = [
    ("tick", &["kind", "ts", "lost"]),
    (
        "started",
        &[
            "kind",
            "ts",
            "kernel",
            "interfaces",
            "hooks",
            "degraded",
            "filter",
            "node",
            "addresses",
            "complete",
            "scope",
        ],
    ),
    (
        "drop",
        &[
            "kind",
            "ts",
            "flow",
            "original_dst",
            "outer",
            "quoted",
            "packet",
            "reason",
            "function",
            "hook",
            "ifname",
            "netns",
            "netns_name",
            "count",
            "src_pod",
            "dst_pod",
            "src_owner",
            "dst_owner",
            "verdict",
        ],
    ),
    (
        "attempt",
        &[
            "kind",
            "ts",
            "flow",
            "original_dst",
            "translated",
            "src_pod",
            "dst_pod",
            "src_owner",
            "dst_owner",
            "outcome",
            "corrects",
            "syns",
            "waited_ms",
            "isn",
            "dns",
            "tls",
            "by",
            "hops",
            "reply",
            "reply_hops",
            "verdict",
        ],
    ),
    (
        "more",
        &[
            "kind", "ts", "outcome", "records", "count", "sources", "point", "rule", "why",
        ],
    ),
    ("lost", &["kind", "ts", "events", "where"]),
    (
        "path",
        &[
            "kind",
            "ts",
            "flow",
            "isn",
            "outcome",
            "hops",
            "reply_hops",
            "between",
            "clock",
            "verdict",
        ],
    ),
    (
        "summary",
        &[
            "kind",
            "ts",
            "drops",
            "shown",
            "lost",
            "noise",
            "malformed",
            "attempts",
            "untracked",
            "verdicts",
            "layers",
            "verdict",
        ],
    ),
];

/// The same of what is inside of them.
const PROMISED_WITHIN: [(&str, &[&str]); 7] = [
    ("flow", &["proto", "src", "sport", "dst", "dport"]),
    ("outer", &["proto", "src", "sport", "dst", "dport"]),
    ("packet", &["len", "tcp_flags", "seq"]),
    ("src_pod", &["namespace", "name", "node", "labels"]),
    (
        "hops",
        &[
            "ifname",
            "netns",
            "netns_name",
            "dir",
            "at_us",
            "times",
            "flow",
            "outer",
            "mtu",
        ],
    ),
    (
        "verdict",
        &[
            "point",
            "confidence",
            "why",
            "evidence",
            "fix",
            "policy",
            "rule",
        ],
    ),
    ("policy", &["direction", "pod", "policies", "missing"]),
];

#[test]
fn every_key_of_the_contract_is_written_be_it_null() {
    let mut kinds = Vec::new();
    let mut within = Vec::new();
    for report in fixtures::all() {
        let json = serde_json::to_value(&report).expect("JSON");
        let kind = json["kind"].as_str().expect("a kind").to_owned();
        let promised = PROMISED.iter().find(|(known, _)| *known == kind);
        assert_keys(&json, promised.expect("a kind of the contract").1);
        check_within(&json, &mut within);
        kinds.push(kind);
    }
    for (kind, _) in PROMISED {
        assert!(
            kinds.iter().any(|seen| seen == kind),
            "no fixture of {kind}"
        );
    }
    for (name, _) in PROMISED_WITHIN {
        assert!(within.contains(&name), "no fixture with {name}");
    }
}

/// Checks all objects below; adds the names of those that were there.
fn check_within(json: &Value, found: &mut Vec<&'static str>) {
    let Value::Object(fields) = json else { return };
    for (key, value) in fields {
        let items = match value {
            Value::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        for item in items {
            if let Some((name, keys)) = PROMISED_WITHIN.iter().find(|(name, _)| name == key)
                && item.is_object()
            {
                assert_keys(item, keys);
                found.push(name);
            }
            check_within(item, found);
        }
    }
}

fn assert_keys(json: &Value, keys: &[&str]) {
    let missing: Vec<_> = keys.iter().filter(|key| json.get(key).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?} missing in {json}");
}
