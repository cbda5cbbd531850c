//! Lost events: reported, accounted for by count, and no negative is claimed meanwhile.

use super::*;
use crate::model::Point;

#[test]
fn drops_whose_events_were_lost_are_shown_by_their_count() {
    let mut rig = Rig::new();
    for _ in 0..7 {
        rig.drop_unseen(&drop_of(1, "TCP_CSUM"));
    }
    rig.pass(TICK);
    assert_eq!(rig.lost.len(), 1);
    assert_eq!(rig.lost[0].events, 7);
    assert!(rig.drops.is_empty(), "an event may still be on its way");
    rig.pass(TICK);
    assert_eq!(rig.shown(), [7]);
    let summary = rig.finish();
    assert_eq!((summary.lost, summary.drops), (7, 7));
    assert_eq!(rig.lost.len(), 1);
}

/// The verdict on an attempt that left through the NIC, where nothing came back.
fn silence(rig: &mut Rig) -> Point {
    rig.pass(TIMEOUT);
    assert_eq!(rig.outcomes(), [Outcome::Unanswered]);
    let verdict = rig.attempts[0].verdict.as_ref();
    verdict.expect("a verdict").point
}

#[test]
fn where_all_was_seen_silence_is_off_this_node() {
    let mut rig = Rig::new();
    rig.syn();
    assert_eq!(silence(&mut rig), Point::OffNode);
}

#[test]
fn where_events_were_lost_silence_says_nothing() {
    let mut rig = Rig::new();
    rig.syn();
    rig.drop_unseen(&drop_of(1, "TCP_CSUM"));
    assert_eq!(silence(&mut rig), Point::Unknown);
}

#[test]
fn losses_before_the_attempt_do_not_matter() {
    let mut rig = Rig::new();
    rig.drop_unseen(&drop_of(1, "TCP_CSUM"));
    rig.pass(2 * TICK);
    rig.syn();
    assert_eq!(silence(&mut rig), Point::OffNode);
}

#[test]
fn where_an_interface_has_no_probes_silence_says_nothing() {
    let mut rig = Rig::new();
    rig.feed(Input::Unwatched(Some("eth4 has no probes".to_owned())));
    rig.syn();
    assert_eq!(silence(&mut rig), Point::Unknown);
    let summary = rig.finish();
    assert_eq!(summary.unwatched.len(), 1, "{:?}", summary.unwatched);
}

/// An address that is added changes nothing about the interface without probes.
#[test]
fn other_changes_of_interfaces_attach_no_probes() {
    let mut rig = Rig::new();
    rig.feed(Input::Unwatched(Some("eth4 has no probes".to_owned())));
    rig.feed(Input::Interfaces(vec![Change::Changed(interface(
        VETH, false,
    ))]));
    rig.syn();
    assert_eq!(silence(&mut rig), Point::Unknown);
}

#[test]
fn probes_that_are_back_see_everything_again() {
    let mut rig = Rig::new();
    rig.feed(Input::Unwatched(Some("eth4 has no probes".to_owned())));
    rig.pass(TICK);
    rig.feed(Input::Unwatched(None));
    rig.syn();
    assert_eq!(silence(&mut rig), Point::OffNode);
}

#[test]
fn an_attempt_is_not_unanswered_while_its_answer_may_wait_to_be_read() {
    let mut rig = Rig::new();
    rig.syn();
    rig.feed(Input::ReadUntil(Some(START + TIMEOUT / 2)));
    rig.pass(4 * TIMEOUT);
    assert_eq!(rig.outcomes(), []);
    rig.feed(Input::ReadUntil(Some(START + 2 * TIMEOUT)));
    rig.pass(TICK);
    assert_eq!(rig.outcomes(), [Outcome::Unanswered]);
    // By the packets, and not by when they were read.
    assert_eq!(rig.attempts[0].waited_ms, 2_000);
}

#[test]
fn what_is_too_much_to_show_is_counted_exactly() {
    let mut rig = Rig::with(Settings {
        most_records: Some(4),
        ..settings()
    });
    for reason in 0..100 {
        rig.drop(drop_of(reason, "TCP_CSUM"));
    }
    rig.pass(2 * TIMEOUT);
    let shown: u64 = rig.drops.iter().map(|drop| drop.count).sum();
    assert_eq!(rig.drops.len(), 3, "two, and the first of its kind");
    let [more] = &rig.more[..] else {
        panic!("one kind: {:?}", rig.more);
    };
    assert_eq!((more.records, more.sources), (97, 1));
    let summary = rig.finish();
    assert_eq!(
        (summary.drops, summary.shown, summary.folded),
        (100, shown, 97)
    );
    assert_eq!(
        summary.verdicts.iter().map(|one| one.count).sum::<u64>(),
        100
    );
}
