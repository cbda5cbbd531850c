//! Which record is news.

use std::time::Duration;

use super::*;
use crate::{
    model::Report,
    sink::fixtures::{self, attempts},
};

const SECOND: Duration = Duration::from_secs(1);

fn drop_report(report: Report) -> DropReport {
    match report {
        Report::Drop(drop) => *drop,
        other => panic!("no drop: {other:?}"),
    }
}

fn attempt_report(report: Report) -> AttemptReport {
    match report {
        Report::Attempt(attempt) => *attempt,
        other => panic!("no attempt: {other:?}"),
    }
}

/// A drop, and the attempt that it decided.
fn killed() -> (DropReport, AttemptReport) {
    let drop = drop_report(fixtures::judged());
    let attempt = AttemptReport {
        flow: drop.flow,
        verdict: Some(drop.verdict.clone()),
        ..attempt_report(attempts::off_node())
    };
    (drop, attempt)
}

#[test]
fn an_attempt_ends_the_entry_of_its_drop() {
    let (drop, attempt) = killed();
    let mut story = Story::default();
    assert_eq!(story.drop(&drop), Showing::Entry);
    let ending = Showing::Ending {
        of: drop.ts,
        adjacent: true,
    };
    assert_eq!(story.attempt(&attempt, false), ending);
}

#[test]
fn an_ending_below_another_entry_says_what_it_ends() {
    let (drop, attempt) = killed();
    let mut story = Story::default();
    story.drop(&drop);
    assert_eq!(story.drop(&drop_report(fixtures::storm())), Showing::Entry);
    let ending = Showing::Ending {
        of: drop.ts,
        adjacent: false,
    };
    assert_eq!(story.attempt(&attempt, false), ending);
}

#[test]
fn another_connection_is_an_entry_of_its_own() {
    let (drop, attempt) = killed();
    let mut story = Story::default();
    story.drop(&drop);
    let mut other = attempt.clone();
    other.flow.sport = Some(1);
    other.hops.clear();
    other.translated = None;
    assert_eq!(story.attempt(&other, false), Showing::Entry);
    assert_eq!(story.attempt(&other, false), Showing::Counted);
}

#[test]
fn repeats_are_counted_and_none_is_left_out() {
    let mut drop = drop_report(fixtures::storm());
    let first = drop.ts;
    let mut story = Story::default();
    story.drop(&drop);
    for _ in 0..3 {
        drop.ts += SECOND;
        drop.count = 7;
        assert_eq!(story.drop(&drop), Showing::Counted);
    }
    assert_eq!(story.due(first + SECOND, false), []);
    let due = story.due(drop.ts + SECOND, false);
    let [repeats] = due.as_slice() else {
        panic!("not one count: {due:?}");
    };
    assert_eq!((repeats.packets, repeats.of), (21, first));
    assert_eq!(repeats.span, 2 * SECOND);
    drop.count = 5;
    story.drop(&drop);
    assert_eq!(story.due(drop.ts, false), []);
    let rest = story.due(drop.ts, true);
    assert_eq!(rest.iter().map(|rest| rest.packets).sum::<u64>(), 5);
    assert_eq!(story.due(drop.ts, true), []);
}

#[test]
fn repeats_have_the_names_of_their_entry() {
    let (drop, mut attempt) = killed();
    let mut story = Story::default();
    story.drop(&drop);
    story.drop(&drop);
    let of_drop = "shop/web-7d9f8b6c5-x2x4z → shop/cart-0:443";
    assert_eq!(story.due(drop.ts, true)[0].ends, of_drop);
    // An attempt on a Service is named after what the client asked for.
    attempt.flow.sport = Some(1);
    attempt.hops.clear();
    attempt.service = Some("shop/cart".to_owned());
    attempt.original_dst = Some(("10.96.0.10".parse().expect("address"), Some(80)));
    attempt.src_pod = drop.src_pod;
    story.attempt(&attempt, false);
    story.attempt(&attempt, false);
    let of_attempt = "shop/web-7d9f8b6c5-x2x4z → svc/shop/cart:80";
    assert_eq!(story.due(attempt.ts, true)[0].ends, of_attempt);
}

#[test]
fn an_answer_is_shown_only_where_it_was_asked_for_or_corrects_something() {
    let mut answered = attempt_report(attempts::answered());
    let mut story = Story::default();
    assert_eq!(story.attempt(&answered, false), Showing::Hidden);
    assert_eq!(story.attempt(&answered, true), Showing::Entry);
    answered.corrects = Some(Outcome::Unanswered);
    assert_eq!(story.attempt(&answered, false), Showing::Entry);
}

#[test]
fn a_thousand_kinds_of_failure_take_no_more_room() {
    let mut drop = drop_report(fixtures::judged());
    let mut story = Story::default();
    for port in 0..1000 {
        drop.flow.dport = Some(port);
        assert_eq!(story.drop(&drop), Showing::Entry);
    }
    assert_eq!(story.entries.len(), MAX_ENTRIES);
}

#[test]
fn a_policy_that_has_changed_is_news() {
    let (drop, _) = killed();
    let mut story = Story::default();
    assert_eq!(story.drop(&drop), Showing::Entry);
    assert_eq!(story.drop(&drop), Showing::Counted);
    // Another one refuses the same flow.
    let mut other = drop.clone();
    if let Some(policy) = &mut other.verdict.policy {
        policy.policies = vec!["shop/cart-only-web".to_owned()];
    }
    other.verdict.subject = "shop/cart-0 ingress shop/cart-only-web".to_owned();
    assert_eq!(story.drop(&other), Showing::Entry);
    // The same one has other rules now.
    let mut edited = drop.clone();
    let fact = "rule 1 of shop/deny-all admits podSelector app=web".to_owned();
    edited.verdict.evidence.push(fact);
    assert_eq!(story.drop(&edited), Showing::Entry);
    // Figures are no news.
    let mut counted = drop;
    counted.verdict.evidence[2] = "the counter of the rule rose by 2".to_owned();
    assert_eq!(story.drop(&counted), Showing::Counted);
}
