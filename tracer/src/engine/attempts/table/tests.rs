//! What a full table does with more attempts.

use std::net::Ipv4Addr;

use tracer_common::tuple::Tuple;

use super::*;
use crate::model::{Direction, Place};

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
        original: None,
        seq: Some(isn),
        part: Part::Opens(AttemptKey::Tcp(isn), None),
    }
}

#[test]
fn a_syn_without_a_place_counts_once_however_many_hops_it_has() {
    const LEFT_OUT: u32 = 100;
    let mut table = Table::new(1_000_000_000);
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
    let mut table = Table::new(1_000_000_000);
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
    let mut table = Table::new(1_000_000_000);
    let capacity = u32::try_from(CAPACITY).unwrap();
    for isn in 0..=capacity {
        table.sighted(&syn(isn, isn.into(), 1), 0);
    }
    assert_eq!(table.untracked(), 1);
    table.remove(&AttemptKey::Tcp(7));
    table.sighted(&syn(capacity, u64::from(capacity) + 1, 1), 0);
    assert_eq!((table.attempts.len(), table.untracked()), (CAPACITY, 0));
}
