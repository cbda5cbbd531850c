//! What becomes of a packet that comes to a hook.

use super::*;
use crate::node::ruleset::passage::{Passage, Way};

fn arriving(hook: Hook, packet: HookPacket) -> HookPacket {
    HookPacket {
        hook: Some(hook),
        ..packet
    }
}

#[track_caller]
fn passed(passage: Passage) -> Vec<Way> {
    match passage {
        Passage::Passed(ways) => ways,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_translated_packet_leaves_with_its_new_destination() {
    let virtual_address = HookPacket {
        input: Device::None,
        ends: ends("10.30.2.1", 40000, "10.30.50.1", 443),
        ..arriving(Hook::Output, forwarded(443))
    };
    // Behind NAT it is dropped.
    match case("1a").pass(&virtual_address) {
        Passage::Dropped(rule) => assert_eq!(rule.chain, "late"),
        other => panic!("{other:?}"),
    }
    let other = HookPacket {
        ends: ends("10.30.2.1", 40000, "10.30.50.2", 443),
        ..virtual_address
    };
    let ways = passed(case("1a").pass(&other));
    assert_eq!(ways.len(), 1);
    assert_eq!(ways[0].packet.ends, other.ends);
}

#[test]
fn a_masqueraded_source_is_one_that_is_not_known() {
    let ways = passed(case("nat-masquerade").pass(&arriving(Hook::Postrouting, forwarded(80))));
    assert_eq!(ways.len(), 1);
    assert!(ways[0].unknown.src && ways[0].unknown.sport);
    assert!(!ways[0].unknown.dst);
    // Later packets have what the entry says.
    let after = ends("10.30.2.1", 1024, "10.30.2.2", 80);
    let later = HookPacket {
        tracked: Tracked::Established,
        nat: Translation {
            after: Some(after),
            ..Translation::default()
        },
        ..arriving(Hook::Postrouting, forwarded(80))
    };
    assert_eq!(
        passed(case("nat-masquerade").pass(&later))[0].packet.ends,
        after
    );
}

#[test]
fn a_balancer_has_several_ways() {
    let service = HookPacket {
        ends: ends("10.30.1.2", 40000, "10.30.60.1", 80),
        output: Device::None,
        ..arriving(Hook::Prerouting, forwarded(80))
    };
    let ways = passed(case("nat-balanced").pass(&service));
    let to: Vec<_> = ways
        .iter()
        .map(|way| way.packet.ends.dst.to_string())
        .collect();
    assert_eq!(to, ["10.30.2.2", "10.30.2.3", "10.30.2.4"]);
    assert!(ways.iter().all(|way| way.packet.ends.dport == Some(8080)));
    assert!(ways.iter().all(|way| way.packet.mark == Some(0x4000)));
}

#[test]
fn what_cannot_be_known_is_undecided() {
    let Passage::Undecided { rules, ways, .. } = case("9").pass(&forwarded(443)) else {
        panic!();
    };
    assert_eq!(rules.len(), 4);
    assert_eq!(ways.len(), 1);
    // One of them drops it for sure.
    let Passage::Undecided { ways, .. } = case("9").pass(&forwarded(80)) else {
        panic!();
    };
    assert!(ways.is_empty());
}
