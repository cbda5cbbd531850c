//! What a full table does with more attempts.

use std::net::Ipv4Addr;

use tracer_common::tuple::Tuple;

use super::*;
use crate::{
    decode::tls::RecordStart,
    engine::SECOND,
    model::{Direction, Place},
};

const CAPACITY: usize = 1 << 10;

fn syn(isn: u32, at: u64, ifindex: u32) -> Sighting {
    Sighting {
        at,
        place: Place {
            netns: 1,
            ifindex,
            ifname: "eth0".to_owned(),
            mtu: 1500,
            dir: Direction::In,
        },
        flow: Tuple {
            proto: protocol::TCP,
            ..Tuple::default()
        },
        outer: None,
        vni: None,
        original: None,
        seq: Some(isn),
        part: Part::Opens(AttemptKey::Tcp(isn), None),
    }
}

#[test]
fn a_syn_without_a_place_counts_once_however_many_hops_it_has() {
    const LEFT_OUT: u32 = 100;
    let mut table = Table::new(1_000_000_000, CAPACITY);
    let all = u32::try_from(CAPACITY).unwrap() + LEFT_OUT;
    for isn in 0..all {
        for hop in 1..=3 {
            table.sighted(&syn(isn, isn.into(), hop), 0);
        }
    }
    assert_eq!(table.attempts.len(), CAPACITY);
    assert_eq!(table.untracked(), u64::from(LEFT_OUT));
}

#[test]
fn a_flood_from_one_network_makes_room_for_others() {
    let mut table = Table::new(1_000_000_000, CAPACITY);
    let from = |isn: u32, address: [u8; 4]| {
        let mut syn = syn(isn, isn.into(), 1);
        syn.flow.src = IpAddr::from(Ipv4Addr::from(address)).into();
        syn
    };
    let capacity = u32::try_from(CAPACITY).unwrap();
    for isn in 0..capacity {
        table.sighted(&from(isn, [198, 18, 0, isn.to_be_bytes()[3]]), 0);
    }
    let own = table.sighted(&from(capacity, [10, 50, 1, 2]), 0);
    assert_eq!(own, Some(AttemptKey::Tcp(capacity)));
    assert_eq!((table.attempts.len(), table.untracked()), (CAPACITY, 1));
    // More of the flood finds no room, and does not push that one out.
    for isn in 0..100 {
        assert_eq!(
            table.sighted(&from(capacity + 1 + isn, [198, 18, 0, 7]), 0),
            None
        );
    }
    assert!(table.get(&AttemptKey::Tcp(capacity)).is_some());
    assert_eq!(table.untracked(), 101);
}

#[test]
fn what_finds_room_later_is_not_counted_as_left_out() {
    let mut table = Table::new(1_000_000_000, CAPACITY);
    let capacity = u32::try_from(CAPACITY).unwrap();
    for isn in 0..=capacity {
        table.sighted(&syn(isn, isn.into(), 1), 0);
    }
    assert_eq!(table.untracked(), 1);
    table.remove(&AttemptKey::Tcp(7), 0);
    table.sighted(&syn(capacity, u64::from(capacity) + 1, 1), 0);
    assert_eq!((table.attempts.len(), table.untracked()), (CAPACITY, 0));
}

#[test]
fn a_server_that_stayed_silent_counts_after_its_attempt_was_evicted() {
    let mut table = Table::new(SECOND, CAPACITY);
    let mut hello = syn(1, 0, 1);
    table.sighted(&hello, 0);
    let segment = Segment {
        seq: 2,
        ack: 1,
        payload: 517,
        start: RecordStart([0x16, 3, 1, 2, 0, 1]),
    };
    hello.part = Part::Settles(AttemptKey::Tcp(1), segment);
    table.sighted(&hello, 0);
    let attempt = table.get_mut(&AttemptKey::Tcp(1)).unwrap();
    attempt.tls.as_mut().unwrap().stage = TlsStage::Acknowledged;
    assert_eq!(table.tls(SECOND / 2).silent, 0);
    assert_eq!(table.tls(SECOND).silent, 1);
    table.expired(200 * SECOND);
    assert!(table.attempts.is_empty());
    assert_eq!(table.tls(200 * SECOND).silent, 1);
}
