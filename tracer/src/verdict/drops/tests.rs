//! Each reason and function, with the point that it must lead to.

use std::{collections::HashSet, sync::Arc, time::SystemTime};

use tracer_common::{
    event::{DropKey, ct},
    packet::{Tcp, protocol},
    tuple::Tuple,
};

use super::*;
use crate::{
    decode::drop::Decoder,
    kernel::clock,
    model::{Flow, Hook, Point, Protocol, Verdict},
    node::{
        conntrack::Conntrack,
        gather::Fact,
        overlay,
        queue_program::QueueProgram,
        route::Refusal,
        ruleset::{Hint, HookPacket, Ruleset, Suspect, Suspects, packet::Ends},
        world::{
            self,
            build::{Build, id},
        },
    },
    verdict::drop::{is_noise, judge, wants},
};

pub(in crate::verdict) fn facts(reason: &str, function: &str) -> DropFacts {
    let key = DropKey {
        flow: Tuple {
            proto: protocol::TCP,
            ..Tuple::default()
        },
        location: 0,
        reason: 0,
        netns: 0,
        ifindex: 0,
        tcp_flags: Tcp::SYN,
        has_payload: 0,
        icmp_type: 0,
        reserved: 0,
    };
    DropFacts {
        reason: reason.into(),
        function: Some(function.to_owned()),
        ..Decoder::new(Default::default(), Default::default(), clock::now())
            .key(&key, SystemTime::UNIX_EPOCH)
    }
}

fn tunnelled(reason: &str, function: &str) -> DropFacts {
    let outer = Flow {
        proto: Protocol::Udp,
        src: [192, 0, 2, 1].into(),
        sport: Some(50000),
        dst: [192, 0, 2, 2].into(),
        dport: Some(8472),
    };
    DropFacts {
        outer: Some(outer),
        ..facts(reason, function)
    }
}

#[test]
fn each_rule_has_a_name_of_its_own() {
    let names: HashSet<_> = rules().map(|rule| rule.name).collect();
    assert_eq!(names.len(), rules().count());
}

#[test]
fn reasons_and_functions_lead_to_points() {
    for (reason, function, point) in [
        ("NETFILTER_DROP", "nft_do_chain", Point::Firewall),
        ("TC_EGRESS", "__dev_queue_xmit", Point::Firewall),
        ("NOT_SPECIFIED", "do_xdp_generic", Point::Firewall),
        ("IP_RPFILTER", "ip_rcv_finish_core", Point::Rpfilter),
        ("NEIGH_FAILED", "neigh_invalidate", Point::Endpoint),
        ("NOT_SPECIFIED", "neigh_invalidate", Point::Endpoint),
        ("NOT_SPECIFIED", "ip_error", Point::Route),
        ("IP_INNOROUTES", "ip6_pkt_discard", Point::Route),
        ("QDISC_DROP", "__dev_queue_xmit", Point::Queue),
        ("NO_SOCKET", "tcp_v4_rcv", Point::Socket),
        ("NO_SOCKET", "cookie_v4_check", Point::Listener),
        ("TCP_LISTEN_OVERFLOW", "tcp_v4_rcv", Point::Listener),
        ("TCP_CSUM", "tcp_v4_rcv", Point::Checksum),
        ("VXLAN_VNI_NOT_FOUND", "vxlan_rcv", Point::Overlay),
        ("FQ_FLOW_LIMIT", "fq_enqueue", Point::Queue),
        ("CAKE_FLOOD", "cake_dequeue", Point::Queue),
        ("NOMEM", "tun_net_xmit", Point::Queue),
        ("TCP_ZEROWINDOW", "tcp_data_queue", Point::Socket),
        ("TCP_OFO_QUEUE_PRUNE", "tcp_prune_ofo_queue", Point::Socket),
        ("SECURITY_HOOK", "tcp_v4_rcv", Point::Firewall),
        ("TAP_TXFILTER", "tun_net_xmit", Point::Firewall),
        (
            "TC_CHAIN_NOTFOUND",
            "__netif_receive_skb_core",
            Point::Firewall,
        ),
        ("IP_TUNNEL_ECN", "vxlan_rcv", Point::Overlay),
        ("VXLAN_ENTRY_EXISTS", "vxlan_rcv", Point::Overlay),
        ("RECURSION_LIMIT", "__dev_queue_xmit", Point::Overlay),
        ("IPV6_NDISC_HOP_LIMIT", "icmpv6_rcv", Point::Endpoint),
        ("IPV6DISABLED", "ipv6_rcv", Point::Route),
        (
            "OVS_DROP_EXPLICIT",
            "ovs_dp_process_packet",
            Point::Firewall,
        ),
        ("OVS_DROP_METER", "do_execute_actions", Point::Queue),
        ("HDR_TRUNC", "some_driver", Point::Unknown),
        ("NOT_SPECIFIED", "some_driver", Point::Unknown),
    ] {
        assert_eq!(
            judge(&facts(reason, function), &NodeFacts::default()).point,
            point,
            "{reason} @{function}"
        );
    }
}

