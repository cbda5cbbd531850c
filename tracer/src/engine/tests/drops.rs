//! Alike drops become one report with an exact count, and idle kinds are evicted.

use super::*;

#[test]
fn alike_drops_are_folded_and_counted_exactly() {
    let mut rig = Rig::new();
    for _ in 0..3 {
        rig.drop(drop_of(1, "TCP_CSUM"));
    }
    // 500 more without an event: three a second are sent.
    for _ in 0..500 {
        rig.count(&drop_of(1, "TCP_CSUM"));
    }
    assert_eq!(rig.shown(), [1]);
    rig.pass(1_000 * MILLISECOND);
    assert_eq!(rig.shown(), [1, 502]);
    let summary = rig.finish();
    assert_eq!((summary.drops, summary.shown), (503, 503));
}

#[test]
fn what_was_counted_only_is_shown_at_the_end() {
    let mut rig = Rig::new();
    rig.drop(drop_of(1, "TCP_CSUM"));
    rig.count(&drop_of(1, "TCP_CSUM"));
    rig.count(&drop_of(2, "TCP_CSUM"));
    let summary = rig.finish();
    assert_eq!(rig.shown(), [1, 1, 1]);
    assert_eq!(summary.drops, 3);
}

#[test]
fn noise_is_counted_apart() {
    let mut rig = Rig::new();
    rig.drop(drop_of(1, "TCP_OLD_DATA"));
    let summary = rig.finish();
    assert!(rig.drops.is_empty());
    assert_eq!((summary.drops, summary.noise), (0, 1));
}

#[test]
fn after_enough_reports_drops_are_counted_only() {
    let settings = settings();
    let drops = DropOptions {
        limit: Some(2),
        ..settings.drops
    };
    let mut rig = Rig::with(Settings { drops, ..settings });
    rig.drop(drop_of(1, "TCP_CSUM"));
    assert!(!rig.stopped);
    rig.drop(drop_of(2, "TCP_CSUM"));
    assert!(rig.stopped);
    rig.drop(drop_of(3, "TCP_CSUM"));
    let summary = rig.finish();
    assert_eq!(rig.shown(), [1, 1]);
    assert_eq!((summary.drops, summary.shown), (3, 2));
}

#[test]
fn idle_kinds_are_evicted_before_the_map_is_full() {
    let mut rig = Rig::new();
    rig.drop(drop_of(1, "TCP_CSUM"));
    rig.pass(4_000 * MILLISECOND);
    rig.drop(drop_of(2, "TCP_CSUM"));
    assert!(rig.evicted.is_empty());
    rig.pass(2_000 * MILLISECOND);
    assert_eq!(rig.evicted, [1]);
    // The next one of that kind is counted anew, and shown.
    rig.drop(drop_of(1, "TCP_CSUM"));
    assert_eq!(rig.shown(), [1, 1, 1]);
    assert_eq!(rig.finish().drops, 3);
}

#[test]
fn a_kind_that_was_counted_again_is_not_evicted() {
    let mut rig = Rig::new();
    rig.drop(drop_of(1, "TCP_CSUM"));
    rig.count(&drop_of(1, "TCP_CSUM"));
    rig.pass(10_000 * MILLISECOND);
    assert!(rig.evicted.is_empty());
    assert_eq!(rig.finish().drops, 2);
}

#[test]
fn a_drop_whose_question_is_never_answered_is_shown_at_the_end() {
    let mut rig = Rig::new();
    rig.drop(drop_of(1, "NETFILTER_DROP"));
    assert!(rig.engine.awaits_node());
    rig.finish();
    assert_eq!(rig.shown(), [1]);
}

#[test]
fn a_drop_whose_question_has_failed_is_shown_as_it_is() {
    let mut rig = Rig::new();
    rig.drop(drop_of(1, "NETFILTER_DROP"));
    rig.answer(None);
    assert_eq!(rig.shown(), [1]);
    assert!(!rig.engine.awaits_node());
}
