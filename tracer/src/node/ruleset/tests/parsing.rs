//! Parsers: the texts of rules, and input that is broken.

use std::time::Instant;

use proptest::prelude::*;

use super::{super::*, *};
use crate::{
    damage, fuzz,
    node::ruleset::{
        ipset, iptables,
        model::{Backend, Family},
        nft,
    },
};

/// Lines as `nft list ruleset` prints them, without what differs: figures, and how numbers look.
fn normal(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut rest = text.split_whitespace().peekable();
    while let Some(word) = rest.next() {
        match word {
            "packets" | "bytes" if rest.peek().is_some_and(|word| word.parse::<u64>().is_ok()) => {
                rest.next();
            }
            word => words.push(match word.strip_prefix("0x") {
                Some(hex) => {
                    u32::from_str_radix(hex, 16).map_or(word.to_owned(), |n| n.to_string())
                }
                None => word.to_owned(),
            }),
        }
    }
    words.join(" ")
}

#[test]
fn rules_read_as_nft_prints_them() {
    for (ruleset, text) in [
        (n1(), recording!("n1-nft.txt")),
        (n2(), recording!("n2-nft.txt")),
    ] {
        let lines: Vec<_> = text.lines().map(normal).collect();
        let native = ["kube-proxy", "kube-router-filter-ipv4"];
        let tables = ruleset.tables.iter();
        let rules = tables
            .filter(|table| native.contains(&table.name.as_str()))
            .flat_map(|table| table.chains.iter().flat_map(|chain| &chain.rules))
            .map(|rule| normal(&rule.text))
            // nft prints what NAT to a map's element does in a way of its own.
            .filter(|text| !text.contains("dnat family"));
        let missing: Vec<_> = rules.filter(|text| !lines.contains(text)).collect();
        assert_eq!(missing, [""; 0]);
    }
}

#[test]
fn reading_and_walking_take_little_time() {
    for (name, make) in [
        ("n1", n1 as fn() -> Ruleset),
        ("iptables", n1_by_iptables),
        ("n2", n2),
    ] {
        let start = Instant::now();
        let ruleset = make();
        let parsed = start.elapsed();
        let start = Instant::now();
        ruleset.suspects(&syn("10.244.2.3", "10.244.1.2", 8080), Hint::Any);
        println!(
            "{name}: parsed in {parsed:?}, walked in {:?}",
            start.elapsed()
        );
    }
}

