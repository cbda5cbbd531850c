//! Rules of which nft does not show everything, and the tool that made them does.

use super::{super::*, *};
use crate::node::ruleset::{
    iptables,
    iptables_listing::refine,
    model::{Backend, Family},
};

/// Two rules of an enforcer's, of which nft does not show everything, and what they have counted.
fn opaque(first: u64, second: u64) -> Ruleset {
    let rule = |handle: u8, comment: &str, packets: u64| {
        format!(
            r#",{{"rule": {{"family": "ip", "table": "filter", "chain": "KUBE-POD-FW-X",
              "handle": {handle}, "comment": "{comment}",
              "expr": [{{"xt": {{"type": "match", "name": "mark"}}}},
                {{"counter": {{"packets": {packets}, "bytes": 0}}}},
                {{"xt": {{"type": "target", "name": "REJECT"}}}}]}}}}"#
        )
    };
    let rules = rule(64, "rule to REJECT traffic destined for pod: cart-1", first)
        + &rule(65, "another", second);
    let json = format!(
        r#"{{"nftables": [
        {{"table": {{"family": "ip", "name": "filter"}}}},
        {{"chain": {{"family": "ip", "table": "filter", "name": "FORWARD", "type": "filter",
          "hook": "forward", "prio": 0, "policy": "accept"}}}},
        {{"chain": {{"family": "ip", "table": "filter", "name": "KUBE-POD-FW-X"}}}},
        {{"rule": {{"family": "ip", "table": "filter", "chain": "FORWARD", "handle": 3,
          "expr": [{{"jump": {{"target": "KUBE-POD-FW-X"}}}}]}}}}{rules}]}}"#
    );
    Ruleset::from_texts(&json, "", "").unwrap()
}

fn suspects(ruleset: &Ruleset) -> Suspects {
    let ends = Ends {
        src: [10, 244, 1, 4].into(),
        dst: [10, 244, 1, 2].into(),
        sport: Some(40_000),
        dport: Some(80),
    };
    let packet = HookPacket {
        hook: Some(Hook::Forward),
        ..HookPacket::new(ends, 6)
    };
    let mut suspects = ruleset.suspects(&packet, Hint::Nft);
    suspects.narrow_by_counters(ruleset);
    suspects
}

/// The suspects where iptables' own tool has failed.
fn unshown(mut ruleset: Ruleset) -> Suspects {
    let gap = refine(
        &mut ruleset.tables[0],
        Err("iptables-nft was too slow".to_owned()),
    );
    assert_eq!(gap.as_deref(), Some("iptables-nft was too slow"));
    suspects(&ruleset)
}

#[test]
fn what_iptables_own_tool_did_not_show_is_named_as_such() {
    // Which packets they are for is not shown.
    let found = unshown(opaque(3, 3));
    assert_eq!(found.rules.len(), 2);
    assert!(!found.certain);
    // One that has counted nothing has dropped nothing.
    let found = unshown(opaque(3, 0));
    assert!(found.certain);
    let rule = &found.rules[0];
    let text = rule.describe();
    assert!(text.contains("are not shown"), "{text}");
    assert!(text.contains("for pod: cart-1"), "{text}");
    assert_eq!(rule.owner, Owner::KubeRouter);
}

#[test]
fn what_iptables_own_tool_shows_takes_the_place_of_nft_s_text() {
    let saved = "*filter\n:FORWARD ACCEPT [0:0]\n:KUBE-POD-FW-X - [0:0]\n\
        -A FORWARD -j KUBE-POD-FW-X\n\
        -A KUBE-POD-FW-X -m mark ! --mark 0x10000/0x10000 -j REJECT\n\
        -A KUBE-POD-FW-X -m mark --mark 0x20000/0x20000 -j REJECT\nCOMMIT\n";
    let shown = || iptables::parse(saved, Backend::Nft, Family::Ip).pop();
    let mut ruleset = opaque(0, 0);
    assert_eq!(refine(&mut ruleset.tables[0], Ok(shown())), None);
    let text = suspects(&ruleset).rules[0].describe();
    assert!(
        text.contains("--mark") && !text.contains("not shown"),
        "{text}"
    );
    // A table that has changed in between.
    let mut changed = opaque(0, 0);
    let mut other = shown();
    other.as_mut().unwrap().chains[1].rules.pop();
    for shown in [other, None] {
        let gap = refine(&mut changed.tables[0], Ok(shown));
        let changes = "table filter changed while it was read";
        assert_eq!(gap.as_deref(), Some(changes));
    }
    let text = suspects(&changed).rules[0].describe();
    assert!(text.contains("are not shown"), "{text}");
}
