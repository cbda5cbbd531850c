//! When an attempt is decided, and by what.

use super::*;
use crate::{
    decode::sighting::Rejection,
    model::{Confidence, Point},
    net::netns::NetnsRef,
    node::query::{ListenerBaseline, ListenerNetns},
};

mod drops;
mod errors;
mod forged;
mod node;
mod translation;

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
fn a_refusal_whose_drop_does_not_come_is_reported_anyway() {
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
fn hops_from_before_the_filter_matched_come_first() {
    let mut rig = Rig::new();
    let before = Tuple {
        dst: Address::v4([10, 96, 0, 10]),
        ..flow()
    };
    let hop = EarlyHop {
        at: rig.now - MILLISECOND,
        flow: before,
        netns: HOST,
        ifindex: VETH,
        direction: direction::IN,
        ..EarlyHop::default()
    };
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
fn what_has_time_left_at_the_end_is_not_judged() {
    let mut rig = Rig::new();
    rig.syn();
    rig.pass(TIMEOUT / 2);
    rig.finish();
    assert!(rig.attempts.is_empty());
}