#[test]
fn the_overlays_own_packets_are_the_overlays() {
    for (reason, function) in [
        ("NETFILTER_DROP", "nf_hook_slow"),
        ("NO_SOCKET", "__udp4_lib_rcv"),
        ("NEIGH_FAILED", "neigh_invalidate"),
        ("IP_OUTNOROUTES", "vxlan_xmit_one"),
    ] {
        assert_eq!(
            judge(&tunnelled(reason, function), &NodeFacts::default()).point,
            Point::Overlay,
            "{reason}"
        );
    }
}

#[test]
fn a_tunnel_that_gives_no_reason_is_judged_by_what_it_lacks() {
    let said = |function: &str, overlay| {
        let mut node = NodeFacts::default();
        node.around.overlay = Some(overlay);
        let facts = facts("NOT_SPECIFIED", function);
        let verdict = judge(&facts, &node);
        assert_eq!(verdict.point, Point::Overlay);
        verdict.why
    };
    let mut lacks = overlay::tests::whole();
    assert!(said("vxlan_xmit", lacks.clone()).contains("the tunnel code dropped it"));
    lacks.remotes[0].route.answer = Err(Refusal::NoRoute);
    assert!(said("vxlan_xmit_one", lacks.clone()).contains("no route to the remote VTEP"));
    lacks.fdb.clear();
    assert!(said("vxlan_xmit", lacks.clone()).contains("knows no VTEP"));
    // What comes in needs none of that.
    assert!(said("vxlan_rcv", lacks).contains("the tunnel code dropped it"));
}

#[test]
fn what_no_rule_explains_is_said_with_what_is_known() {
    let verdict = judge(
        &facts("SOMETHING_NEW", "some_function"),
        &NodeFacts::default(),
    );
    assert_eq!(verdict.point, Point::Unknown);
    assert!(verdict.why.contains("some_function") && verdict.why.contains("SOMETHING_NEW"));
}

#[test]
fn what_is_left_unknown_on_purpose_says_what_the_kernel_means() {
    let verdict = judge(
        &facts("TCP_RFC7323_TSECR", "tcp_v4_rcv"),
        &NodeFacts::default(),
    );
    assert_eq!((verdict.point, verdict.rule), (Point::Unknown, None));
    assert!(
        verdict
            .why
            .contains("echoes a TCP timestamp that was never sent")
    );
}

/// A tunnel's packet that lacks a link-layer header, or an entry in a full table, waits for no answer.
#[test]
fn not_every_trouble_with_neighbors_is_silence_of_the_vtep() {
    for reason in ["NEIGH_HH_FILLFAIL", "NEIGH_CREATEFAIL"] {
        let verdict = judge(
            &tunnelled(reason, "ip_finish_output2"),
            &NodeFacts::default(),
        );
        assert_ne!(verdict.point, Point::Overlay, "{reason}");
    }
}

#[test]
fn an_enforcer_behind_nfqueue_is_known_by_what_the_kernel_keeps_of_its_name() {
    let refused_by = |comm: &str| {
        // What a comm can hold: an enforcer whose name does not fit is known by a part of it.
        assert!(comm.len() <= 15, "{comm}");
        let mut facts = facts("NOT_SPECIFIED", "nfqnl_reinject");
        facts.stack = ["nfqnl_reinject", "nfqnl_recv_verdict", "nfnetlink_rcv_msg"]
            .map(str::to_owned)
            .into();
        facts.comm = comm.to_owned();
        judge(&facts, &NodeFacts::default()).point
    };
    for comm in ["kube-network-po", "netpol", "kindnetd"] {
        assert_eq!(refused_by(comm), Point::Policy, "{comm}");
    }
    for comm in ["suricata", "kube-network", "netpolicy", "kindnet", ""] {
        assert_eq!(refused_by(comm), Point::Firewall, "{comm}");
    }
}

