//! When an attempt is decided, by what, and what the node is asked before.

use super::*;
use crate::{
    decode::sighting::Rejection,
    model::Point,
    net::netns::NetnsRef,
    node::query::{ListenerBaseline, ListenerNetns},
};

#[test]
fn an_answer_that_has_arrived_is_reported_at_once() {
    let mut rig = Rig::new();
    rig.syn();
    assert!(rig.attempts.is_empty());
    rig.syn_ack();
    assert_eq!(rig.outcomes(), [Outcome::Answered]);
    rig.pass(2 * TIMEOUT);
    assert_eq!(rig.attempts.len(), 1);
    assert!(rig.attempts[0].verdict.is_none());
}

#[test]
fn silence_is_reported_after_the_timeout() {
    let mut rig = Rig::new();
    rig.syn();
    rig.pass(TIMEOUT - TICK);
    assert!(rig.attempts.is_empty());
    rig.pass(TICK);
    assert_eq!(rig.outcomes(), [Outcome::Unanswered]);
    assert_eq!(rig.attempts[0].waited_ms, 1_000);
}

#[test]
fn an_answer_after_the_timeout_corrects_the_outcome() {
    let mut rig = Rig::new();
    rig.syn();
    rig.pass(TIMEOUT);
    rig.syn_ack();
    assert_eq!(rig.outcomes(), [Outcome::Unanswered, Outcome::Answered]);
    assert_eq!(rig.attempts[1].corrects, Some(Outcome::Unanswered));
}

#[test]
fn what_is_sent_again_for_half_a_second_has_stalled() {
    let mut rig = Rig::new();
    rig.syn();
    rig.syn_ack();
    rig.retransmit();
    rig.pass(200 * MILLISECOND);
    rig.retransmit();
    rig.pass(200 * MILLISECOND);
    rig.retransmit();
    assert_eq!(rig.outcomes(), [Outcome::Answered]);
    rig.pass(200 * MILLISECOND);
    rig.retransmit();
    assert_eq!(rig.outcomes(), [Outcome::Answered, Outcome::Stalled]);
    assert_eq!(rig.attempts[1].corrects, Some(Outcome::Answered));
}

#[test]
fn what_is_sent_again_at_once_has_not_stalled() {
    let mut rig = Rig::new();
    rig.syn();
    rig.syn_ack();
    for _ in 0..9 {
        rig.retransmit();
    }
    assert_eq!(rig.outcomes(), [Outcome::Answered]);
}

#[test]
fn a_refusal_of_this_node_waits_for_the_drop_that_follows() {
    let mut rig = Rig::new();
    rig.syn();
    rig.rst();
    rig.pass(300 * MILLISECOND);
    assert!(rig.attempts.is_empty());
    rig.drop(syn_drop(1, "NETFILTER_DROP"));
    rig.answer(Some(Answer::Drop(Box::default())));
    assert_eq!(rig.outcomes(), [Outcome::Refused]);
    let verdict = rig.attempts[0].verdict.as_ref().expect("a verdict");
    assert_eq!(verdict.point, Point::Firewall);
    assert_eq!(verdict.why, rig.drops[0].verdict.why);
}

#[test]
fn a_refusal_whose_drop_does_not_come_is_reported_all_the_same() {
    let mut rig = Rig::new();
    rig.syn();
    rig.rst();
    rig.pass(800 * MILLISECOND);
    assert!(rig.attempts.is_empty());
    rig.pass(TICK);
    assert_eq!(rig.outcomes(), [Outcome::Refused]);
    let verdict = rig.attempts[0].verdict.as_ref().expect("a verdict");
    assert_eq!(verdict.point, Point::Socket);
}

#[test]
fn a_refusal_from_elsewhere_waits_for_nothing() {
    let mut rig = Rig::new();
    rig.syn();
    for (ifindex, dir) in [(NIC, Direction::In), (VETH, Direction::Out)] {
        let refuses = Part::Refuses(AttemptKey::Tcp(ISN), 0);
        rig.see(ifindex, dir, flow().reversed(), refuses);
    }
    assert_eq!(rig.outcomes(), [Outcome::Refused]);
}

#[test]
fn an_answer_from_another_address_is_no_answer() {
    let mut rig = Rig::new();
    rig.syn();
    let from_another = Tuple {
        src: Address::v4([10, 244, 9, 9]),
        ..flow().reversed()
    };
    let answers = Part::Answers(AttemptKey::Tcp(ISN), None);
    rig.see(VETH, Direction::Out, from_another, answers);
    assert!(rig.outcomes().is_empty());
    rig.pass(2 * TIMEOUT);
    assert_eq!(rig.outcomes(), [Outcome::Unanswered]);
    let verdict = rig.attempts[0].verdict.as_ref().expect("a verdict");
    assert_eq!(
        verdict.rule.as_ref().map(|rule| rule.as_str()),
        Some("misaddressed-answer")
    );
}

