//! A client and a server with a router between them.

use super::table::{Node, flow};
use crate::{
    model::Hook,
    net::{Ipv4Settings, Mac, Neighbor, NeighborState, Rule, RuleAction, tests::rule},
    node::{
        route::Refusal,
        way::{Because, DroppedBy, End, Packet, Start, Way, walked::way_back},
        world::{
            Kind,
            build::{Build, id},
        },
    },
};

const CLIENT: &str = "10.1.0.2";
const SERVER: &str = "10.2.0.2";

/// Namespaces 2 (client) and 3 (server), with namespace 1 between them.
fn routed() -> Node {
    let mut build = Build::new();
    for (netns, port, name) in [(2, 2, "c"), (3, 3, "s")] {
        build.pair((id(1, port), name), (id(netns, 2), "eth0"));
        build.address(id(1, port), &format!("10.{}.0.1", port - 1));
        build.address(id(netns, 2), &format!("10.{}.0.2", port - 1));
        build.link(id(netns, 1), "lo", Kind::Loopback);
    }
    build.link(id(1, 1), "lo", Kind::Loopback);
    let mut node = Node::new(build);
    for (netns, gateway) in [(2, "10.1.0.1"), (3, "10.2.0.1")] {
        node.route(netns, "0.0.0.0/0", 2, Some(gateway));
    }
    node.route(1, "10.1.0.0/24", 2, None);
    node.route(1, "10.2.0.0/24", 3, None);
    node
}

fn end(node: &Node) -> String {
    node.end(Start::Sent(2), CLIENT, SERVER)
}

#[test]
fn a_packet_is_routed_and_delivered() {
    let node = routed();
    let way = node.walk(Start::Sent(2), CLIENT, SERVER);
    let words: Vec<_> = way
        .steps
        .iter()
        .map(|step| step.in_words(&node.build.world))
        .collect();
    assert_eq!(
        words,
        [
            "a process sends it",
            "default via 10.1.0.1 dev eth0",
            "OUTPUT lets it pass",
            "POSTROUTING lets it pass",
            "10.1.0.1 is at 02:00:00:01:00:02 (c of network namespace n1 answers for its own \
             address)",
            "out through eth0",
            "in through c",
            "PREROUTING lets it pass",
            "10.2.0.0/24 dev s",
            "FORWARD lets it pass",
            "POSTROUTING lets it pass",
            "10.2.0.2 is at 02:00:00:03:00:02 (eth0 of network namespace n3 answers for its own \
             address)",
            "out through s",
            "in through eth0",
            "PREROUTING lets it pass",
            "INPUT lets it pass",
        ]
    );
    assert_eq!(
        way.end.in_words(&node.build.world),
        "delivered in network namespace n3, through eth0"
    );
    let from_the_router = node.end(Start::In(id(1, 2)), CLIENT, SERVER);
    assert_eq!(
        from_the_router,
        "delivered in network namespace n3, through eth0"
    );
}

#[test]
fn a_namespace_reaches_itself_by_lo() {
    let mut node = routed();
    let to_itself = |node: &Node| node.end(Start::Sent(2), CLIENT, CLIENT);
    assert_eq!(
        to_itself(&node),
        "delivered in network namespace n2, through lo"
    );
    node.build.at(id(2, 1)).up = false;
    assert_eq!(
        to_itself(&node),
        "dropped at lo of network namespace n2: lo is down"
    );
}

#[test]
fn a_rule_ends_the_way() {
    for (netns, hook) in [
        (2, Hook::Output),
        (1, Hook::Prerouting),
        (1, Hook::Forward),
        (1, Hook::Postrouting),
        (3, Hook::Input),
    ] {
        let mut node = routed();
        node.drops(netns, hook);
        let found = node.walk(Start::Sent(2), CLIENT, SERVER).end;
        let expected = End::Dropped {
            netns,
            link: None,
            because: Because::Rule(
                hook,
                DroppedBy {
                    text: "a rule".to_owned(),
                    by_policy: false,
                    rejects: false,
                    counter: None,
                },
            ),
        };
        assert_eq!(found, expected);
    }
}

#[test]
fn a_router_may_not_route() {
    let mut node = routed();
    node.not_forwarding.push((1, 2));
    assert_eq!(
        end(&node),
        "dropped at c of network namespace n1: packets that come in through c are not forwarded"
    );
    let mut node = routed();
    node.remove_routes(1);
    assert_eq!(
        end(&node),
        "dropped at c of network namespace n1: 10.2.0.2: no route"
    );
    let mut node = routed();
    node.remove_routes(2);
    assert_eq!(end(&node), "dropped: 10.2.0.2: no route");
}

