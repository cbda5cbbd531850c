//! Packets of tunnels.

use super::*;

#[test]
fn the_overlays_own_packets_are_the_overlays() {
    for (reason, function) in [
        ("NETFILTER_DROP", "nf_hook_slow"),
        ("NO_SOCKET", "__udp4_lib_rcv"),
        ("NEIGH_FAILED", "neigh_invalidate"),
        ("IP_OUTNOROUTES", "vxlan_xmit_one"),
    ] {
        assert_eq!(
            judge(&tunnelled(reason, function), &NodeFacts::default()).point,
            Point::Overlay,
            "{reason}"
        );
    }
}

#[test]
fn a_tunnel_that_gives_no_reason_is_judged_by_what_it_lacks() {
    let said = |function: &str, overlay| {
        let mut node = NodeFacts::default();
        node.around.overlay = Some(overlay);
        let facts = facts("NOT_SPECIFIED", function);
        let verdict = judge(&facts, &node);
        assert_eq!(verdict.point, Point::Overlay);
        verdict.why
    };
    let mut lacks = overlay::tests::whole();
    assert!(said("vxlan_xmit", lacks.clone()).contains("the tunnel code dropped it"));
    lacks.remotes[0].route.answer = Err(Refusal::NoRoute);
    assert!(said("vxlan_xmit_one", lacks.clone()).contains("no route to the remote VTEP"));
    lacks.fdb.clear();
    assert!(said("vxlan_xmit", lacks.clone()).contains("knows no VTEP"));
    // What comes in needs none of that.
    assert!(said("vxlan_rcv", lacks).contains("the tunnel code dropped it"));
}

#[test]
fn a_tunnel_leads_back_only_what_its_entry_is_for() {
    let own = "192.0.2.2";
    let mut build = Build::new();
    build.link(id(1, 2), "eth0", world::Kind::Physical);
    build.address(id(1, 2), own);
    let mut facts = facts("IP_INHDR", "ip_forward");
    facts.netns = Some(1);
    let mut node = NodeFacts {
        world: Some(Arc::new(build.world)),
        ..NodeFacts::default()
    };
    node.around.overlay = Some(overlay::tests::whole());
    let point = |node: &NodeFacts| judge(&facts, node).point;
    assert_eq!(point(&node), Point::Overlay);
    // Without a MAC address, these are the entries for all of them.
    let known = node.around.overlay.as_mut().unwrap();
    let neighbors = std::mem::take(&mut known.neighbors);
    assert_eq!(point(&node), Point::Route);
    let known = node.around.overlay.as_mut().unwrap();
    known.neighbors = neighbors;
    known.next_hop = None;
    assert_eq!(point(&node), Point::Route);
}

#[test]
fn the_rule_that_drops_a_tunnels_packets_is_named_first() {
    let rules = |json: &str| {
        let json = format!(
            r#"{{"nftables": [
            {{"table": {{"family": "ip", "name": "t"}}}},
            {{"chain": {{"family": "ip", "table": "t", "name": "in", "type": "filter",
              "hook": "input", "prio": 0, "policy": "accept"}}}}{json}]}}"#
        );
        let ruleset = Ruleset::from_texts(&json, "", "").expect("a ruleset");
        let ends = Ends {
            src: [192, 0, 2, 1].into(),
            dst: [192, 0, 2, 2].into(),
            sport: Some(50000),
            dport: Some(8472),
        };
        let packet = HookPacket {
            hook: Some(Hook::Input),
            ..HookPacket::new(ends, protocol::UDP)
        };
        NodeFacts {
            suspects: Some(ruleset.suspects(&packet, Hint::Nft)),
            ..NodeFacts::default()
        }
    };
    let rule = |handle: u64| {
        format!(
            r#",{{"rule": {{"family": "ip", "table": "t", "chain": "in", "handle": {handle},
              "expr": [{{"match": {{"op": "==", "left": {{"payload": {{"protocol": "udp",
              "field": "dport"}}}}, "right": 8472}}}}, {{"drop": null}}]}}}}"#
        )
    };
    let facts = tunnelled("NETFILTER_DROP", "nft_do_chain");
    let mut node = rules(&rule(7));
    node.around.knows_vtep = Some(true);
    let verdict = judge(&facts, &node);
    assert_eq!(
        verdict.why,
        "rule handle 7 of chain in in table ip t drops the overlay's own packets: `udp dport 8472 \
         drop`"
    );
    // The sender is no known VTEP: no matter, the rule is the rule.
    node.around.knows_vtep = Some(false);
    let strange = judge(&facts, &node);
    assert_eq!(
        (strange.why, strange.confidence),
        (verdict.why, Confidence::Likely)
    );
    assert!(strange.evidence[0].contains("leads to 192.0.2.1, which sent it"));
    assert!(strange.fix.is_empty());
    // Where it is not certain, none is named as the one.
    if let Some(suspects) = &mut node.suspects {
        suspects.certain = false;
    }
    let unsure = judge(&facts, &node);
    assert_eq!(
        unsure.why,
        "a netfilter rule drops the overlay's own packets"
    );
    let named = "it may have been rule handle 7 of chain in in table ip t: `udp dport 8472 drop`";
    assert!(unsure.evidence.iter().any(|fact| fact == named));
}
