//! Who has an address, and what is in between.

use crate::{
    net::{Bridge, tests::rule},
    node::world::{
        Between, FdbEntry, FdbKind, Kind, Obstacle, PortState, Vlan, World,
        build::{Build, id},
        link::MacvlanMode,
    },
};

/// What is between pod 2 and the holder of pod 3's address, and how that reads on the node.
fn between(world: &World) -> (Between, Option<String>) {
    let holders = world.holders("10.0.1.3".parse().unwrap());
    let between = world.between(id(2, 2), &holders[0]);
    let words = world.between_in_words(id(1, 1), &between);
    (between, words)
}

#[test]
fn pods_of_one_bridge_reach_each_other() {
    let build = Build::two_pods();
    let holders = build.world.holders("10.0.1.3".parse().unwrap());
    assert_eq!(holders.len(), 1);
    assert_eq!(
        build.world.holder_in_words(&holders[0], 1),
        "eth0 of network namespace n3"
    );
    assert_eq!(between(&build.world), (Between::Nothing, None));
    let bridge = build.world.holders("10.0.1.1".parse().unwrap());
    assert_eq!(build.world.between(id(2, 2), &bridge[0]), Between::Nothing);
    assert_eq!(build.world.between(id(1, 1), &holders[0]), Between::Nothing);
    let own = build.world.holders("10.0.1.2".parse().unwrap());
    assert_eq!(build.world.between(id(2, 2), &own[0]), Between::Same);
}

#[test]
fn a_veth_without_a_master_is_apart() {
    let mut build = Build::two_pods();
    build.at(id(1, 3)).port = None;
    build.at(id(1, 3)).master = None;
    let apart = Between::Apart {
        outer: id(1, 3),
        bridge: None,
        beside: Some(id(1, 1)),
    };
    let words = "vb is a port of no bridge".to_owned();
    assert_eq!(between(&build.world), (apart, Some(words)));

    build.bridge(id(1, 9), "cni1");
    build.port(id(1, 3), 9);
    let (found, words) = between(&build.world);
    assert!(matches!(found, Between::Apart { bridge: Some(bridge), .. } if bridge == id(1, 9)));
    assert_eq!(
        words.unwrap(),
        "vb is a port of the bridge cni1, which cni0 does not reach"
    );
}

#[test]
fn ports_that_do_not_forward_are_named() {
    let mut build = Build::two_pods();
    build.port(id(1, 3), 1).state = PortState::Listening;
    let Kind::Bridge(bridge) = &mut build.at(id(1, 1)).kind else {
        unreachable!();
    };
    bridge.forward_delay = 1500;
    build
        .at(id(1, 3))
        .port
        .as_mut()
        .unwrap()
        .forward_delay_timer = 1401;
    let (found, words) = between(&build.world);
    let obstacle = Obstacle::PortState(id(1, 3), PortState::Listening);
    assert_eq!(found, Between::Obstacles(vec![obstacle]));
    assert_eq!(
        words.unwrap(),
        "the bridge port vb is in STP state listening and forwards in 30 s"
    );

    let mut build = Build::two_pods();
    for port in [2, 3] {
        build.port(id(1, port), 1).isolated = true;
    }
    let (_, words) = between(&build.world);
    assert_eq!(
        words.unwrap(),
        "the bridge ports va and vb are both isolated"
    );
}

#[test]
fn links_that_are_down_are_named() {
    let mut build = Build::two_pods();
    build.at(id(3, 2)).up = false;
    build.at(id(1, 3)).carrier = false;
    build.port(id(1, 3), 1).state = PortState::Disabled;
    let (_, words) = between(&build.world);
    let words = words.unwrap();
    assert!(
        words.ends_with("vb has no carrier, and eth0 of network namespace n3 is down"),
        "{words}"
    );
    let holder = &build.world.holders("10.0.1.3".parse().unwrap())[0];
    assert_eq!(
        build.world.holder_in_words(holder, 1),
        "eth0 of network namespace n3, which is down"
    );
}

#[test]
fn an_address_that_failed_detection_is_held_but_not_used() {
    let mut build = Build::two_pods();
    let flags = build.address(id(3, 2), "fd00::3");
    (flags.tentative, flags.dadfailed) = (true, true);
    let address = "fd00::3".parse().unwrap();
    let holders = build.world.holders(address);
    assert!(holders[0].flags.dadfailed);
    assert_eq!(build.world.is_local(3, address), Some(false));
    assert_eq!(
        build.world.is_local(3, "10.0.1.3".parse().unwrap()),
        Some(true)
    );
    assert_eq!(build.world.is_local(9, address), None);
}

#[test]
fn an_address_may_be_held_twice() {
    let mut build = Build::two_pods();
    build.address(id(2, 2), "10.0.1.3");
    let holders = build.world.holders("10.0.1.3".parse().unwrap());
    let namespaces: Vec<_> = holders.iter().map(|holder| holder.netns).collect();
    assert_eq!(namespaces, [2, 3]);
}

