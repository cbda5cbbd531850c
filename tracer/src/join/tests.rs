//! Joined traces, made by hand: times, clocks and gaps that no lab makes on purpose.

use std::time::{Duration, SystemTime};

use super::{Trace, join, scope::Filter};
use crate::model::{
    AttemptReport, Confidence, Direction, DropReport, Flow, Hop, Outcome, PathReport, Point,
    Protocol, Report, Scope, Span, Started, Summary, Verdict,
};

const MS: u64 = 1000;

fn at(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000) + Duration::from_millis(millis)
}

fn flow() -> Flow {
    Flow {
        proto: Protocol::from(6),
        src: [10, 0, 0, 1].into(),
        sport: Some(40000),
        dst: [10, 0, 0, 2].into(),
        dport: Some(443),
    }
}

fn hop(dir: Direction, at_us: u64) -> Hop {
    Hop {
        ifname: "eth0".to_owned(),
        netns: 1,
        netns_name: None,
        pod: None,
        dir,
        at_us,
        times: 1,
        flow: None,
        outer: None,
        mtu: 1500,
    }
}

/// A trace of one node, from 0 to 60 s by its own clock.
fn trace(name: &str, address: [u8; 4], attempts: Vec<AttemptReport>) -> Trace {
    let mut trace = Trace::new(started(name, address, 0), "file");
    for attempt in attempts {
        trace.take(Report::Attempt(Box::new(attempt)));
    }
    trace.take(Report::Summary(Box::new(Summary {
        ts: Some(at(60_000)),
        ..Summary::default()
    })));
    trace
}

fn started(name: &str, address: [u8; 4], millis: u64) -> Started {
    Started {
        ts: at(millis),
        kernel: "6.12".to_owned(),
        interfaces: 1,
        hooks: Vec::new(),
        degraded: Vec::new(),
        filter: "everything".to_owned(),
        node: Some(name.to_owned()),
        addresses: vec![address.into()],
        complete: true,
        scope: Some(filter(None)),
    }
}

fn attempt(isn: u32, millis: u64, hops: Vec<Hop>, reply_hops: Vec<Hop>) -> AttemptReport {
    let answered = !reply_hops.is_empty();
    let off_node = Verdict::new(Point::OffNode, Confidence::Likely, "it left this node");
    AttemptReport {
        ts: at(millis),
        flow: flow(),
        original_dst: None,
        translated: None,
        src_pod: None,
        dst_pod: None,
        src_owner: None,
        dst_owner: None,
        service: None,
        outcome: if answered {
            Outcome::Answered
        } else {
            Outcome::Unanswered
        },
        corrects: None,
        syns: 1,
        waited_ms: 1000,
        isn: Some(isn),
        dns: None,
        tls: None,
        by: None,
        hops,
        reply_hops,
        verdict: (!answered).then_some(off_node),
    }
}

/// The client's node: the SYN goes out, and an answer comes in after so many microseconds.
fn client(isn: u32, millis: u64, answer_after: Option<u64>) -> AttemptReport {
    let reply = answer_after.map(|micros| hop(Direction::In, micros));
    let reply = reply.into_iter().collect();
    attempt(isn, millis, vec![hop(Direction::Out, 0)], reply)
}

/// The server's node: it comes in, and the answer goes out at once.
fn server(isn: u32, millis: u64) -> AttemptReport {
    let hops = vec![hop(Direction::In, 0)];
    attempt(isn, millis, hops, vec![hop(Direction::Out, 50)])
}

fn judged(path: &PathReport) -> (Point, Confidence, bool) {
    let verdict = path.verdict.as_ref().expect("a verdict");
    (verdict.point, verdict.confidence, path.between.is_some())
}

fn filter(to: Option<&str>) -> Scope {
    Scope {
        proto: "any".to_owned(),
        to: to.map(str::to_owned),
        from: None,
        netns: Vec::new(),
    }
}

const CONFIRMED: (Point, Confidence, bool) = (Point::OffNode, Confidence::Confirmed, true);
const LIKELY: (Point, Confidence, bool) = (Point::OffNode, Confidence::Likely, false);

/// What is said of a SYN that left `a`, if `b` has this trace.
fn lost_before(b: Trace) -> (Point, Confidence, bool) {
    let traces = [trace("a", [10, 0, 0, 1], vec![client(7, 1000, None)]), b];
    let paths = join(&traces);
    let lost = paths.iter().find(|path| path.isn == Some(7));
    judged(lost.expect("the lost one"))
}

