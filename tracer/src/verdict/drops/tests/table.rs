//! What holds for all rules.

use super::*;

#[test]
fn each_rule_has_a_name_of_its_own() {
    let names: HashSet<_> = rules().map(|rule| rule.name).collect();
    assert_eq!(names.len(), rules().count());
}

#[test]
fn a_rule_leads_to_its_own_points_only() {
    for (reason, function) in [
        ("NETFILTER_DROP", "nft_do_chain"),
        ("IP_RPFILTER", "ip_rcv_finish_core"),
        ("NEIGH_FAILED", "neigh_invalidate"),
        ("IP_INNOROUTES", "ip6_pkt_discard"),
        ("NO_SOCKET", "tcp_v4_rcv"),
        ("VXLAN_VNI_NOT_FOUND", "vxlan_rcv"),
    ] {
        let verdict = judge(&facts(reason, function), &NodeFacts::default());
        let name = verdict.rule.expect("a rule");
        let mut rules = rules();
        let rule = rules.find(|rule| rule.name == name.as_str()).unwrap();
        assert!(rule.points.contains(&verdict.point), "{name}");
    }
}

#[test]
fn the_node_is_asked_for_what_the_rules_in_question_need() {
    let asked = |facts: &DropFacts| wants(facts).0.into_iter().collect::<Vec<_>>();
    let netfilter = facts("NETFILTER_DROP", "nft_do_chain");
    assert_eq!(asked(&netfilter), [Fact::Ruleset, Fact::Conntrack]);
    let of_overlay = asked(&tunnelled("NETFILTER_DROP", "nft_do_chain"));
    assert_eq!(of_overlay, [Fact::Ruleset, Fact::Overlay, Fact::World]);
    // It may be the tunnel's, or the destination's.
    let neighbor = asked(&facts("NEIGH_FAILED", "neigh_invalidate"));
    assert_eq!(
        neighbor,
        [
            Fact::Route,
            Fact::Neighbor,
            Fact::Overlay,
            Fact::Destination,
            Fact::World,
            Fact::Way
        ]
    );
    // It is the tunnel's, whatever the node says.
    let of_tunnel = asked(&tunnelled("NEIGH_FAILED", "neigh_invalidate"));
    assert_eq!(of_tunnel, [Fact::Overlay]);
    let closed = asked(&facts("NO_SOCKET", "tcp_v4_rcv"));
    assert_eq!(closed, [Fact::Sockets, Fact::World]);
    assert_eq!(asked(&facts("SOMETHING_NEW", "some_function")), []);
}

#[test]
fn what_was_ruled_out_is_said_with_its_reason() {
    let mut facts = facts("NETFILTER_DROP", "nf_hook_slow");
    facts.hook = Some(Hook::Prerouting);
    let mut node = NodeFacts {
        conntrack: Some(Conntrack {
            count: 12,
            max: 65_536,
            ..Conntrack::default()
        }),
        ..NodeFacts::default()
    };
    let verdict = judge(&facts, &node);
    let refuted: Vec<_> = verdict
        .refuted
        .iter()
        .map(|one| one.because.as_str())
        .collect();
    assert_eq!(refuted, ["12 of 65536 entries are in use"]);
    assert_eq!(verdict.rule, Some("netfilter".into()));
    node.conntrack.as_mut().unwrap().count = 65_536;
    let verdict = judge(&facts, &node);
    assert_eq!((verdict.point, verdict.refuted), (Point::Conntrack, vec![]));
}
