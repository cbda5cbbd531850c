//! Drops that decide an attempt, or are noise because it goes on.

use super::*;

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
    // The SYN-ACK leaves through another interface than the client's.
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

#[test]
fn a_drop_that_was_counted_only_is_that_of_an_attempt_that_got_as_far() {
    let mut rig = Rig::new();
    let opens = |isn| Part::Opens(AttemptKey::Tcp(isn), None);
    for isn in [ISN, 2_000, 3_000] {
        rig.see(VETH, Direction::In, flow(), opens(isn));
    }
    rig.see(NIC, Direction::Out, flow(), opens(3_000));
    rig.drop(syn_drop(1, "TCP_CSUM"));
    rig.drop_unseen(&syn_drop(1, "TCP_CSUM"));
    rig.pass(2 * TIMEOUT);
    let verdicts = rig.attempts.iter().map(|attempt| {
        let verdict = attempt.verdict.as_ref().expect("a verdict");
        (attempt.hops.len(), verdict.point, verdict.confidence)
    });
    let mut verdicts: Vec<_> = verdicts.collect();
    verdicts.sort_by_key(|(hops, _, confidence)| (*hops, *confidence));
    let [counted, seen, further] = verdicts.as_slice() else {
        panic!("{verdicts:?}");
    };
    assert_eq!(*counted, (1, Point::Checksum, Confidence::Likely));
    assert_eq!(*seen, (1, Point::Checksum, Confidence::Confirmed));
    assert_ne!(further.1, Point::Checksum);
}

#[test]
fn where_the_count_stood_still_no_other_drop_is_an_attempt_s() {
    let mut rig = Rig::new();
    for isn in [ISN, 2_000] {
        let opens = Part::Opens(AttemptKey::Tcp(isn), None);
        rig.see(VETH, Direction::In, flow(), opens);
    }
    rig.drop(syn_drop(1, "TCP_CSUM"));
    rig.pass(2 * TIMEOUT);
    let points = rig.attempts.iter().map(|attempt| attempt.verdict.as_ref());
    let of_drop = points.filter(|verdict| verdict.is_some_and(|one| one.point == Point::Checksum));
    assert_eq!(of_drop.count(), 1);
}