#[test]
fn an_answer_from_where_the_question_was_translated_to_was_not_translated_back() {
    let mut rig = Rig::new();
    let opens = || Part::Opens(AttemptKey::Tcp(ISN), None);
    let translated = Tuple {
        dst: Address::v4([10, 244, 9, 9]),
        ..flow()
    };
    rig.see(VETH, Direction::In, flow(), opens());
    rig.see(NIC, Direction::Out, translated, opens());
    let answers = Part::Answers(AttemptKey::Tcp(ISN), None);
    rig.see(VETH, Direction::Out, translated.reversed(), answers);
    rig.pass(2 * TIMEOUT);
    assert_eq!(rig.outcomes(), [Outcome::Unanswered]);
    let verdict = rig.attempts[0].verdict.as_ref().expect("a verdict");
    assert_eq!(verdict.point, Point::Conntrack);
}

#[test]
fn a_syn_that_dies_at_its_own_host_is_an_attempt() {
    let mut rig = Rig::new();
    let mut drop = syn_drop(1, "TCP_CSUM");
    drop.iif = 0;
    rig.drop(drop);
    rig.pass(2 * TIMEOUT);
    assert_eq!(rig.outcomes(), [Outcome::Unanswered]);
    assert!(rig.attempts[0].hops.is_empty());
}

#[test]
fn a_dropped_syn_explains_the_silence() {
    let mut rig = Rig::new();
    rig.syn();
    rig.drop(syn_drop(1, "TCP_CSUM"));
    rig.pass(TIMEOUT);
    assert_eq!(rig.outcomes(), [Outcome::Unanswered]);
    assert!(rig.asked.is_empty());
    let verdict = rig.attempts[0].verdict.as_ref().expect("a verdict");
    assert_eq!(verdict.point, Point::Checksum);
}

#[test]
fn hops_from_before_the_filter_matched_come_first() {
    let mut rig = Rig::new();
    let before = Tuple {
        dst: Address::v4([10, 96, 0, 10]),
        ..flow()
    };
    let mut hop = EarlyHop {
        at: rig.now - MILLISECOND,
        flow: before,
        ..EarlyHop::default()
    };
    (hop.place.netns, hop.place.ifindex) = (HOST, VETH);
    hop.place.direction = direction::IN;
    rig.early = vec![hop];
    let opens = Part::Opens(AttemptKey::Tcp(ISN), None);
    rig.see(NIC, Direction::Out, flow(), opens);
    let answers = || Part::Answers(AttemptKey::Tcp(ISN), None);
    rig.see(NIC, Direction::In, flow().reversed(), answers());
    rig.see(VETH, Direction::Out, before.reversed(), answers());
    let attempt = &rig.attempts[0];
    assert_eq!(attempt.hops.len(), 2);
    let requested = (before.dst.into(), Some(before.dport));
    assert_eq!(attempt.original_dst, Some(requested));
    // Data of the client is known by the flow that it has itself.
    rig.feed(Input::Event(Event::Retransmit(RetransmitEvent {
        flow: before,
        ..retransmission(rig.now)
    })));
    rig.pass(600 * MILLISECOND);
    for _ in 0..2 {
        rig.feed(Input::Event(Event::Retransmit(RetransmitEvent {
            flow: before,
            ..retransmission(rig.now)
        })));
    }
    assert_eq!(rig.outcomes(), [Outcome::Answered, Outcome::Stalled]);
}

#[test]
fn a_later_segment_s_drop_decides_where_the_answer_took_another_way() {
    let mut rig = Rig::new();
    rig.syn();
    rig.drop(ack_drop(1, "TCP_CSUM"));
    rig.pass(2 * TIMEOUT);
    assert_eq!(rig.outcomes(), [Outcome::Unanswered]);
    let verdict = rig.attempts[0].verdict.clone().expect("a verdict");
    assert_eq!(verdict.point, Point::Checksum);
    let summary = rig.finish();
    let last = summary.verdict.expect("a final verdict");
    assert_eq!((last.point, last.why), (verdict.point, verdict.why));
}

#[test]
fn a_drop_that_comes_late_corrects_the_verdict_and_the_summary() {
    let mut rig = Rig::new();
    rig.syn();
    rig.pass(2 * TIMEOUT);
    assert_eq!(
        rig.attempts[0].verdict.as_ref().unwrap().point,
        Point::OffNode
    );
    for _ in 0..3 {
        rig.drop(ack_drop(1, "TCP_CSUM"));
    }
    assert_eq!(rig.outcomes(), [Outcome::Unanswered; 2]);
    let corrected = &rig.attempts[1];
    assert_eq!(corrected.corrects, Some(Outcome::Unanswered));
    assert_eq!(corrected.verdict.as_ref().unwrap().point, Point::Checksum);
    let summary = rig.finish();
    assert_eq!(summary.attempts[&Outcome::Unanswered], 1);
    let points: Vec<_> = summary.verdicts.iter().map(|known| known.point).collect();
    assert_eq!(points, [Point::Checksum]);
}

#[test]
fn a_copy_of_a_syn_that_was_answered_decides_nothing() {
    let mut rig = Rig::new();
    rig.syn();
    // The SYN-ACK leaves by another interface than the client's.
    let answers = Part::Answers(AttemptKey::Tcp(ISN), None);
    rig.see(NIC, Direction::Out, flow().reversed(), answers);
    rig.drop(syn_drop(1, "TCP_CSUM"));
    rig.pass(2 * TIMEOUT);
    let verdict = rig.attempts[0].verdict.as_ref().expect("a verdict");
    assert_eq!(
        verdict.rule.as_ref().map(|rule| rule.as_str()),
        Some("reply-lost")
    );
}