#[test]
fn a_translated_packet_goes_where_it_is_translated_to() {
    let mut node = routed();
    node.dnat(1, Hook::Prerouting, &flow(CLIENT, "10.9.0.1"), &[SERVER]);
    let found = node.end(Start::Sent(2), CLIENT, "10.9.0.1");
    assert_eq!(found, "delivered in network namespace n3, through eth0");
    let mut node = routed();
    node.dnat(2, Hook::Output, &flow(CLIENT, "10.9.0.1"), &[CLIENT]);
    let found = node.end(Start::Sent(2), CLIENT, "10.9.0.1");
    assert_eq!(found, "delivered in network namespace n2, through lo");
}

#[test]
fn a_next_hop_that_no_one_has_is_not_answered_for() {
    let node = routed();
    assert_eq!(
        node.end(Start::Sent(2), CLIENT, "10.2.0.9"),
        "dropped at s of network namespace n1: ARP requests for 10.2.0.9 get no answer at s"
    );
    let mut node = routed();
    node.build.at(id(1, 2)).up = false;
    assert_eq!(
        end(&node),
        "dropped at eth0 of network namespace n2: ARP requests for the gateway 10.1.0.1 get no \
         answer at eth0; 10.1.0.1 is an address of c of network namespace n1, which is down, but c \
         of network namespace n1 is down"
    );
}

#[test]
fn a_wrong_neighbor_entry_is_used() {
    let mut node = routed();
    let entry = |state, mac: u8| Neighbor {
        address: SERVER.parse().unwrap(),
        ifindex: 3,
        state,
        lladdr: Some(Mac(vec![2, 9, 9, 9, 9, mac])),
        probes: 0,
    };
    let set = |node: &mut Node, entry| {
        node.build.world.namespaces.get_mut(&1).unwrap().neighbors = Some(vec![entry]);
    };
    set(&mut node, entry(NeighborState::Stale, 9));
    assert_eq!(
        end(&node),
        "dropped at eth0 of network namespace n3: frames for 10.2.0.2 go to the MAC address \
         02:09:09:09:09:09, but 10.2.0.2 is at eth0, whose address is 02:00:00:03:00:02"
    );
    set(&mut node, entry(NeighborState::Failed, 9));
    assert_eq!(
        end(&node),
        "delivered in network namespace n3, through eth0"
    );
}

#[test]
fn a_large_packet_does_not_fit() {
    let mut node = routed();
    node.build.at(id(1, 3)).mtu = 1400;
    let mut packet = Packet::first_of(flow(CLIENT, SERVER));
    packet.len = Some(1500);
    let walk = |packet| {
        let way = node.walk_packet(Start::Sent(2), &packet);
        way.end.in_words(&node.build.world)
    };
    assert_eq!(
        walk(packet.clone()),
        "dropped at c of network namespace n1: it is larger than the MTU of s, 1400"
    );
    packet.dont_fragment = false;
    packet.len = Some(1300);
    packet.ttl = Some(1);
    assert_eq!(
        walk(packet),
        "dropped at c of network namespace n1: it has used up its hops (TTL)"
    );
}

#[test]
fn what_leaves_by_a_nic_leaves() {
    let mut node = routed();
    node.build.link(id(1, 9), "ens5", Kind::Physical);
    node.build.address(id(1, 9), "192.0.2.1");
    node.route(1, "0.0.0.0/0", 9, Some("192.0.2.254"));
    let leaves = |node: &Node| node.end(Start::Sent(2), CLIENT, "198.51.100.7");
    assert_eq!(
        leaves(&node),
        "leaves through ens5 of network namespace n1 to 192.0.2.254"
    );
    node.build.at(id(1, 9)).kind = Kind::Tun { vnet_hdr: false };
    assert_eq!(
        leaves(&node),
        "leaves through ens5 of network namespace n1 to 192.0.2.254"
    );
}

#[test]
fn proxy_arp_takes_a_route() {
    let mut node = routed();
    node.remove_routes(2);
    node.route(2, "0.0.0.0/0", 2, Some("169.254.1.1"));
    node.build.at(id(1, 2)).ipv4 = Some(Ipv4Settings {
        proxy_arp: 1,
        forwarding: 1,
        ..Ipv4Settings::default()
    });
    assert_eq!(
        end(&node),
        "dropped at eth0 of network namespace n2: ARP requests for the gateway 169.254.1.1 get no \
         answer at eth0; c of network namespace n1 does proxy ARP, but its namespace has no other way there \
         (169.254.1.1: no route)"
    );
    node.build.link(id(1, 9), "ens5", Kind::Physical);
    node.route(1, "0.0.0.0/0", 9, Some("192.0.2.254"));
    assert_eq!(
        end(&node),
        "delivered in network namespace n3, through eth0"
    );
}