fn walk(ruleset: &Ruleset) {
    for hook in [
        None,
        Some(Hook::Forward),
        Some(Hook::Output),
        Some(Hook::BridgeForward),
        Some(Hook::Egress),
    ] {
        let packet = HookPacket {
            hook,
            mark: None,
            ..syn("10.244.2.3", "10.96.146.90", 80)
        };
        let suspects = ruleset.suspects(&packet, Hint::Any);
        suspects.rules.iter().for_each(|rule| drop(rule.describe()));
        if hook == Some(Hook::Forward) {
            fixes(ruleset, &packet);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn broken_json_is_no_panic(json in damage::text(recording!("n2-nft.json"))) {
        if let Ok(ruleset) = Ruleset::from_texts(&json, "", "") {
            walk(&ruleset);
        }
    }

    #[test]
    fn strange_json_is_no_panic(json in damage::json(recording!("n2-nft.json"))) {
        if let Ok(ruleset) = Ruleset::from_texts(&json, "", "") {
            walk(&ruleset);
        }
    }

    #[test]
    fn broken_iptables_are_no_panic(
        text in damage::text(recording!("n1-iptables-kube-router.txt")),
        sets in damage::text(recording!("n1-ipset.txt")),
    ) {
        let json = recording!("n1-nft-kube-router-iptables.json");
        walk(&Ruleset::from_texts(json, &text, &sets).unwrap());
        let tables = iptables::parse(&text, Backend::Legacy, Family::Ip);
        walk(&Ruleset { tables, ..Ruleset::default() });
    }

    #[test]
    fn any_line_is_no_panic(words in prop::collection::vec("[ -~]{0,12}", 0..8)) {
        let text = format!("*filter\n:FORWARD DROP [0:0]\n-A FORWARD {}\n", words.join(" "));
        let tables = iptables::parse(&text, Backend::Legacy, Family::Ip6);
        walk(&Ruleset { tables, ..Ruleset::default() });
    }

    #[test]
    fn any_set_and_any_list_of_chains_is_no_panic(
        lines in prop::collection::vec(
            prop_oneof![
                "(Name|Type|Header|Members): ?[a-z:,0-9 ]{0,20}",
                "[0-9a-f:./,-]{0,30}( timeout [0-9]{0,3}| nomatch)?",
                "(table|chain|type) ?[a-z0-9\" ={}]{0,30}",
            ],
            0..12,
        ),
    ) {
        let text = lines.join("\n");
        ipset::parse(&text);
        nft::add_devices(&mut n1().tables, &text);
    }
}

/// The kernel refuses such rulesets; a reading that was torn by a change may look like one.
#[test]
fn chains_that_lead_back_to_themselves_end() {
    let mut text = "*filter\n:FORWARD DROP [0:0]\n:A - [0:0]\n:B - [0:0]\n".to_owned();
    for chain in ["FORWARD", "A", "B"] {
        for target in ["A", "B"].repeat(8) {
            text += &format!("-A {chain} -j {target}\n");
        }
    }
    let tables = iptables::parse(&text, Backend::Legacy, Family::Ip);
    walk(&Ruleset {
        tables,
        ..Ruleset::default()
    });
}

#[test]
fn chains_alone_make_tables() {
    let json = r#"{"nftables": [
        {"metainfo": {"version": "1.0.6"}},
        {"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "handle": 2,
          "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}},
        {"chain": {"family": "ip", "table": "filter", "name": "sub", "handle": 3}},
        {"chain": {"family": "arp", "table": "filter", "name": "INPUT", "handle": 1,
          "type": "filter", "hook": "input", "prio": 0, "policy": "accept"}},
        {"chain": {"family": "inet", "table": "n", "name": "pre", "handle": 1,
          "type": "nat", "hook": "prerouting", "prio": -100, "policy": "accept"}}]}"#;
    let tables = nft::parse_chains(json).unwrap();
    let names: Vec<_> = tables.iter().map(|table| table.name.as_str()).collect();
    // A family that sees no IP packets is left out.
    assert_eq!(names, ["filter", "n"]);
    let base = tables[1].chains[0].base.as_ref().unwrap();
    assert!(base.is_nat && base.priority == -100);
    // iptables' own tool has the rules, and nft the place of the chains.
    let saved = "*filter\n:FORWARD DROP [7:420]\n:sub - [0:0]\n[3:180] -A FORWARD -j sub\nCOMMIT\n";
    let by_iptables = iptables::parse(saved, Backend::Nft, Family::Ip);
    let table = iptables::with_bases(by_iptables[0].clone(), &tables[0]);
    let base = table.chains[0].base.as_ref().unwrap();
    assert!(base.drops && base.counter == Some(7) && table.chains[1].base.is_none());
    assert!(nft::parse_chains("no JSON").is_err());
}

#[test]
fn hooks_of_iptables_tables() {
    let hooks = |table| iptables::hooks(table).collect::<Vec<_>>();
    assert_eq!(hooks("raw"), ["prerouting", "output"]);
    assert_eq!(hooks("filter"), ["input", "forward", "output"]);
    assert_eq!(
        hooks("nat"),
        ["prerouting", "input", "output", "postrouting"]
    );
    assert_eq!(hooks("mangle").len(), 5);
}

/// iptables-legacy takes a newline in a comment, and saves it as it is.
#[test]
fn a_newline_in_a_comment_makes_no_rule() {
    let text = "*filter\n:INPUT ACCEPT [0:0]\n\
        [1:2] -A INPUT -m comment --comment \"a\\\"\n[0:0] -A INPUT -j DROP\" -j ACCEPT\n\
        [3:4] -A INPUT -p tcp -j RETURN\nCOMMIT\n";
    let tables = iptables::parse(text, Backend::Legacy, Family::Ip);
    let rules = &tables[0].chains[0].rules;
    assert_eq!(rules.len(), 2, "{rules:?}");
    let comment = rules[0].comment.as_deref();
    assert_eq!(comment, Some("a\"\n[0:0] -A INPUT -j DROP"));
    assert!(rules[1].text.ends_with("RETURN"));
}

#[test]
fn fuzz_nft_json() {
    let corpus = [
        recording!("n2-nft.json"),
        recording!("n2-nft-policies.json"),
        recording!("n1-nft-kube-router-iptables.json"),
    ];
    fuzz::run("nft-json", &corpus.map(str::as_bytes), |input| {
        if let Ok(ruleset) = Ruleset::from_texts(&fuzz::text(input), "", "") {
            walk(&ruleset);
        }
    });
}

#[test]
fn fuzz_iptables_save() {
    let corpus = [
        recording!("n1-iptables-kube-router.txt"),
        recording!("n1-iptables.txt"),
        recording!("n2-iptables.txt"),
    ];
    fuzz::run("iptables-save", &corpus.map(str::as_bytes), |input| {
        let tables = iptables::parse(&fuzz::text(input), Backend::Legacy, Family::Ip);
        walk(&Ruleset {
            tables,
            ..Ruleset::default()
        });
    });
}

#[test]
fn fuzz_ipset() {
    let json = recording!("n1-nft-kube-router-iptables.json");
    let rules = recording!("n1-iptables-kube-router.txt");
    let corpus = [recording!("n1-ipset.txt").as_bytes()];
    fuzz::run("ipset", &corpus, |input| {
        walk(&Ruleset::from_texts(json, rules, &fuzz::text(input)).unwrap());
    });
}