/// A packet that a program has refused, and what else is known of the program.
fn refused_through_queue(comm: &str, node: &NodeFacts) -> Verdict {
    let mut facts = facts("NOT_SPECIFIED", "nfqnl_reinject");
    facts.stack = vec!["nfqnl_reinject".to_owned(), "nfqnl_recv_verdict".to_owned()];
    facts.comm = comm.to_owned();
    judge(&facts, node)
}

#[test]
fn an_enforcer_behind_nfqueue_is_known_by_executable_and_queue_rule() {
    let executable = |name: &str| NodeFacts {
        queue_program: Some(QueueProgram {
            executable: Some(name.to_owned()),
            pod_uid: None,
        }),
        ..NodeFacts::default()
    };
    // Threads may be called anything.
    let netpol = executable("kube-network-policies");
    assert_eq!(
        refused_through_queue("worker-3", &netpol).point,
        Point::Policy
    );
    let other = executable("suricata");
    assert_eq!(refused_through_queue("W#01", &other).point, Point::Firewall);
    let rules = |table: &str| {
        let json = format!(
            r#"{{"nftables": [
            {{"table": {{"family": "inet", "name": "{table}"}}}},
            {{"chain": {{"family": "inet", "table": "{table}", "name": "post", "type": "filter",
              "hook": "postrouting", "prio": -5, "policy": "accept"}}}},
            {{"rule": {{"family": "inet", "table": "{table}", "chain": "post", "handle": 4,
              "expr": [{{"queue": {{"num": 100, "flags": "bypass"}}}}]}}}}]}}"#
        );
        let ruleset = Ruleset::from_texts(&json, "", "").expect("a ruleset");
        let ends = Ends {
            src: [10, 244, 1, 4].into(),
            dst: [10, 244, 1, 2].into(),
            sport: Some(40000),
            dport: Some(8080),
        };
        let packet = HookPacket {
            hook: Some(Hook::Postrouting),
            ..HookPacket::new(ends, protocol::TCP)
        };
        NodeFacts {
            suspects: Some(ruleset.suspects(&packet, Hint::Queue)),
            ..NodeFacts::default()
        }
    };
    for (table, point) in [
        ("kube-network-policies", Point::Policy),
        ("kindnet-network-policies", Point::Policy),
        ("ids", Point::Firewall),
    ] {
        let verdict = refused_through_queue("worker-3", &rules(table));
        assert_eq!(verdict.point, point, "{table}");
    }
}

#[test]
fn a_redirect_about_a_translated_connection_is_noise() {
    let redirect = |kind: u8, status: u32| {
        let mut facts = facts("NETFILTER_DROP", "nf_hook_slow");
        facts.flow.proto = Protocol::Icmp;
        facts.key.icmp_type = kind;
        facts.hook = Some(Hook::Output);
        facts.wire = Some(Arc::new(crate::decode::drop::Wire {
            ct: ct::STATUS | ct::ENTRY | status << ct::STATUS_SHIFT,
            ..Default::default()
        }));
        facts
    };
    let none_dropped_it = |rules: Vec<Suspect>| NodeFacts {
        suspects: Some(Suspects {
            certain: !rules.is_empty(),
            rules,
            complete: true,
            translates: true,
            ..Suspects::default()
        }),
        ..NodeFacts::default()
    };
    let done = ct::SRC_NAT_DONE | ct::DST_NAT_DONE;
    let node = none_dropped_it(Vec::new());
    assert!(is_noise(&redirect(5, done | ct::DST_NAT), &node));
    // Translations that were decided on, to none.
    assert!(!is_noise(&redirect(5, done), &node));
    assert!(!is_noise(&redirect(3, done | ct::DST_NAT), &node));
    let incomplete = NodeFacts::default();
    assert!(!is_noise(&redirect(5, done | ct::DST_NAT), &incomplete));
    let mut unread = redirect(5, 0);
    unread.wire = None;
    assert!(is_noise(&unread, &node));
    // A rule that drops redirects stays a rule.
    let json = r#"{"nftables": [
        {"table": {"family": "ip", "name": "t"}},
        {"chain": {"family": "ip", "table": "t", "name": "out", "type": "filter",
          "hook": "output", "prio": 0, "policy": "drop"}}]}"#;
    let ruleset = Ruleset::from_texts(json, "", "").expect("a ruleset");
    let ends = Ends {
        src: [10, 88, 0, 12].into(),
        dst: [10, 88, 0, 1].into(),
        sport: None,
        dport: None,
    };
    let packet = HookPacket {
        hook: Some(Hook::Output),
        ..HookPacket::new(ends, protocol::ICMP)
    };
    let by_rule = none_dropped_it(ruleset.suspects(&packet, Hint::Any).rules);
    assert!(!is_noise(&redirect(5, done | ct::DST_NAT), &by_rule));
}

