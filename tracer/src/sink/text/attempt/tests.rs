//! What attempts look like.

use proptest::prelude::*;

use super::super::{
    Text,
    canvas::is_unsafe,
    tests::{ALL, colored, text},
};
use crate::{
    model::Report,
    sink::{Style, fixtures::attempts},
};

#[test]
fn a_syn_that_leaves_in_vxlan_and_never_returns() {
    insta::assert_snapshot!(text(120, &attempts::off_node()), @"
    09:41:07.312  off-node (likely)  shop/web-7d9f8b6c5-x2x4z:43210 → 10.244.3.17:443  tcp  ✗ unanswered after 1002 ms
        3 SYNs
        addresses 10.244.1.5:43210 → 10.244.3.17:443
        why: 3 SYNs left this node by eth0 inside VXLAN to 192.0.2.2, and nothing came back
        - no packet of this connection was dropped on this node, and 0 events were lost
        - every interface of the node is watched
        - the underlay answered ARP for 192.0.2.2
        ✓ in   veth1a2b  node  +0.000 ms  ×3
        ✓ out  vxlan.1   node  +0.031 ms  ×3
        ✓ out  eth0      node  +0.040 ms  ×3  inside VXLAN 192.0.2.1:50000 → 192.0.2.2:8472
        ✗ left through eth0, and nothing came back
    ");
    insta::assert_snapshot!(text(80, &attempts::off_node()), @"
    09:41:07.312  off-node (likely)  shop/web-7d9f8b6c5-x2x4z:43210 →
        10.244.3.17:443  tcp  ✗ unanswered after 1002 ms  3 SYNs
        addresses 10.244.1.5:43210 → 10.244.3.17:443
        why: 3 SYNs left this node by eth0 inside VXLAN to 192.0.2.2, and nothing
             came back
        - no packet of this connection was dropped on this node, and 0 events were
          lost
        - every interface of the node is watched
        - the underlay answered ARP for 192.0.2.2
        ✓ in   veth1a2b  node  +0.000 ms  ×3
        ✓ out  vxlan.1   node  +0.031 ms  ×3
        ✓ out  eth0      node  +0.040 ms  ×3  inside VXLAN 192.0.2.1:50000 →
               192.0.2.2:8472
        ✗ left through eth0, and nothing came back
    ");
    insta::assert_snapshot!(text(60, &attempts::off_node()), @"
    09:41:07.312  off-node (likely)
        shop/web-7d9f8b6c5-x2x4z:43210 → 10.244.3.17:443  tcp
        ✗ unanswered after 1002 ms  3 SYNs
        addresses 10.244.1.5:43210 → 10.244.3.17:443
        why: 3 SYNs left this node by eth0 inside VXLAN to
             192.0.2.2, and nothing came back
        - no packet of this connection was dropped on this node,
          and 0 events were lost
        - every interface of the node is watched
        - the underlay answered ARP for 192.0.2.2
        ✓ in   veth1a2b  node  +0.000 ms  ×3
        ✓ out  vxlan.1   node  +0.031 ms  ×3
        ✓ out  eth0      node  +0.040 ms  ×3  inside VXLAN
               192.0.2.1:50000 → 192.0.2.2:8472
        ✗ left through eth0, and nothing came back
    ");
}

#[test]
fn a_syn_dropped_on_this_node() {
    insta::assert_snapshot!(text(80, &attempts::dropped()), @"
    09:41:07.312  firewall (confirmed)  10.244.1.5:43210 → 10.244.3.17:443  tcp
        ✗ unanswered after 1001 ms  1 SYN
        why: a rule in the chain inet filter forward dropped the SYN
        - nf_hook_slow dropped it in FORWARD, 0.012 ms after it came in through
          veth7a1c
        fix: nft delete rule inet filter forward handle 12
        ✓ in   veth7a1c  node  +0.000 ms
        ✗ not seen beyond veth7a1c
    ");
}

#[test]
fn a_syn_ack_lost_on_the_way_back() {
    insta::assert_snapshot!(text(120, &attempts::lost_on_the_way_back()), @"
    09:41:07.312  rpfilter (likely)  10.244.1.5:43210 → 10.244.3.17:443  tcp  ✗ unanswered after 1003 ms  1 SYN
        why: the reverse-path check of eth0 refused the SYN-ACK
        - rp_filter of eth0 is 1, and the route to 10.244.3.17 leads to eth1
        ✓ in   veth1a2b  node  +0.000 ms
        ✓ out  eth0      node  +0.022 ms  as 192.0.2.1:61002 → 10.244.3.17:443
        ← SYN-ACK
        ✓ in   eth0      node  +1.214 ms  ×2  as 10.244.3.17:443 → 192.0.2.1:61002
        ✗ the SYN-ACK was seen at eth0 and not at veth1a2b
    ");
    insta::assert_snapshot!(text(60, &attempts::lost_on_the_way_back()), @"
    09:41:07.312  rpfilter (likely)  10.244.1.5:43210 →
        10.244.3.17:443  tcp  ✗ unanswered after 1003 ms  1 SYN
        why: the reverse-path check of eth0 refused the SYN-ACK
        - rp_filter of eth0 is 1, and the route to 10.244.3.17
          leads to eth1
        ✓ in   veth1a2b  node  +0.000 ms
        ✓ out  eth0      node  +0.022 ms  as 192.0.2.1:61002 →
               10.244.3.17:443
        ← SYN-ACK
        ✓ in   eth0      node  +1.214 ms  ×2  as
               10.244.3.17:443 → 192.0.2.1:61002
        ✗ the SYN-ACK was seen at eth0 and not at veth1a2b
    ");
}

#[test]
fn a_reset_lost_on_the_way_back() {
    let text = text(80, &attempts::lost_reset());
    assert!(text.contains("← RST\n"), "{text}");
    assert!(
        text.contains("the RST was seen at eth0 and not at veth1a2b"),
        "{text}"
    );
}

#[test]
fn a_syn_ack_that_came_another_way() {
    insta::assert_snapshot!(text(80, &attempts::asymmetric()), @"
    09:41:07.312  10.244.1.5:43210 → 10.244.3.17:443  tcp  ✗ unanswered
        after 1003 ms  1 SYN
        ✓ out  eth0      4026532456  +0.000 ms
        ✓ in   veth1a2b  node        +0.003 ms
        ✓ out  eth0      node        +0.022 ms
        ← SYN-ACK
        ✓ in   eth1      node        +0.840 ms
        ✗ the SYN-ACK was seen at eth1 and not at eth0 of 4026532456
    ");
}

#[test]
fn refused_by_the_far_end() {
    insta::assert_snapshot!(text(120, &attempts::refused()), @"
    09:41:07.312  socket (confirmed)  10.244.1.5:43210 → 10.244.3.17:443  tcp  ✗ refused by 10.244.3.17 (the far end)
        after 1 ms  1 SYN
        why: nothing listens on 10.244.3.17:443
        - the RST came in through eth0 0.588 ms after the SYN had left through it
        ✓ in   veth1a2b  node  +0.000 ms
        ✓ out  eth0      node  +0.022 ms
        ← RST
        ✓ in   eth0      node  +0.610 ms
        ✓ out  veth1a2b  node  +0.633 ms
    ");
    insta::assert_snapshot!(text(80, &attempts::refused()), @"
    09:41:07.312  socket (confirmed)  10.244.1.5:43210 → 10.244.3.17:443  tcp
        ✗ refused by 10.244.3.17 (the far end) after 1 ms  1 SYN
        why: nothing listens on 10.244.3.17:443
        - the RST came in through eth0 0.588 ms after the SYN had left through it
        ✓ in   veth1a2b  node  +0.000 ms
        ✓ out  eth0      node  +0.022 ms
        ← RST
        ✓ in   eth0      node  +0.610 ms
        ✓ out  veth1a2b  node  +0.633 ms
    ");
}

#[test]
fn rejected_by_a_router() {
    insta::assert_snapshot!(text(80, &attempts::rejected()), @"
    09:41:07.312  route (confirmed)  10.244.1.5:43210 → 10.244.3.17:443  tcp
        ✗ rejected by 10.0.0.1 (a router) after 3061 ms  3 SYNs
        why: the router 10.0.0.1 cannot reach 10.244.3.17: host unreachable
        ✓ in   veth1a2b  node     +0.000 ms
        ✓ out  eth0      node     +0.022 ms
        ← ICMP error
        ✓ in   eth0      node  +3061.400 ms  as 10.0.0.1 → 10.244.1.5
        ✓ out  veth1a2b  node  +3061.418 ms  as 10.0.0.1 → 10.244.1.5
    ");
}

#[test]
fn what_was_answered_is_one_line() {
    insta::assert_snapshot!(text(120, &attempts::answered()), @"09:41:07.312  shop/web-0:43210 → 10.96.7.7:443  tcp  ✓ answered after 2 ms  1 SYN  at 10.244.3.17:443");
    insta::assert_snapshot!(text(120, &attempts::corrected()), @"09:41:07.312  10.244.1.5:43210 → 10.244.3.17:443  tcp  ✓ answered after 1320 ms  2 SYNs  corrects: unanswered");
    insta::assert_snapshot!(text(80, &attempts::corrected()), @"
    09:41:07.312  10.244.1.5:43210 → 10.244.3.17:443  tcp  ✓ answered after 1320 ms
        2 SYNs  corrects: unanswered
    ");
}

#[test]
fn a_stall_shows_what_each_hop_takes() {
    insta::assert_snapshot!(text(80, &attempts::stalled()), @"
    09:41:07.312  mtu (likely)  10.244.1.5:43210 → 10.244.3.17:443  tcp  ✗ stalled
        after 6400 ms  1 SYN  corrects: answered
        why: segments of 1448 bytes are retransmitted while small ones pass
        - 5 retransmissions of 1500 bytes, and vxlan.1 takes 1450
        ✓ in   veth1a2b  node  +0.000 ms  mtu 1500
        ✓ out  vxlan.1   node  +0.031 ms  mtu 1450
        ← SYN-ACK
        ✓ in   vxlan.1   node  +0.402 ms  mtu 1450
        ✓ out  veth1a2b  node  +0.420 ms  mtu 1500
        ✗ data does not get through
    ");
}

#[test]
fn a_dns_query_is_an_attempt_and_nxdomain_an_answer() {
    insta::assert_snapshot!(text(120, &attempts::dns_unanswered()), @"
    09:41:07.312  off-node (likely)  10.244.1.5:40000 → 10.244.2.2:53 (for 10.96.0.10:53)  dns A cart.shop.svc.cluster.local
        ✗ unanswered after 1000 ms  2 queries
        why: 2 queries left this node by eth0, and nothing came back
        ✓ in   veth1a2b  node  +0.000 ms  ×2
        ✓ out  eth0      node  +0.025 ms  ×2
        ✗ left through eth0, and nothing came back
    ");
    insta::assert_snapshot!(text(80, &attempts::dns_unanswered()), @"
    09:41:07.312  off-node (likely)  10.244.1.5:40000 → 10.244.2.2:53
        (for 10.96.0.10:53)  dns A cart.shop.svc.cluster.local  ✗ unanswered
        after 1000 ms  2 queries
        why: 2 queries left this node by eth0, and nothing came back
        ✓ in   veth1a2b  node  +0.000 ms  ×2
        ✓ out  eth0      node  +0.025 ms  ×2
        ✗ left through eth0, and nothing came back
    ");
    insta::assert_snapshot!(text(120, &attempts::dns_nxdomain()), @"
    09:41:07.312  10.244.1.5:40000 → 10.244.2.2:53 (for 10.96.0.10:53)  dns A cart.shop.svc.cluster.local  ✓ answered
        NXDOMAIN after 3 ms  1 query
    ");
}

#[test]
fn ipv6_addresses_are_never_shortened() {
    insta::assert_snapshot!(text(120, &attempts::ipv6()), @"
    09:41:07.312  [fd00:10:244:1:a8bb:ccff:fedd:ee01]:43210 → [fd00:10:244:3:a8bb:ccff:fedd:ee17]:8443  tcp  ✗ unanswered
        after 1000 ms  1 SYN
        ✓ in   veth1a2b  node  +0.000 ms
        ✓ out  eth0      node  +0.040 ms  inside VXLAN [2001:db8:1111:2222:3333:4444:5555:6661]:50000 →
               [2001:db8:1111:2222:3333:4444:5555:6662]:8472
        ✗ left through eth0, and nothing came back
    ");
    insta::assert_snapshot!(text(60, &attempts::ipv6()), @"
    09:41:07.312  [fd00:10:244:1:a8bb:ccff:fedd:ee01]:43210 →
        [fd00:10:244:3:a8bb:ccff:fedd:ee17]:8443  tcp
        ✗ unanswered after 1000 ms  1 SYN
        ✓ in   veth1a2b  node  +0.000 ms
        ✓ out  eth0      node  +0.040 ms  inside VXLAN
               [2001:db8:1111:2222:3333:4444:5555:6661]:50000 →
               [2001:db8:1111:2222:3333:4444:5555:6662]:8472
        ✗ left through eth0, and nothing came back
    ");
}

#[test]
fn color_follows_the_marks() {
    insta::assert_snapshot!(colored(&attempts::dropped()), @"
    ‹[2m09:41:07.312‹[0m  ‹[1m‹[31mfirewall (confirmed)‹[0m  10.244.1.5:43210 → 10.244.3.17:443  tcp
        ‹[1m‹[31m✗ unanswered‹[0m after 1001 ms  1 SYN
        why: a rule in the chain inet filter forward dropped the SYN
        ‹[2m- nf_hook_slow dropped it in FORWARD, 0.012 ms after it came in through‹[0m
          ‹[2mveth7a1c‹[0m
        ‹[36mfix: nft delete rule inet filter forward handle 12‹[0m
        ‹[32m✓‹[0m in   veth7a1c  ‹[2mnode‹[0m  +0.000 ms
        ‹[1m‹[31m✗ not seen beyond veth7a1c‹[0m
    ");
    insta::assert_snapshot!(colored(&attempts::refused()), @"
    ‹[2m09:41:07.312‹[0m  ‹[33msocket (confirmed)‹[0m  10.244.1.5:43210 → 10.244.3.17:443  tcp
        ‹[33m✗ refused by 10.244.3.17 (the far end)‹[0m after 1 ms  1 SYN
        why: nothing listens on 10.244.3.17:443
        ‹[2m- the RST came in through eth0 0.588 ms after the SYN had left through it‹[0m
        ‹[32m✓‹[0m in   veth1a2b  ‹[2mnode‹[0m  +0.000 ms
        ‹[32m✓‹[0m out  eth0      ‹[2mnode‹[0m  +0.022 ms
        ‹[1m← RST‹[0m
        ‹[32m✓‹[0m in   eth0      ‹[2mnode‹[0m  +0.610 ms
        ‹[32m✓‹[0m out  veth1a2b  ‹[2mnode‹[0m  +0.633 ms
    ");
    insta::assert_snapshot!(colored(&attempts::answered()), @"
    ‹[2m09:41:07.312‹[0m  shop/web-0:43210 → 10.96.7.7:443  tcp  ‹[32m✓ answered‹[0m after 2 ms
        1 SYN  ‹[2mat 10.244.3.17:443‹[0m
    ");
    insta::assert_snapshot!(colored(&attempts::dns_nxdomain()), @"
    ‹[2m09:41:07.312‹[0m  10.244.1.5:40000 → 10.244.2.2:53 ‹[2m(for 10.96.0.10:53)‹[0m
        dns A cart.shop.svc.cluster.local  ‹[32m✓ answered‹[0m ‹[33mNXDOMAIN‹[0m after 3 ms  1 query
    ");
}

#[test]
fn a_pipe_gets_whole_lines() {
    let lines = Text::new(Style::plain(), ALL).render(&attempts::ipv6());
    assert_eq!(lines.lines().count(), 4, "{lines}");
}

proptest! {
    #[test]
    fn no_name_reaches_the_terminal_as_a_command(name in ".*", width in 0..200usize) {
        let text = text(width, &attempts::named(&name));
        prop_assert!(!text.chars().any(|c| c != '\n' && is_unsafe(c)), "{text:?}");
    }
}

/// An attempt through a Service, changed as the test needs it.
fn by_service(change: impl FnOnce(&mut crate::model::AttemptReport)) -> String {
    let Report::Attempt(mut attempt) = attempts::refused() else {
        unreachable!("an attempt");
    };
    attempt.service = Some("shop/cart1".to_owned());
    attempt.flow.dst = [10, 96, 1, 11].into();
    attempt.flow.dport = Some(80);
    attempt.translated = None;
    attempt.original_dst = None;
    attempt.dst_pod = None;
    change(&mut attempt);
    text(160, &Report::Attempt(attempt))
}

#[test]
fn an_attempt_through_a_service_names_the_service_and_the_endpoint() {
    let unseen = by_service(|_| {});
    assert!(
        unseen.contains("→ svc/shop/cart1:80 (no endpoint seen)"),
        "{unseen}"
    );
    let pod = crate::model::Pod {
        namespace: "shop".to_owned(),
        name: "cart-1".to_owned(),
        node: None,
        labels: std::collections::BTreeMap::new(),
    };
    let endpoint = |attempt: &crate::model::AttemptReport| crate::model::Flow {
        dst: [10, 244, 1, 2].into(),
        dport: Some(8080),
        ..attempt.flow
    };
    // Translated between two hops, and before the first one.
    let on_the_way = by_service(|attempt| {
        attempt.translated = Some(endpoint(attempt));
        attempt.dst_pod = Some(pod.clone());
    });
    let before = by_service(|attempt| {
        attempt.original_dst = Some((attempt.flow.dst, attempt.flow.dport));
        attempt.flow = endpoint(attempt);
        attempt.dst_pod = Some(pod.clone());
    });
    for text in [on_the_way, before] {
        let ends = "→ svc/shop/cart1:80 (shop/cart-1:8080)";
        assert!(text.contains(ends), "{text}");
    }
}

#[test]
fn a_hop_in_a_pod_has_the_pods_name() {
    let Report::Attempt(mut attempt) = attempts::off_node() else {
        unreachable!("an attempt");
    };
    let name = "cni-f11a5807-931d-2066-a211-fa6e3ccd42fc";
    attempt.hops[0].netns_name = Some(name.to_owned());
    attempt.hops[0].pod = Some("shop/cart-2".to_owned());
    let text = text(120, &Report::Attempt(attempt));
    assert!(!text.contains("cni-f11a"), "{text}");
    // Columns are as wide as what is in them.
    assert!(
        text.contains("✓ in   veth1a2b  shop/cart-2  +0.000 ms"),
        "{text}"
    );
    assert!(
        text.contains("✓ out  eth0      node         +0.040 ms"),
        "{text}"
    );
}