#[test]
fn a_drop_whose_cause_is_not_known_gives_way_to_another_explanation() {
    let mut rig = Rig::new();
    rig.syn();
    rig.drop(syn_drop(1, "NOT_SPECIFIED"));
    rig.drop(syn_drop(2, "TCP_CSUM"));
    rig.pass(2 * TIMEOUT);
    let verdict = rig.attempts[0].verdict.as_ref().expect("a verdict");
    assert_eq!(verdict.point, Point::Checksum);
}

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

#[test]
fn a_copy_that_a_bridge_floods_is_noise_where_the_packet_is_answered() {
    let mut rig = Rig::new();
    rig.syn();
    rig.drop(syn_drop(1, "OTHERHOST"));
    rig.syn_ack();
    rig.pass(400 * MILLISECOND);
    assert!(rig.asked.is_empty());
    let summary = rig.finish();
    assert_eq!((summary.drops, summary.noise), (0, 1));
}

#[test]
fn a_packet_with_a_stale_address_is_reported() {
    let mut rig = Rig::new();
    rig.syn();
    rig.drop(syn_drop(1, "OTHERHOST"));
    rig.pass(400 * MILLISECOND);
    rig.answer(None);
    assert_eq!(rig.shown(), [1]);
}

/// A SYN goes out to a pod of this node.
fn syn_to_pod(rig: &mut Rig) {
    let opens = Part::Opens(AttemptKey::Tcp(ISN), None);
    rig.see(VETH, Direction::Out, flow(), opens);
}

#[test]
fn a_listener_is_read_before_the_timeout_and_after_it() {
    let mut rig = Rig::new();
    syn_to_pod(&mut rig);
    rig.pass(TIMEOUT / 4 + TICK);
    let [(_, Query::ListenerBaseline(location))] = rig.asked.as_slice() else {
        panic!("{:?}", rig.asked);
    };
    assert_eq!(location.netns, ListenerNetns::Behind(None));
    assert_eq!(location.address, "192.0.2.2:80".parse().unwrap());
    let netns = NetnsRef::Inode(7);
    rig.answer(Some(Answer::ListenerBaseline(Some(ListenerBaseline {
        netns: netns.clone(),
        reading: None,
    }))));
    rig.pass(3 * TIMEOUT / 4);
    assert!(rig.asked.is_empty(), "a retransmission is on its way");
    rig.pass(TICK);
    let [(_, Query::Silence(query))] = rig.asked.as_slice() else {
        panic!("{:?}", rig.asked);
    };
    let Some((_, Some(baseline))) = &query.listener else {
        panic!("{query:?}");
    };
    assert_eq!(baseline.netns, netns);
    assert!(rig.attempts.is_empty());
    rig.answer(Some(Answer::Silence(Box::default())));
    assert_eq!(rig.outcomes(), [Outcome::Unanswered]);
}

#[test]
fn an_answer_that_comes_meanwhile_decides() {
    let mut rig = Rig::new();
    syn_to_pod(&mut rig);
    rig.pass(TIMEOUT / 4 + TICK);
    rig.answer(None);
    rig.pass(TIMEOUT);
    assert_eq!(rig.asked.len(), 1);
    let answers = Part::Answers(AttemptKey::Tcp(ISN), None);
    rig.see(VETH, Direction::In, flow().reversed(), answers);
    rig.answer(Some(Answer::Silence(Box::default())));
    assert_eq!(rig.outcomes(), [Outcome::Answered]);
}

#[test]
fn a_packet_that_came_in_and_did_not_leave_may_wait_for_its_next_hop() {
    let mut rig = Rig::new();
    let opens = Part::Opens(AttemptKey::Tcp(ISN), None);
    rig.see(VETH, Direction::In, flow(), opens);
    rig.pass(TIMEOUT + 2 * TICK);
    let [(_, Query::Silence(query))] = rig.asked.as_slice() else {
        panic!("{:?}", rig.asked);
    };
    let Some((_, packet)) = &query.neighbor else {
        panic!("{query:?}");
    };
    assert_eq!(packet.iif, Some(VETH));
    rig.answer(Some(Answer::Silence(Box::default())));
    assert_eq!(rig.outcomes(), [Outcome::Unanswered]);
}

#[test]
fn what_waits_for_the_node_at_the_end_is_reported() {
    let mut rig = Rig::new();
    syn_to_pod(&mut rig);
    rig.pass(TIMEOUT + 2 * TICK);
    assert!(rig.attempts.is_empty());
    rig.finish();
    assert_eq!(rig.outcomes(), [Outcome::Unanswered]);
}

#[test]
fn what_has_time_left_at_the_end_is_not_judged() {
    let mut rig = Rig::new();
    rig.syn();
    rig.pass(TIMEOUT / 2);
    rig.finish();
    assert!(rig.attempts.is_empty());
}