#[test]
fn a_rule_leads_to_its_own_points_only() {
    for (reason, function) in [
        ("NETFILTER_DROP", "nft_do_chain"),
        ("IP_RPFILTER", "ip_rcv_finish_core"),
        ("NEIGH_FAILED", "neigh_invalidate"),
        ("IP_INNOROUTES", "ip6_pkt_discard"),
        ("NO_SOCKET", "tcp_v4_rcv"),
        ("VXLAN_VNI_NOT_FOUND", "vxlan_rcv"),
    ] {
        let verdict = judge(&facts(reason, function), &NodeFacts::default());
        let name = verdict.rule.expect("a rule");
        let mut rules = rules();
        let rule = rules.find(|rule| rule.name == name.as_str()).unwrap();
        assert!(rule.points.contains(&verdict.point), "{name}");
    }
}

#[test]
fn the_node_is_asked_for_what_the_rules_in_question_need() {
    let asked = |facts: &DropFacts| wants(facts).0.into_iter().collect::<Vec<_>>();
    let netfilter = facts("NETFILTER_DROP", "nft_do_chain");
    assert_eq!(asked(&netfilter), [Fact::Ruleset, Fact::Conntrack]);
    let of_overlay = asked(&tunnelled("NETFILTER_DROP", "nft_do_chain"));
    assert_eq!(of_overlay, [Fact::Ruleset, Fact::Overlay]);
    // It may be the tunnel's, or the destination's.
    let neighbor = asked(&facts("NEIGH_FAILED", "neigh_invalidate"));
    assert_eq!(
        neighbor,
        [
            Fact::Route,
            Fact::Neighbor,
            Fact::Overlay,
            Fact::World,
            Fact::Way
        ]
    );
    // It is the tunnel's, whatever the node says.
    let of_tunnel = asked(&tunnelled("NEIGH_FAILED", "neigh_invalidate"));
    assert_eq!(of_tunnel, [Fact::Overlay]);
    let closed = asked(&facts("NO_SOCKET", "tcp_v4_rcv"));
    assert_eq!(closed, [Fact::Sockets, Fact::World]);
    assert_eq!(asked(&facts("SOMETHING_NEW", "some_function")), []);
}

#[test]
fn what_was_ruled_out_is_said_with_its_reason() {
    let mut facts = facts("NETFILTER_DROP", "nf_hook_slow");
    facts.hook = Some(Hook::Prerouting);
    let mut node = NodeFacts {
        conntrack: Some(Conntrack {
            count: 12,
            max: 65_536,
            ..Conntrack::default()
        }),
        ..NodeFacts::default()
    };
    let verdict = judge(&facts, &node);
    let refuted: Vec<_> = verdict
        .refuted
        .iter()
        .map(|one| one.because.as_str())
        .collect();
    assert_eq!(refuted, ["12 of 65536 entries are in use"]);
    assert_eq!(verdict.rule, Some("netfilter".into()));
    node.conntrack.as_mut().unwrap().count = 65_536;
    let verdict = judge(&facts, &node);
    assert_eq!((verdict.point, verdict.refuted), (Point::Conntrack, vec![]));
}

#[test]
fn a_tunnel_leads_back_only_what_its_entry_is_for() {
    let own = "192.0.2.2";
    let mut build = Build::new();
    build.link(id(1, 2), "eth0", world::Kind::Physical);
    build.address(id(1, 2), own);
    let mut facts = facts("IP_INHDR", "ip_forward");
    facts.netns = Some(1);
    let mut node = NodeFacts {
        world: Some(Arc::new(build.world)),
        ..NodeFacts::default()
    };
    node.around.overlay = Some(overlay::tests::whole());
    let point = |node: &NodeFacts| judge(&facts, node).point;
    assert_eq!(point(&node), Point::Overlay);
    // Without a MAC address, these are the entries for all of them.
    let known = node.around.overlay.as_mut().unwrap();
    let neighbors = std::mem::take(&mut known.neighbors);
    assert_eq!(point(&node), Point::Route);
    let known = node.around.overlay.as_mut().unwrap();
    known.neighbors = neighbors;
    known.next_hop = None;
    assert_eq!(point(&node), Point::Route);
}