#[test]
fn the_clocks_of_an_answered_attempt_are_compared() {
    // 90 s ahead; 1 ms there, 1 ms back.
    let traces = [
        trace("a", [10, 0, 0, 1], vec![client(7, 1000, Some(2050))]),
        trace("b", [10, 0, 0, 2], vec![server(7, 91_001)]),
    ];
    let paths = join(&traces);
    let [path] = paths.as_slice() else {
        panic!("not one path: {paths:?}");
    };
    assert_eq!(path.outcome, Outcome::Answered);
    assert!(path.verdict.is_none());
    let clock = &path.clock[1];
    assert_eq!(clock.offset_us, Some(90_000_000));
    assert_eq!(clock.uncertainty_us, Some(MS));
    // By the first node's clock.
    let times: Vec<_> = path.hops.iter().map(|hop| hop.hop.at_us).collect();
    assert_eq!(times, [0, MS]);
    let nodes: Vec<_> = path
        .reply_hops
        .iter()
        .map(|hop| hop.node.as_str())
        .collect();
    assert_eq!(nodes, ["b", "a"]);
}

#[test]
fn what_never_came_was_lost_between() {
    assert_eq!(
        lost_before(trace("b", [10, 0, 0, 2], Vec::new())),
        CONFIRMED
    );
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

/// A load balancer keeps the client's address, and the server answers the client directly.
#[test]
fn an_answer_is_lost_on_the_way_to_the_node_that_it_is_for() {
    let between = |out: Direction| {
        let hops = vec![hop(Direction::In, 0), hop(out, 10)];
        attempt(7, 1001, hops, Vec::new())
    };
    let balanced = [
        trace("a", [10, 0, 0, 1], vec![client(7, 1000, None)]),
        trace("lb", [10, 0, 0, 3], vec![between(Direction::Out)]),
        trace("b", [10, 0, 0, 2], vec![server(7, 1002)]),
    ];
    let path = &join(&balanced)[0];
    let between = path.between.as_ref().expect("between");
    assert_eq!((between.from.as_str(), between.to.as_str()), ("b", "a"));
    // The trace that has the address is not there: of the others, either may be the next.
    let [mut client, lb, b] = balanced;
    client.addresses.clear();
    let path = &join(&[client, lb, b])[0];
    assert!(path.between.is_none(), "{:?}", path.between);
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

#[test]
fn the_same_number_between_other_ends_is_another_attempt() {
    let mut other = server(7, 1001);
    other.flow.src = [10, 9, 9, 9].into();
    other.flow.dst = [10, 9, 9, 8].into();
    let traces = [
        trace("a", [10, 0, 0, 1], vec![client(7, 1000, None)]),
        trace("b", [10, 0, 0, 2], vec![other]),
    ];
    assert_eq!(join(&traces).len(), 2);
}

#[test]
fn a_lost_answer_was_lost_on_its_way_back() {
    let traces = [
        trace("a", [10, 0, 0, 1], vec![client(7, 1000, None)]),
        trace("b", [10, 0, 0, 2], vec![server(7, 1001)]),
    ];
    let path = &join(&traces)[0];
    assert_eq!(judged(path), CONFIRMED);
    let between = path.between.as_ref().expect("between");
    assert_eq!((between.from.as_str(), between.to.as_str()), ("b", "a"));
}

#[test]
fn a_later_record_replaces_what_it_corrects() {
    let mut corrected = client(7, 1000, Some(2_000_000));
    corrected.corrects = Some(Outcome::Unanswered);
    let traces = [trace(
        "a",
        [10, 0, 0, 1],
        vec![client(7, 1000, None), corrected],
    )];
    let paths = join(&traces);
    assert_eq!(paths.len(), 1);
    assert_eq!(paths[0].outcome, Outcome::Answered);
}

/// So many attempts with one number: a comparison of each with each would take hours.
#[test]
fn attempts_with_the_same_number_are_told_apart_by_their_ends() {
    const MANY: u16 = 20_000;
    let of = |make: fn(u32, u64) -> AttemptReport| {
        let attempts = (0..MANY).map(|number| {
            let mut attempt = make(1, u64::from(number));
            attempt.flow.sport = Some(number);
            attempt
        });
        attempts.collect::<Vec<_>>()
    };
    let there = of(|isn, millis| client(isn, millis, None));
    let mut far = of(server);
    // In another order, and the last one is missing.
    far.pop();
    far.reverse();
    let mut traces = [
        trace("n1", [10, 0, 0, 1], there),
        trace("n2", [10, 0, 0, 2], far),
    ];
    // Whether the filter would have matched is known by other attempts only.
    traces[1].filter = None;
    let paths = join(&traces);
    assert_eq!(paths.len(), usize::from(MANY));
    let sights = |path: &PathReport| path.hops.len();
    assert!(
        paths[..usize::from(MANY) - 1]
            .iter()
            .all(|path| sights(path) == 2)
    );
    assert_eq!(sights(&paths[usize::from(MANY) - 1]), 1);
}
