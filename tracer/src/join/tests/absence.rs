//! What it says that a node's trace lacks a packet.

use super::*;
use crate::join::{join, scope::Filter};

/// What is said of a SYN that left `a`, if `b` has this trace.
fn lost_before(b: Trace) -> (Point, Confidence, bool) {
    let traces = [trace("a", [10, 0, 0, 1], vec![client(7, 1000, None)]), b];
    let paths = join(&traces);
    let lost = paths.iter().find(|path| path.isn == Some(7));
    judged(lost.expect("the lost one"))
}

#[test]
fn what_never_came_was_lost_between() {
    assert_eq!(
        lost_before(trace("b", [10, 0, 0, 2], Vec::new())),
        CONFIRMED
    );
}

/// Records that were too many to show: what is known of them is which attempts they are not.
#[test]
fn a_record_that_was_left_out_says_that_the_packet_came() {
    let left_out = |records: u64, isns: Vec<u32>| {
        let mut other = trace("b", [10, 0, 0, 2], Vec::new());
        other.take(Report::More(More {
            ts: at(2_000),
            outcome: Some(Outcome::Answered),
            records,
            count: records,
            sources: 1,
            point: None,
            rule: None,
            why: None,
            isns,
        }));
        lost_before(other)
    };
    assert_eq!(left_out(2, vec![8, 9]), CONFIRMED);
    assert_eq!(left_out(2, vec![7, 9]), LIKELY);
    // It may be the one that is not named.
    assert_eq!(left_out(2, vec![8]), LIKELY);
}

/// Only what is an attempt would have been a path.
#[test]
fn attempts_without_a_path_are_counted() {
    let mut trace = trace("b", [10, 0, 0, 2], Vec::new());
    let said = |trace: &Trace| trace.without_path().unwrap_or_default();
    let mut more = |outcome, count| {
        trace.take(Report::More(More {
            ts: at(2_000),
            outcome,
            records: 2,
            count,
            sources: 1,
            point: None,
            rule: None,
            why: None,
            isns: Vec::new(),
        }));
        said(&trace)
    };
    assert_eq!(more(None, 900), "");
    more(Some(Outcome::Unanswered), 30);
    let both = more(Some(Outcome::Answered), 4);
    assert!(both.starts_with("b counted 34 attempts"), "{both}");
}

/// The second node's clock is behind, so that its trace did not cover that time; another attempt
/// shows it.
#[test]
fn a_trace_that_was_over_by_then_says_nothing() {
    let late = trace("b", [10, 0, 0, 2], vec![server(8, 1001)]);
    let traces = [
        trace(
            "a",
            [10, 0, 0, 1],
            vec![client(8, 41_000, Some(2050)), client(7, 100_500, None)],
        ),
        late,
    ];
    let paths = join(&traces);
    let lost = paths.iter().find(|path| path.isn == Some(7));
    assert_eq!(judged(lost.expect("the lost one")), LIKELY);
}

/// Behind DNAT at the first node, the Service's address is nowhere on the wire.
#[test]
fn a_filter_that_does_not_match_the_packet_sees_nothing() {
    let joined = |to: Option<&str>, seen: Vec<AttemptReport>| {
        let mut other = trace("b", [10, 0, 0, 2], seen);
        other.filter = Filter::of(&filter(to));
        assert!(other.filter.is_some());
        lost_before(other)
    };
    assert_eq!(joined(Some("10.0.0.2:443"), Vec::new()), CONFIRMED);
    assert_eq!(joined(Some("10.0.0.0/24"), Vec::new()), CONFIRMED);
    assert_eq!(joined(Some(":443"), Vec::new()), CONFIRMED);
    assert_eq!(joined(Some("10.96.0.10:443"), Vec::new()), LIKELY);
    assert_eq!(joined(Some(":80"), Vec::new()), LIKELY);
    // A name matches what it stood for, which another attempt between the same ends shows.
    let name = Some("svc/shop/cart:80");
    assert_eq!(joined(name, Vec::new()), LIKELY);
    assert_eq!(joined(name, vec![server(8, 1001)]), CONFIRMED);
    // One from elsewhere may have matched by its source.
    let mut other = server(8, 1001);
    other.flow.src = [10, 0, 0, 99].into();
    assert_eq!(joined(name, vec![other]), LIKELY);
}