#[test]
fn what_is_missing_is_said() {
    let mut node = routed();
    node.build.world.namespaces.get_mut(&1).unwrap().neighbors = None;
    assert_eq!(end(&node), "undecided: the neighbor entries were not read");
}

#[test]
fn a_balancer_has_a_way_for_each_choice() {
    let mut node = routed();
    let service = flow(CLIENT, "10.9.0.1");
    let endpoints = [SERVER, "10.2.0.9", CLIENT];
    node.dnat(1, Hook::Prerouting, &service, &endpoints);
    let packet = Packet::first_of(service);
    let ways = Way::all_of(&node.build.world, &node, Start::Sent(2), &packet);
    let delivered = |way: &&Way| matches!(way.end, End::Delivered { .. });
    assert_eq!(ways.len(), 3);
    assert_eq!(ways.iter().filter(delivered).count(), 2);
}

#[test]
fn a_program_may_keep_a_question_that_was_given_up() {
    let mut node = routed();
    node.programs.push((id(1, 2), true));
    let namespaces = &mut node.build.world.namespaces;
    let entries = namespaces.get_mut(&2).unwrap();
    entries.neighbors = Some(vec![Neighbor {
        address: "10.1.0.1".parse().unwrap(),
        ifindex: 2,
        state: NeighborState::Failed,
        lladdr: None,
        probes: 3,
    }]);
    let found = end(&node);
    assert!(
        found.starts_with("dropped at eth0 of network namespace n2: ARP requests for the gateway")
            && found.contains("sees the questions (TCX ingress: program a_program (id 1))"),
        "{found}"
    );
}

#[test]
fn a_program_may_do_anything() {
    for at in [(id(2, 2), false), (id(1, 2), true)] {
        let mut node = routed();
        node.programs.push(at);
        let found = end(&node);
        assert!(
            found.starts_with("undecided: whether a program at "),
            "{found}"
        );
    }
}

#[test]
fn a_policy_rule_that_refuses_the_packet_is_named() {
    let mut node = routed();
    let rule = |action| Rule {
        priority: 40,
        to: Some("10.2.0.0/24".parse().unwrap()),
        action,
        ..rule(0)
    };
    let to = (1, SERVER.parse().unwrap());
    let named = "dropped at c of network namespace n1: the policy rule `40: from all to 10.2.0.0/24 \
                 prohibit` refuses what goes to 10.2.0.2";
    node.build.rules(1, &[rule(RuleAction::Prohibit)]);
    assert!(
        !end(&node).contains("policy rule"),
        "the kernel has a route"
    );
    node.refusing.insert(to, Refusal::Prohibit);
    assert_eq!(end(&node), named);
    // Its own error may be that of the reverse-path filter.
    node.build.rules(1, &[rule(RuleAction::Blackhole)]);
    node.refusing.insert(to, Refusal::Source);
    assert!(end(&node).starts_with("undecided: whether the policy rule"));
    node.build.rules(1, &[]);
    assert!(end(&node).contains("reverse-path filter"));
}

#[test]
fn a_mark_that_is_not_known_decides_nothing() {
    let by_mark = Rule {
        mark: Some((7, u32::MAX)),
        ..rule(100)
    };
    let mut node = routed();
    node.build.rules(1, std::slice::from_ref(&by_mark));
    assert!(end(&node).starts_with("delivered"));
    node.marks(1, Hook::Prerouting, &flow(CLIENT, SERVER));
    assert!(end(&node).starts_with("undecided: the packet's mark"));
    // No rule of that namespace asks for it, and it does not come into another one.
    node.build.rules(1, &[]);
    node.build.rules(3, &[by_mark]);
    assert!(end(&node).starts_with("delivered"));
    // The server's answers may have the question's mark.
    node.passes(1, Hook::Prerouting);
    let back = |node: &Node| {
        let ways = [node.walk(Start::Sent(2), CLIENT, SERVER)];
        let back = way_back(&node.build.world, node, &ways, flow(CLIENT, SERVER));
        back.unwrap().end.in_words(&node.build.world)
    };
    assert!(back(&node).starts_with("delivered"), "{}", back(&node));
    node.marks(3, Hook::Input, &flow(CLIENT, SERVER));
    node.build.settings(3).tcp_fwmark_accept = Some(0);
    assert!(back(&node).starts_with("delivered"));
    node.build.settings(3).tcp_fwmark_accept = Some(1);
    assert!(back(&node).starts_with("undecided: the packet's mark"));
}
