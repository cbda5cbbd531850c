use std::{net::Ipv4Addr, time::SystemTime};

use super::*;
use crate::{
    model::{Confidence, Point, Protocol, Reason, Report},
    sink::fixtures,
};

const LIMIT: u64 = 40;

fn drop(src: [u8; 4], subject: &str) -> DropReport {
    let Report::Drop(drop) = fixtures::drop_on("eth0") else {
        unreachable!("a drop");
    };
    let mut drop = *drop;
    drop.count = 3;
    drop.reason = Reason::from("NETFILTER_DROP");
    drop.flow = Flow {
        proto: Protocol::Tcp,
        src: Ipv4Addr::from(src).into(),
        sport: Some(1),
        dst: Ipv4Addr::new(10, 50, 2, 2).into(),
        dport: Some(443),
    };
    drop.verdict = Verdict {
        subject: subject.to_owned(),
        ..Verdict::new(Point::Firewall, Confidence::Confirmed, "dropped by a rule")
    };
    drop
}

/// Drops of 256 networks, in turn; how many of them are shown.
fn flood(excess: &mut Excess, count: u32, now: Nanos) -> u64 {
    let mut shown = 0;
    for n in 0..count {
        let [.., third, fourth] = n.to_be_bytes();
        let one = drop([198, 18, fourth, third], "rule");
        shown += u64::from(excess.shows_drop(&one, SystemTime::UNIX_EPOCH, now));
    }
    shown
}

#[test]
fn records_of_a_second_are_bounded_and_the_others_are_counted_exactly() {
    let mut excess = Excess::new(Some(LIMIT));
    let mut shown = 0;
    for second in 1..=5 {
        let of_second = flood(&mut excess, 10_000, second * SECOND);
        assert!(of_second <= LIMIT, "{of_second}");
        shown += of_second;
    }
    assert!(shown >= 5 * LIMIT / 2, "{shown}");
    let more = excess.due(5 * SECOND, false);
    let [more] = &more[..] else {
        panic!("one kind: {more:?}");
    };
    assert_eq!(more.records, 50_000 - shown);
    assert_eq!(more.count, 3 * more.records);
    assert_eq!(more.sources, SOURCES as u64);
    assert_eq!(
        (excess.total(), excess.packets()),
        (more.records, more.count)
    );
    assert!(excess.due(9 * SECOND, true).is_empty());
}

#[test]
fn a_quiet_network_is_shown_amid_a_flood() {
    let mut excess = Excess::new(Some(LIMIT));
    for second in 1..=20 {
        flood(&mut excess, 10_000, second * SECOND);
        // Two drops in a second are little.
        for _ in 0..2 {
            let client = drop([10, 50, 1, 2], "rule");
            let is_shown = excess.shows_drop(&client, SystemTime::UNIX_EPOCH, second * SECOND);
            assert!(is_shown || second == 1, "in second {second}");
        }
    }
}

#[test]
fn the_first_of_a_kind_is_shown_amid_a_flood() {
    let mut excess = Excess::new(Some(LIMIT));
    flood(&mut excess, 10_000, SECOND);
    flood(&mut excess, 10_000, 2 * SECOND);
    let of_flood = |subject| drop([198, 18, 7, 7], subject);
    let at = SystemTime::UNIX_EPOCH;
    assert!(!excess.shows_drop(&of_flood("rule"), at, 2 * SECOND));
    assert!(excess.shows_drop(&of_flood("another"), at, 2 * SECOND));
    assert!(!excess.shows_drop(&of_flood("another"), at, 2 * SECOND));
}

#[test]
fn what_is_little_is_all_shown() {
    let mut excess = Excess::new(Some(LIMIT));
    for second in 1..=20 {
        assert_eq!(flood(&mut excess, 20, second * SECOND), 20);
    }
    assert!(excess.due(Nanos::MAX, true).is_empty());
    let mut all = Excess::new(None);
    assert_eq!(flood(&mut all, 10_000, SECOND), 10_000);
}
