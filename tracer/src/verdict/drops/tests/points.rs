//! Each reason and function leads to a point.

use super::*;

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
        ("DEV_READY", "__dev_queue_xmit", Point::Route),
        ("IP_LOCALNET", "ip_route_input_slow", Point::Rpfilter),
        ("NEIGH_CREATEFAIL", "ip_finish_output2", Point::Queue),
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
