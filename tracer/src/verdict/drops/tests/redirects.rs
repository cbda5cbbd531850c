//! ICMP redirects: those that the kernel's NAT drops are noise.

use serde_json::Value;

use super::*;

/// A node that translates, where these rules could have dropped it.
fn none_dropped_it(rules: Vec<Suspect>) -> NodeFacts {
    NodeFacts {
        suspects: Some(Suspects {
            certain: !rules.is_empty(),
            rules,
            complete: true,
            translates: true,
            ..Suspects::default()
        }),
        ..NodeFacts::default()
    }
}

#[test]
fn a_redirect_about_a_translated_connection_is_noise() {
    let redirect = |kind: u8, status: u32| {
        let mut facts = facts("NETFILTER_DROP", "nf_hook_slow");
        facts.flow.proto = Protocol::Icmp;
        facts.key.icmp_type = kind;
        facts.hook = Some(Hook::Output);
        facts.wire = Some(Arc::new(crate::decode::drop::Wire {
            ct: ct::STATUS | ct::ENTRY | status << ct::STATUS_SHIFT,
            ..Default::default()
        }));
        facts
    };
    let done = ct::SRC_NAT_DONE | ct::DST_NAT_DONE;
    let node = none_dropped_it(Vec::new());
    assert!(is_noise(&redirect(5, done | ct::DST_NAT), &node));
    // Translations that were decided on, to none.
    assert!(!is_noise(&redirect(5, done), &node));
    assert!(!is_noise(&redirect(3, done | ct::DST_NAT), &node));
    let incomplete = NodeFacts::default();
    assert!(!is_noise(&redirect(5, done | ct::DST_NAT), &incomplete));
    let mut unread = redirect(5, 0);
    unread.wire = None;
    assert!(is_noise(&unread, &node));
    // A rule that drops redirects stays a rule.
    let json = r#"{"nftables": [
        {"table": {"family": "ip", "name": "t"}},
        {"chain": {"family": "ip", "table": "t", "name": "out", "type": "filter",
          "hook": "output", "prio": 0, "policy": "drop"}}]}"#;
    let ruleset = Ruleset::from_texts(json, "", "").expect("a ruleset");
    let ends = Ends {
        src: [10, 88, 0, 12].into(),
        dst: [10, 88, 0, 1].into(),
        sport: None,
        dport: None,
    };
    let packet = HookPacket {
        hook: Some(Hook::Output),
        ..HookPacket::new(ends, protocol::ICMP)
    };
    let by_rule = none_dropped_it(ruleset.suspects(&packet, Hint::Any).rules);
    assert!(!is_noise(&redirect(5, done | ct::DST_NAT), &by_rule));
}

/// A drop as its record has it.
fn recorded(record: &Value) -> DropFacts {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let flow = |value: &Value| Flow {
        proto: text(&value["proto"]).parse().expect("a protocol"),
        src: text(&value["src"]).parse().expect("an address"),
        sport: value["sport"].as_u64().map(|port| port as u16),
        dst: text(&value["dst"]).parse().expect("an address"),
        dport: value["dport"].as_u64().map(|port| port as u16),
    };
    let mut facts = facts(&text(&record["reason"]), &text(&record["function"]));
    facts.flow = flow(&record["flow"]);
    facts.quoted = Some(flow(&record["quoted"]));
    facts.key.icmp_type = record["packet"]["icmp"][0].as_u64().expect("a type") as u8;
    assert_eq!(record["hook"], "OUTPUT");
    facts.hook = Some(Hook::Output);
    facts.ifname = Some(text(&record["ifname"]));
    facts
}

/// What a healthy cluster dropped in three minutes.
#[test]
fn the_redirects_of_a_healthy_cluster_are_noise() {
    const RECORDS: &str = include_str!("../../../../testdata/icmp-redirects.jsonl");
    let node = none_dropped_it(Vec::new());
    let untranslating = NodeFacts {
        suspects: Some(Suspects {
            complete: true,
            ..Suspects::default()
        }),
        ..NodeFacts::default()
    };
    let mut packets = 0;
    for line in RECORDS.lines() {
        let record: Value = serde_json::from_str(line).expect("JSON");
        let redirect = recorded(&record);
        assert!(is_noise(&redirect, &node), "{line}");
        assert!(!is_noise(&redirect, &untranslating), "{line}");
        let mut error = recorded(&record);
        error.key.icmp_type = 3;
        assert!(!is_noise(&error, &node), "{line}");
        packets += record["count"].as_u64().expect("a count");
    }
    assert_eq!(packets, 18);
}
