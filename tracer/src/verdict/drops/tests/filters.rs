//! Netfilter: which rule it was, and whose program.

use super::*;

#[test]
fn an_enforcer_behind_nfqueue_is_known_by_what_the_kernel_keeps_of_its_name() {
    let refused_by = |comm: &str| {
        // What a comm can hold: an enforcer whose name does not fit is known by a part of it.
        assert!(comm.len() <= 15, "{comm}");
        let mut facts = facts("NOT_SPECIFIED", "nfqnl_reinject");
        facts.stack = ["nfqnl_reinject", "nfqnl_recv_verdict", "nfnetlink_rcv_msg"]
            .map(str::to_owned)
            .into();
        facts.comm = comm.to_owned();
        judge(&facts, &NodeFacts::default()).point
    };
    for comm in ["kube-network-po", "netpol", "kindnetd"] {
        assert_eq!(refused_by(comm), Point::Policy, "{comm}");
    }
    for comm in ["suricata", "kube-network", "netpolicy", "kindnet", ""] {
        assert_eq!(refused_by(comm), Point::Firewall, "{comm}");
    }
}

/// A packet that a program has refused, and what else is known of the program.
fn refused_through_queue(comm: &str, node: &NodeFacts) -> Verdict {
    let mut facts = facts("NOT_SPECIFIED", "nfqnl_reinject");
    facts.stack = vec!["nfqnl_reinject".to_owned(), "nfqnl_recv_verdict".to_owned()];
    facts.comm = comm.to_owned();
    judge(&facts, node)
}

#[test]
fn an_enforcer_behind_nfqueue_is_known_by_executable_and_queue_rule() {
    let executable = |name: &str| NodeFacts {
        queue_program: Some(QueueProgram {
            executable: Some(name.to_owned()),
            pod_uid: None,
        }),
        ..NodeFacts::default()
    };
    // Threads may be called anything.
    let netpol = executable("kube-network-policies");
    assert_eq!(
        refused_through_queue("worker-3", &netpol).point,
        Point::Policy
    );
    let other = executable("suricata");
    assert_eq!(refused_through_queue("W#01", &other).point, Point::Firewall);
    let rules = |table: &str| {
        let json = format!(
            r#"{{"nftables": [
            {{"table": {{"family": "inet", "name": "{table}"}}}},
            {{"chain": {{"family": "inet", "table": "{table}", "name": "post", "type": "filter",
              "hook": "postrouting", "prio": -5, "policy": "accept"}}}},
            {{"rule": {{"family": "inet", "table": "{table}", "chain": "post", "handle": 4,
              "expr": [{{"queue": {{"num": 100, "flags": "bypass"}}}}]}}}}]}}"#
        );
        let ruleset = Ruleset::from_texts(&json, "", "").expect("a ruleset");
        let ends = Ends {
            src: [10, 244, 1, 4].into(),
            dst: [10, 244, 1, 2].into(),
            sport: Some(40000),
            dport: Some(8080),
        };
        let packet = HookPacket {
            hook: Some(Hook::Postrouting),
            ..HookPacket::new(ends, protocol::TCP)
        };
        NodeFacts {
            suspects: Some(ruleset.suspects(&packet, Hint::Queue)),
            ..NodeFacts::default()
        }
    };
    for (table, point) in [
        ("kube-network-policies", Point::Policy),
        ("kindnet-network-policies", Point::Policy),
        ("ids", Point::Firewall),
    ] {
        let verdict = refused_through_queue("worker-3", &rules(table));
        assert_eq!(verdict.point, point, "{table}");
    }
}

/// What is said of a rule with this counter, which was read after the drop or before it.
fn counted(packets: u64, was_after: bool) -> Verdict {
    let json = format!(
        r#"{{"nftables": [
        {{"table": {{"family": "ip", "name": "t"}}}},
        {{"chain": {{"family": "ip", "table": "t", "name": "f", "type": "filter",
          "hook": "forward", "prio": 0, "policy": "accept"}}}},
        {{"rule": {{"family": "ip", "table": "t", "chain": "f", "handle": 2,
          "expr": [{{"counter": {{"packets": {packets}, "bytes": 0}}}}, {{"drop": null}}]}}}}]}}"#
    );
    let ruleset = Ruleset::from_texts(&json, "", "").expect("a ruleset");
    let ends = Ends {
        src: [10, 244, 1, 4].into(),
        dst: [10, 244, 1, 2].into(),
        sport: Some(40000),
        dport: Some(8080),
    };
    let packet = HookPacket {
        hook: Some(Hook::Forward),
        ..HookPacket::new(ends, protocol::TCP)
    };
    let mut suspects = ruleset.suspects(&packet, Hint::Nft);
    if was_after {
        suspects.narrow_by_counters(&ruleset);
    }
    let node = NodeFacts {
        suspects: Some(suspects),
        ..NodeFacts::default()
    };
    judge(&facts("NETFILTER_DROP", "nft_do_chain"), &node)
}

#[test]
fn a_figure_never_contradicts_the_rule_that_it_is_shown_beside() {
    let of = |packets, was_after| {
        let verdict = counted(packets, was_after);
        (verdict.confidence, verdict.evidence.join("\n"))
    };
    let (confidence, evidence) = of(3, true);
    assert_eq!(confidence, Confidence::Confirmed);
    assert!(evidence.contains("has counted 3 packets"), "{evidence}");
    // It was read before the drop.
    for packets in [0, 3] {
        let (confidence, evidence) = of(packets, false);
        assert_eq!(confidence, Confidence::Confirmed);
        assert!(!evidence.contains("count"), "{evidence}");
    }
    let (confidence, evidence) = of(0, true);
    assert_eq!(confidence, Confidence::Possible);
    assert!(evidence.contains("its counter is at 0: "), "{evidence}");
}