#[test]
fn macvlan_links_and_their_parent_never_meet() {
    let mut build = Build::new();
    build.link(id(1, 1), "ens5", Kind::Physical);
    build.address(id(1, 1), "10.0.0.1");
    for pod in [2, 3] {
        let detail = Kind::Macvlan(MacvlanMode::Bridge);
        build.on(id(pod, 2), "eth0", id(1, 1), detail);
        build.address(id(pod, 2), &format!("10.0.1.{pod}"));
    }
    assert_eq!(between(&build.world).0, Between::Nothing);
    let parent = &build.world.holders("10.0.0.1".parse().unwrap())[0];
    let found = build.world.between(id(2, 2), parent);
    assert_eq!(
        build.world.between_in_words(id(1, 1), &found).unwrap(),
        "eth0 of network namespace n2 is on top of ens5, and the two never exchange frames"
    );
    let child = &build.world.holders("10.0.1.2".parse().unwrap())[0];
    let found = build.world.between(id(1, 1), child);
    assert!(matches!(found, Between::Obstacles(_)), "{found:?}");

    build.at(id(3, 2)).kind = Kind::Macvlan(MacvlanMode::Private);
    let obstacle = Obstacle::MacvlanMode(id(3, 2));
    assert_eq!(between(&build.world).0, Between::Obstacles(vec![obstacle]));
}

#[test]
fn a_bridge_that_filters_keeps_vlans_apart() {
    let mut build = Build::two_pods();
    build.at(id(1, 1)).kind = Kind::Bridge(Bridge {
        vlan_filtering: true,
        ..Bridge::default()
    });
    let access = |ifindex, id| Vlan {
        ifindex,
        first: id,
        last: id,
        pvid: true,
        untagged: true,
    };
    let vlans = |build: &mut Build, vlans: &[Vlan]| {
        let namespace = build.world.namespaces.get_mut(&1).unwrap();
        namespace.vlans = Some(vlans.to_vec());
    };
    vlans(&mut build, &[access(2, 10), access(3, 10)]);
    assert_eq!(between(&build.world).0, Between::Nothing);
    vlans(&mut build, &[access(2, 10), access(3, 20)]);
    let (_, words) = between(&build.world);
    assert_eq!(
        words.unwrap(),
        "the bridge port vb is not a member of VLAN 10"
    );
    vlans(&mut build, &[access(3, 20)]);
    let (_, words) = between(&build.world);
    assert_eq!(
        words.unwrap(),
        "the bridge port va takes no untagged frames"
    );
}

#[test]
fn a_bridge_keeps_what_it_takes_for_its_own() {
    let mut build = Build::two_pods();
    let mac = build.at(id(3, 2)).mac.clone().unwrap();
    let entry = |ifindex, kind| FdbEntry {
        bridge: 1,
        ifindex,
        mac: mac.clone(),
        vlan: None,
        kind,
    };
    build.fdb(1, entry(3, FdbKind::Learned));
    assert_eq!(between(&build.world).0, Between::Nothing);
    build.world.namespaces.get_mut(&1).unwrap().fdb = Some(vec![entry(2, FdbKind::Own)]);
    let (_, words) = between(&build.world);
    assert_eq!(
        words.unwrap(),
        "the bridge cni0 takes frames to 02:00:00:03:00:02 for its own: va has the same address"
    );
    build.world.namespaces.get_mut(&1).unwrap().fdb = Some(vec![entry(2, FdbKind::Static)]);
    let (_, words) = between(&build.world);
    assert_eq!(
        words.unwrap(),
        "a configured FDB entry of the bridge cni0 sends frames to 02:00:00:03:00:02 to va, but \
         that address is behind vb"
    );
}

#[test]
fn a_namespace_elsewhere_is_not_said_to_lack_a_bridge() {
    let mut build = Build::two_pods();
    build.pair((id(4, 3), "s0"), (id(5, 2), "eth0"));
    build.address(id(5, 2), "10.9.0.5");
    let holder = &build.world.holders("10.9.0.5".parse().unwrap())[0];
    let found = build.world.between(id(1, 1), holder);
    assert_eq!(
        build.world.between_in_words(id(1, 1), &found).unwrap(),
        "no bridge or cable leads there from cni0"
    );
}

#[test]
fn an_address_of_an_unconnected_namespace_is_another_hosts() {
    let mut build = Build::two_pods();
    build.pair((id(4, 3), "s0"), (id(5, 2), "eth0"));
    for netns in [3, 5] {
        build.address(id(netns, 2), "10.9.0.5");
    }
    let near = |build: &Build, netns| -> Vec<_> {
        let holders = build.world.holders_near(netns, "10.9.0.5".parse().unwrap());
        holders.iter().map(|holder| holder.netns).collect()
    };
    assert_eq!(near(&build, 2), [3]);
    assert_eq!(near(&build, 4), [5]);
    build.link(id(1, 7), "ens5", Kind::Physical);
    assert_eq!(near(&build, 4), [5]);
    build.link(id(4, 7), "ens6", Kind::Physical);
    assert_eq!(near(&build, 4), [3, 5]);
}

#[test]
fn what_leaves_the_node_may_meet_there() {
    let mut build = Build::two_pods();
    build.link(id(1, 7), "ens5", Kind::Physical);
    build.link(id(4, 7), "ens6", Kind::Physical);
    build.address(id(4, 7), "10.9.0.4");
    let holder = &build.world.holders("10.9.0.4".parse().unwrap())[0];
    let found = build.world.between(id(1, 7), holder);
    assert_eq!(found, Between::OutOfSight(id(4, 7)));
}

#[test]
fn the_rule_for_own_addresses_may_be_missing() {
    let mut build = Build::two_pods();
    let rules = |build: &mut Build, rules| {
        build.world.namespaces.get_mut(&1).unwrap().rules = rules;
        build.world.lookup_local_missing(1, true)
    };
    assert_eq!(rules(&mut build, None), None);
    assert_eq!(
        rules(&mut build, Some(vec![rule(255), rule(254)])),
        Some(false)
    );
    assert_eq!(rules(&mut build, Some(vec![rule(254)])), Some(true));
}
