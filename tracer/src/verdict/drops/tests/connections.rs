//! Connections: answers that nobody asked for, entries that cannot be made, and what conntrack calls
//! invalid.

use super::*;
use crate::{
    decode::{drop::Wire, tracked::Tracked},
    net::ConntrackEntry,
    node::ruleset::{Meaning, Owner},
};

/// A SYN-ACK that comes to a host which has the client's translated address by mistake, say.
#[test]
fn a_syn_ack_to_a_host_that_asked_nothing_is_no_closed_port() {
    for function in ["tcp_v4_rcv", "tcp_v6_rcv"] {
        let mut answer = facts("NO_SOCKET", function);
        answer.key.tcp_flags = Tcp::SYN | Tcp::ACK;
        answer.flow.sport = Some(443);
        answer.flow.dport = Some(52_110);
        let verdict = judge(&answer, &NodeFacts::default());
        assert_eq!(verdict.point, Point::Unknown);
        assert_eq!(verdict.rule, Some("stray-answer".into()));
        assert!(!verdict.why.contains("listen"), "{}", verdict.why);
        assert!(!is_noise(&answer, &NodeFacts::default()));
        // The SYN itself is another matter.
        answer.key.tcp_flags = Tcp::SYN;
        let verdict = judge(&answer, &NodeFacts::default());
        assert_eq!(verdict.rule, Some("closed-port".into()));
    }
}

fn tuple(src: [u8; 4], dst: [u8; 4]) -> Tuple {
    Tuple {
        src: tracer_common::address::Address::v4(src),
        dst: tracer_common::address::Address::v4(dst),
        sport: 40_000,
        dport: 53,
        proto: protocol::UDP,
        flags: Tuple::HAS_PORTS,
        ..Tuple::default()
    }
}

const POD: [u8; 4] = [10, 244, 1, 4];
const SERVICE: [u8; 4] = [10, 96, 0, 10];
const SERVER: [u8; 4] = [10, 244, 2, 7];

/// What is said of a DNS query whose entry cannot be made, as this one was first.
fn clash(first: (Tuple, Tuple)) -> Verdict {
    let mut query = facts("NETFILTER_DROP", "nf_hook_slow");
    query.flow = Flow::from(&tuple(POD, SERVER));
    query.hook = Some(Hook::Postrouting);
    query.tracked = Tracked::New;
    query.wire = Some(Arc::new(Wire {
        entry: Some((tuple(POD, SERVICE), tuple(POD, SERVER).reversed())),
        ..Wire::default()
    }));
    let failed = [("insert_failed".to_owned(), 1)];
    let node = NodeFacts {
        suspects: Some(Suspects {
            complete: true,
            ..Suspects::default()
        }),
        conntrack: Some(Conntrack {
            moved: Some(failed.into()),
            taken: Some(ConntrackEntry {
                original: Flow::from(&first.0),
                reply: Flow::from(&first.1),
                is_answered: false,
            }),
            ..Conntrack::default()
        }),
        ..NodeFacts::default()
    };
    judge(&query, &node)
}

/// All that a verdict says.
fn said(verdict: &Verdict) -> String {
    let fixes = verdict.fix.iter().map(|fix| fix.line());
    let evidence = verdict.evidence.iter().cloned();
    let all: Vec<_> = [verdict.why.clone()]
        .into_iter()
        .chain(evidence)
        .chain(fixes)
        .collect();
    all.join("\n")
}

/// Two queries of one socket at once, which were translated to two servers.
#[test]
fn two_queries_of_one_socket_clash_by_what_they_have_in_common() {
    let other_server = [10, 244, 3, 9];
    let verdict = clash((tuple(POD, SERVICE), tuple(POD, other_server).reversed()));
    assert_eq!(
        (verdict.point, verdict.confidence),
        (Point::Conntrack, Confidence::Confirmed)
    );
    let said = said(&verdict);
    let says = |what: &str| said.contains(what);
    assert!(says("insert_failed grew by 1"), "{said}");
    assert!(
        says("another packet from 10.244.1.4:40000 to 10.96.0.10:53"),
        "{said}"
    );
    assert!(says("10.244.3.9:53"), "{said}");
    assert!(says("single-request-reopen"), "{said}");
    // It is not the source's translation that clashes: other ports for that are no help.
    assert!(!says("the translated tuple"), "{said}");
    assert!(!says("--random-fully"), "{said}");
    assert!(!says("the answers of the connection from"), "{said}");
}

/// Another pod's connection, whose answers would come to the same address and port.
#[test]
fn two_connections_clash_where_their_answers_go() {
    let other_pod = [10, 244, 1, 8];
    let verdict = clash((tuple(other_pod, SERVER), tuple(POD, SERVER).reversed()));
    let said = said(&verdict);
    let says = |what: &str| said.contains(what);
    assert_eq!(verdict.confidence, Confidence::Confirmed);
    assert!(
        says("the translated tuple is taken (insert_failed grew by 1)"),
        "{said}"
    );
    let others = "the answers of the connection from 10.244.1.8:40000 to 10.244.2.7:53 go to";
    assert!(says(others), "{said}");
    assert!(says("--random-fully"), "{said}");
}

/// The workload's chain drops what conntrack calls invalid, whoever made the chain: no policy is
/// involved.
#[test]
fn what_an_enforcer_drops_as_invalid_is_no_policy_s() {
    let json = r#"{"nftables": [
        {"table": {"family": "ip", "name": "filter"}},
        {"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "type": "filter",
          "hook": "forward", "prio": 0, "policy": "accept"}},
        {"chain": {"family": "ip", "table": "filter", "name": "cali-tw-cali1"}},
        {"rule": {"family": "ip", "table": "filter", "chain": "FORWARD", "handle": 3,
          "expr": [{"jump": {"target": "cali-tw-cali1"}}]}},
        {"rule": {"family": "ip", "table": "filter", "chain": "cali-tw-cali1", "handle": 4,
          "expr": [{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "invalid"}},
            {"drop": null}]}}]}"#;
    let ruleset = Ruleset::from_texts(json, "", "").expect("a ruleset");
    let ends = Ends {
        src: [10, 30, 1, 2].into(),
        dst: POD.into(),
        sport: Some(40_000),
        dport: Some(8080),
    };
    let packet = HookPacket {
        hook: Some(Hook::Forward),
        tcp_flags: Some(Tcp::ACK),
        tracked: Tracked::Nothing,
        ..HookPacket::new(ends, protocol::TCP)
    };
    let suspects = ruleset.suspects(&packet, Hint::Nft);
    let rule = &suspects.rules[0];
    assert_eq!(
        (rule.owner, rule.meaning),
        (Owner::Calico, Meaning::Invalid)
    );
    let node = NodeFacts {
        suspects: Some(suspects),
        ..NodeFacts::default()
    };
    let verdict = judge(&facts("NETFILTER_DROP", "nft_do_chain"), &node);
    assert_eq!(
        (verdict.point, verdict.confidence, verdict.policy),
        (Point::Conntrack, Confidence::Confirmed, None)
    );
}