#[test]
fn a_node_that_did_not_watch_the_interface_for_that_time_says_nothing() {
    let with = |change: &dyn Fn(&mut Trace)| {
        let mut other = trace("b", [10, 0, 0, 2], Vec::new());
        change(&mut other);
        lost_before(other)
    };
    let gap = |from, to| {
        move |trace: &mut Trace| {
            trace.gaps.push(Span {
                from: at(from),
                to: at(to),
            });
        }
    };
    assert_eq!(with(&gap(1500, 1600)), LIKELY);
    assert_eq!(with(&gap(3000, 3100)), CONFIRMED);
    assert_eq!(with(&|trace| trace.complete = false), LIKELY);
    assert_eq!(with(&|trace| trace.ended = false), LIKELY);
}

#[test]
fn a_record_that_was_left_out_may_be_the_missing_one() {
    let numbered = |numbers: [u64; 2]| {
        let mut other = trace("b", [10, 0, 0, 2], Vec::new());
        for number in numbers {
            other.number(Some(number));
        }
        lost_before(other)
    };
    assert_eq!(numbered([1, 2]), CONFIRMED);
    assert_eq!(numbered([1, 4]), LIKELY);
}

#[test]
fn a_line_that_is_no_known_record_is_missing_once() {
    let lost = |numbers: &[(u64, bool)], skipped: Option<u64>| {
        let mut trace = trace("b", [10, 0, 0, 2], Vec::new());
        for (number, is_record) in numbers {
            match is_record {
                true => trace.number(Some(*number)),
                false => trace.skip(skipped),
            }
        }
        trace.lost
    };
    // A record of a later version, and a damaged line.
    assert_eq!(lost(&[(1, true), (2, false), (3, true)], Some(2)), 1);
    assert_eq!(lost(&[(1, true), (2, false), (3, true)], None), 1);
    // Nothing is missing where another program has written a line in between.
    assert_eq!(lost(&[(1, true), (0, false), (2, true)], None), 0);
    // A recording without numbers.
    assert_eq!(lost(&[(0, false)], None), 1);
}

/// `whydrop … >> node.jsonl`, twice.
#[test]
fn between_two_traces_in_one_file_nothing_was_watched() {
    let appended = |from: u64| {
        let mut other = trace("b", [10, 0, 0, 2], Vec::new());
        other.end = at(500);
        other.take(Report::Started(Box::new(started("b", [10, 0, 0, 2], from))));
        other.take(Report::Summary(Box::new(Summary {
            ts: Some(at(60_000)),
            ..Summary::default()
        })));
        lost_before(other)
    };
    assert_eq!(appended(900), CONFIRMED);
    assert_eq!(appended(1500), LIKELY);
}

/// Counted only, so that its sequence number is not known.
#[test]
fn a_drop_of_the_same_flow_may_be_the_missing_packet() {
    let mut other = trace("b", [10, 0, 0, 2], Vec::new());
    let known = crate::sink::fixtures::all().into_iter();
    let drop = known.filter_map(|record| match record {
        Report::Drop(drop) => Some(*drop),
        _ => None,
    });
    other.drops.extend(drop.take(1).map(|drop| DropReport {
        ts: at(1001),
        flow: flow(),
        packet: None,
        verdict: Verdict::new(Point::Firewall, Confidence::Confirmed, "INPUT drops it"),
        ..drop
    }));
    assert_eq!(
        lost_before(other),
        (Point::Firewall, Confidence::Likely, false)
    );
}

#[test]
fn what_had_no_room_may_be_what_is_missing() {
    let mut full = trace("b", [10, 0, 0, 2], Vec::new());
    full.take(Report::Summary(Box::new(Summary {
        untracked: 1,
        ..Summary::default()
    })));
    assert_eq!(lost_before(full), LIKELY);
}

/// docker0 has the same address on every node.
#[test]
fn an_address_of_the_sender_itself_names_no_other_node() {
    let mut sender = trace("a", [10, 0, 0, 1], vec![client(7, 1000, None)]);
    sender.addresses.insert([10, 0, 0, 2].into());
    let traces = [sender, trace("b", [10, 0, 0, 2], Vec::new())];
    assert_eq!(judged(&join(&traces)[0]), LIKELY);
}

#[test]
fn of_two_nodes_with_the_address_neither_is_the_next_one() {
    let traces = [
        trace("a", [10, 0, 0, 1], vec![client(7, 1000, None)]),
        trace("b", [10, 0, 0, 2], Vec::new()),
        trace("c", [10, 0, 0, 2], Vec::new()),
    ];
    let (_, confidence, between) = judged(&join(&traces)[0]);
    assert_eq!((confidence, between), (Confidence::Likely, false));
}
