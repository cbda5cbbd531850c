//! Which attempts are one, in which order, and where it was lost.

use super::*;
use crate::join::join;

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
