//! ICMP errors that decide an attempt.

use super::*;
use crate::{
    model::Hook,
    node::{
        facts::NodeFacts,
        ruleset::{Hint, HookPacket, Ruleset, packet::Ends},
    },
};

fn rejection(from: [u8; 4], quoted: Tuple) -> Rejection {
    Rejection {
        from: from.into(),
        v6: false,
        icmp: [3, 3],
        quoted,
        carrier: None,
    }
}

#[test]
fn the_sender_of_an_error_is_that_of_the_packet_as_it_came_in() {
    let mut rig = Rig::new();
    rig.syn();
    let icmp = Tuple {
        proto: protocol::ICMP,
        ..flow().reversed()
    };
    // NAT gives it the address that the client asked.
    for (ifindex, dir, from) in [
        (NIC, Direction::In, [192, 0, 2, 254]),
        (VETH, Direction::Out, [192, 0, 2, 2]),
    ] {
        let key = Some(AttemptKey::Tcp(ISN));
        let rejects = Part::Rejects(key, rejection(from, flow()));
        rig.see(ifindex, dir, icmp, rejects);
    }
    assert_eq!(rig.outcomes(), [Outcome::Rejected]);
    assert_eq!(rig.attempts[0].by.as_deref(), Some("192.0.2.254"));
    assert_eq!(rig.attempts[0].reply_hops.len(), 2);
}

#[test]
fn an_error_that_this_node_made_and_translated_is_not_from_the_address_that_was_asked() {
    let mut rig = Rig::new();
    rig.syn();
    let rejects = Part::Rejects(
        Some(AttemptKey::Tcp(ISN)),
        rejection([192, 0, 2, 2], flow()),
    );
    rig.see(VETH, Direction::Out, flow().reversed(), rejects);
    rig.pass(2 * TIMEOUT);
    assert_eq!(
        rig.attempts[0].by.as_deref(),
        Some("this node, as 192.0.2.2")
    );
}

#[test]
fn an_error_about_a_tunnel_s_packet_is_the_tunnel_s() {
    let mut rig = Rig::new();
    rig.syn();
    let carrier = Tuple {
        src: Address::v4([192, 0, 2, 11]),
        dst: Address::v4([192, 0, 2, 12]),
        sport: 50_000,
        dport: 4_789,
        proto: protocol::UDP,
        ..flow()
    };
    let rejects = Part::Rejects(
        Some(AttemptKey::Tcp(ISN)),
        Rejection {
            carrier: Some(carrier),
            ..rejection([192, 0, 2, 12], flow())
        },
    );
    rig.see(NIC, Direction::In, carrier.reversed(), rejects);
    rig.pass(2 * TIMEOUT);
    assert_eq!(rig.outcomes(), [Outcome::Unanswered]);
    let verdict = rig.attempts[0].verdict.as_ref().expect("a verdict");
    assert_eq!(verdict.point, Point::Overlay);
    assert_eq!(
        verdict.why,
        "the tunnel's remote end 192.0.2.12 says: nothing takes udp port 4789 there"
    );
}

#[test]
fn a_drop_behind_a_rejection_corrects_its_verdict() {
    let mut rig = Rig::new();
    rig.syn();
    for (ifindex, dir) in [(NIC, Direction::In), (VETH, Direction::Out)] {
        let key = Some(AttemptKey::Tcp(ISN));
        let rejects = Part::Rejects(key, rejection([192, 0, 2, 12], flow()));
        rig.see(ifindex, dir, flow().reversed(), rejects);
    }
    rig.drop(syn_drop(1, "TCP_CSUM"));
    assert_eq!(rig.outcomes(), [Outcome::Rejected; 2]);
    let verdict = rig.attempts[1].verdict.as_ref().expect("a verdict");
    assert_eq!(verdict.point, Point::Checksum);
}

/// What the other node says of the drop: the one rule there enforces a policy.
fn policy() -> NodeFacts {
    let json = r#"{"nftables": [
        {"table": {"family": "ip", "name": "filter"}},
        {"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "type": "filter",
          "hook": "forward", "prio": 0, "policy": "accept"}},
        {"chain": {"family": "ip", "table": "filter", "name": "KUBE-POD-FW-X"}},
        {"rule": {"family": "ip", "table": "filter", "chain": "FORWARD", "handle": 3,
          "expr": [{"jump": {"target": "KUBE-POD-FW-X"}}]}},
        {"rule": {"family": "ip", "table": "filter", "chain": "KUBE-POD-FW-X", "handle": 4,
          "expr": [{"reject": {"type": "icmp", "expr": "port-unreachable"}}]}}]}"#;
    let ruleset = Ruleset::from_texts(json, "", "").expect("a ruleset");
    let ends = Ends {
        src: flow().src.into(),
        dst: flow().dst.into(),
        sport: Some(flow().sport),
        dport: Some(flow().dport),
    };
    let packet = HookPacket {
        hook: Some(Hook::Forward),
        ..HookPacket::new(ends, protocol::TCP)
    };
    NodeFacts {
        suspects: Some(ruleset.suspects(&packet, Hint::Any)),
        ..NodeFacts::default()
    }
}

/// Both nodes are visible, and the pod is addressed directly: the rejection, and the drop that made it.
#[test]
fn a_rejection_and_the_policy_s_drop_are_one() {
    for drop_is_first in [false, true] {
        let mut rig = Rig::new();
        rig.syn();
        let mut drop = syn_drop(1, "NETFILTER_DROP");
        drop.key.netns = HOST + 1;
        let reject = |rig: &mut Rig| {
            for (ifindex, dir) in [(NIC, Direction::In), (VETH, Direction::Out)] {
                let key = Some(AttemptKey::Tcp(ISN));
                let rejects = Part::Rejects(key, rejection([192, 0, 2, 12], flow()));
                rig.see(ifindex, dir, flow().reversed(), rejects);
            }
        };
        if drop_is_first {
            rig.drop(drop);
            reject(&mut rig);
        } else {
            reject(&mut rig);
            rig.drop(drop);
        }
        rig.answer(Some(Answer::Drop(Box::new(policy()))));
        rig.pass(2 * TIMEOUT);
        let last = rig.attempts.last().expect("an attempt");
        assert_eq!(last.outcome, Outcome::Rejected);
        let verdict = last.verdict.as_ref().expect("a verdict");
        let found = (verdict.point, verdict.confidence);
        assert_eq!(found, (Point::Policy, Confidence::Confirmed));
        let summary = rig.finish();
        assert_eq!(summary.attempts[&Outcome::Rejected], 1);
        let points: Vec<_> = summary.verdicts.iter().map(|known| known.point).collect();
        assert_eq!(points, [Point::Policy], "the drop first: {drop_is_first}");
        let main = summary.verdict.expect("a final verdict");
        assert_eq!((main.point, main.confidence), found);
        assert!(summary.also.is_empty(), "{:?}", summary.also);
    }
}
