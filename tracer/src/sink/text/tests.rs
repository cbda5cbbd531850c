//! What the text looks like.

mod layout;
mod probe;

use super::{super::fixtures, *};
use crate::model::{Layer, LayerResult, LayerRow, Outcome, Summary};

/// Everything there is to show.
pub(super) const ALL: Detail = Detail {
    verbose: true,
    answered: true,
};

pub(super) fn text(width: usize, record: &Report) -> String {
    Text::new(
        Style {
            width: Some(width),
            ..Style::plain()
        },
        ALL,
    )
    .render(record)
}

/// Color, with `‹` for the escape character.
pub(super) fn colored(record: &Report) -> String {
    let style = Style {
        width: Some(80),
        color: true,
        ..Style::plain()
    };
    Text::new(style, ALL).render(record).replace('\u{1b}', "‹")
}

#[test]
fn a_syn_dropped_by_a_rule() {
    insta::assert_snapshot!(text(120, &fixtures::syn()), @"
    09:41:07.312  NETFILTER_DROP  10.244.1.5:43210 → 10.244.3.17:443  tcp SYN
        hook FORWARD · nf_hook_slow · dev veth7a1c · netns node
    ");
    insta::assert_snapshot!(text(80, &fixtures::syn()), @"
    09:41:07.312  NETFILTER_DROP  10.244.1.5:43210 → 10.244.3.17:443  tcp SYN
        hook FORWARD · nf_hook_slow · dev veth7a1c · netns node
    ");
    insta::assert_snapshot!(text(60, &fixtures::syn()), @"
    09:41:07.312  NETFILTER_DROP  10.244.1.5:43210 →
        10.244.3.17:443  tcp SYN
        hook FORWARD · nf_hook_slow · dev veth7a1c · netns node
    ");
}

#[test]
fn a_judged_drop_says_why_and_what_to_do() {
    insta::assert_snapshot!(text(120, &fixtures::judged()), @"
    09:41:07.312  policy (confirmed)  shop/web-7d9f8b6c5-x2x4z:43210 → shop/cart-0:443  tcp SYN
        addresses 10.244.1.5:43210 → 10.244.3.17:443
        why: the policy shop/deny-all isolates shop/cart-0, and no rule admits shop/web on port 443
        - 1 packet was dropped in FORWARD by the chain KUBE-POD-FW-XYZ
        - 10.244.3.17 belongs to shop/cart-0 since 08:12:44
        - the counter of the rule rose by 1
        policy: shop/deny-all isolates shop/cart-0 for ingress; missing: from pods with app=web, port 443/TCP
        fix: kubectl -n shop apply -f - <<EOF
             kind: NetworkPolicy
             EOF
        NETFILTER_DROP · hook FORWARD · nf_hook_slow · dev veth7a1c · netns node
    ");
    insta::assert_snapshot!(text(80, &fixtures::judged()), @"
    09:41:07.312  policy (confirmed)  shop/web-7d9f8b6c5-x2x4z:43210 →
        shop/cart-0:443  tcp SYN
        addresses 10.244.1.5:43210 → 10.244.3.17:443
        why: the policy shop/deny-all isolates shop/cart-0, and no rule admits
             shop/web on port 443
        - 1 packet was dropped in FORWARD by the chain KUBE-POD-FW-XYZ
        - 10.244.3.17 belongs to shop/cart-0 since 08:12:44
        - the counter of the rule rose by 1
        policy: shop/deny-all isolates shop/cart-0 for ingress; missing: from pods
                with app=web, port 443/TCP
        fix: kubectl -n shop apply -f - <<EOF
             kind: NetworkPolicy
             EOF
        NETFILTER_DROP · hook FORWARD · nf_hook_slow · dev veth7a1c · netns node
    ");
    insta::assert_snapshot!(text(60, &fixtures::judged()), @"
    09:41:07.312  policy (confirmed)
        shop/web-7d9f8b6c5-x2x4z:43210 → shop/cart-0:443
        tcp SYN
        addresses 10.244.1.5:43210 → 10.244.3.17:443
        why: the policy shop/deny-all isolates shop/cart-0, and
             no rule admits shop/web on port 443
        - 1 packet was dropped in FORWARD by the chain
          KUBE-POD-FW-XYZ
        - 10.244.3.17 belongs to shop/cart-0 since 08:12:44
        - the counter of the rule rose by 1
        policy: shop/deny-all isolates shop/cart-0 for ingress;
                missing: from pods with app=web, port 443/TCP
        fix: kubectl -n shop apply -f - <<EOF
             kind: NetworkPolicy
             EOF
        NETFILTER_DROP · hook FORWARD · nf_hook_slow
        dev veth7a1c · netns node
    ");
}

#[test]
fn a_storm_is_one_record() {
    insta::assert_snapshot!(text(80, &fixtures::storm()), @"
    09:41:07.312  socket (likely)  10.244.1.9:50000 → 10.244.3.20:514  udp 1042 B
        ×20,412
        why: the receive buffer of port 514 is full
        - the socket holds 212,992 of 212,992 bytes
        fix: sysctl -w net.core.rmem_max=8388608
        SOCKET_RCVBUFF · udp_queue_rcv_one_skb · dev eth0 · netns 4026532460
    ");
}

#[test]
fn an_inner_packet_names_its_tunnel() {
    insta::assert_snapshot!(text(80, &fixtures::vxlan()), @"
    09:41:07.312  VXLAN_VNI_NOT_FOUND  10.244.1.5:43210 → 10.244.3.17:443
        tcp PSH-ACK 1500 B
        inside VXLAN (VNI 7) 10.0.0.11:53211 → 10.0.0.12:8472
        vxlan_rcv · dev eth0 · netns node
    ");
}

#[test]
fn a_translated_packet_names_its_first_destination_and_shows_its_stack() {
    insta::assert_snapshot!(text(80, &fixtures::dnat()), @"
    09:41:07.312  IP_OUTNOROUTES  10.244.1.5:40000 → 10.244.2.2:53  udp 71 B
        sent to 10.96.0.10:53, before DNAT
        ip_forward · dev cni0 · netns node
        stack kfree_skb_reason
              ip_forward
              ip_rcv
              __netif_receive_skb
    ");
}

#[test]
fn an_icmp_error_names_the_connection_it_speaks_of() {
    insta::assert_snapshot!(text(80, &fixtures::icmp()), @"
    09:41:07.312  NETFILTER_DROP  10.0.0.1 → 10.244.3.17  icmp fragmentation needed
        about tcp 10.244.3.17:443 → 10.244.1.5:43210
        hook INPUT · nf_hook_slow
    ");
}

#[test]
fn ipv6_addresses_are_never_shortened() {
    insta::assert_snapshot!(text(120, &fixtures::ipv6()), @"
    09:41:07.312  IP_OUTNOROUTES  [fd00:10:244:1:a8bb:ccff:fedd:ee01]:43210 → [fd00:10:244:3:a8bb:ccff:fedd:ee17]:8443
        tcp SYN
        ip6_pkt_discard
    ");
    insta::assert_snapshot!(text(60, &fixtures::ipv6()), @"
    09:41:07.312  IP_OUTNOROUTES
        [fd00:10:244:1:a8bb:ccff:fedd:ee01]:43210 →
        [fd00:10:244:3:a8bb:ccff:fedd:ee17]:8443  tcp SYN
        ip6_pkt_discard
    ");
}

#[test]
fn the_start_says_what_is_watched_and_what_cannot_be_seen() {
    insta::assert_snapshot!(text(80, &fixtures::started()), @"
    2026-03-01 09:41:07 UTC  watching any → 10.244.3.17:443 (tcp), both directions
        kernel 6.1.0-28-amd64 · kfree_skb, tcp_retransmit_skb · 12 interfaces
    ! this kernel does not label drops of VXLAN, bridge and veth: their reason is
      NOT_SPECIFIED
    ");
    let style = Style {
        interactive: true,
        ..Style::plain()
    };
    let lines = Text::new(style, ALL).render(&fixtures::started());
    assert!(
        lines.ends_with("\nwaiting for packets; Ctrl-C ends with a summary\n"),
        "{lines}"
    );
}

#[test]
fn a_long_list_of_namespaces_breaks_between_names() {
    insta::assert_snapshot!(text(60, &fixtures::started_in_namespaces()), @"
    2026-03-01 09:41:07 UTC  watching everything, in netns
        node-a, node-b, cni-5c2f8a5e-1b7d, cni-91c0e7f2-88aa,
        cni-3d5e6f70-0c1b · kernel 6.12.9 · 1 interface
    ");
}

#[test]
fn of_one_more_fact_the_fact_is_said() {
    let brief = |record: &Report| {
        let style = Style {
            width: Some(80),
            ..Style::plain()
        };
        Text::new(style, Detail::default()).render(record)
    };
    let mut record = fixtures::judged();
    let shown = brief(&record);
    let Report::Drop(drop) = &mut record else {
        panic!("not a drop");
    };
    assert_eq!(drop.verdict.evidence.len(), 3);
    for fact in &drop.verdict.evidence {
        assert!(shown.contains(&format!("- {fact}")), "{shown}");
    }
    drop.verdict.evidence.push("a fourth one".to_owned());
    assert!(brief(&record).contains("- 2 more facts with -v"));
    assert!(text(80, &record).contains("- a fourth one"));
}

#[test]
fn one_is_not_many() {
    let summary = Report::Summary(Box::new(Summary {
        lost: 1,
        untracked: 1,
        ..Summary::default()
    }));
    insta::assert_snapshot!(text(80, &summary), @"
    summary
        drops      0  no matching packet was dropped where this trace looked
        lost       1  event found the buffer full; its drop is counted
        untracked  1  SYN found the table of attempts full, and was not followed
    ");
}

#[test]
fn a_server_that_answers_and_fails_is_a_failure() {
    let row = |result, verdict: Option<&str>| LayerRow {
        layer: Layer::Dns,
        test: "answer".into(),
        result,
        evidence: None,
        verdict: verdict.map(str::to_owned),
    };
    let conclusion = |row| {
        let summary = Report::Summary(Box::new(Summary {
            attempts: [(Outcome::Answered, 1)].into(),
            layers: vec![row],
            ..Summary::default()
        }));
        let text = text(80, &summary);
        let last = text.lines().last().map(str::trim_start);
        last.unwrap_or_default().to_owned()
    };
    assert_eq!(
        conclusion(row(LayerResult::Failed, Some("the server says SERVFAIL"))),
        "verdict: DNS: the server says SERVFAIL"
    );
    assert_eq!(
        conclusion(row(LayerResult::Ok, None)),
        "verdict: no failure seen"
    );
}

#[test]
fn what_a_server_has_left_unread_is_in_the_last_line() {
    let row = |layer, evidence: Option<&str>| LayerRow {
        layer,
        test: "reads".into(),
        result: LayerResult::NotObserved,
        evidence: evidence.map(str::to_owned),
        verdict: None,
    };
    let summary = |layers| {
        Report::Summary(Box::new(Summary {
            attempts: [(Outcome::Answered, 1)].into(),
            layers,
            ..Summary::default()
        }))
    };
    let unread = "python3 (pid 7) has left 9 bytes unread";
    let unread = text(100, &summary(vec![row(Layer::Application, Some(unread))]));
    let last = unread.lines().last().unwrap_or_default();
    assert_eq!(
        last.trim_start(),
        "verdict: no failure seen on the way to the server, but python3 (pid 7) has left 9 bytes unread"
    );
    // A table in which nothing was seen says nothing.
    let blank = text(100, &summary(vec![row(Layer::Tcp, None)]));
    assert!(
        unread.contains("Layer") && !blank.contains("Layer"),
        "{blank}"
    );
}

#[test]
fn what_follows_the_key_of_a_signal_has_a_line_of_its_own() {
    let interrupted = |interactive| {
        let style = Style {
            interactive,
            ..Style::plain()
        };
        Text::new(style, Detail::default()).interrupted()
    };
    assert_eq!([true, false].map(interrupted), ["\n", ""]);
}

#[test]
fn a_loss_is_a_warning() {
    insta::assert_snapshot!(text(80, &fixtures::more()), @"
    09:41:07.312  … and 4,318 more drops alike from 1,203 sources  firewall
        dropped by rule handle 2 of chain f in table inet t
    ");
    insta::assert_snapshot!(text(80, &fixtures::lost()), @"09:41:07.312  ! 1,024 events lost in the ring buffer: not every drop is shown");
}

#[test]
fn the_summary_counts() {
    insta::assert_snapshot!(text(80, &fixtures::summary()), @"
    09:41:07.312  summary
        drops      204,331  counted exactly; 96 of them shown
        noise           12  made by healthy traffic too, hidden; --noise shows them
        lost         1,024  events found the buffer full; their drops are counted
        malformed        1  claimed to be IP and could not be parsed
        attempts         4  3 answered, 1 unanswered

          count  verdict  why
        204,321  socket   the receive buffer of port 514 is full
             10  policy   the policy shop/deny-all isolates shop/cart-0, and no rule
                          admits shop/web on port 443

        verdict: unknown: 1 attempt failed, and what was seen does not say where
    ");
    insta::assert_snapshot!(text(60, &fixtures::summary()), @"
    09:41:07.312  summary
        drops      204,331  counted exactly; 96 of them shown
        noise           12  made by healthy traffic too, hidden;
                            --noise shows them
        lost         1,024  events found the buffer full; their
                            drops are counted
        malformed        1  claimed to be IP and could not be
                            parsed
        attempts         4  3 answered, 1 unanswered

          count  verdict  why
        204,321  socket   the receive buffer of port 514 is full
             10  policy   the policy shop/deny-all isolates
                          shop/cart-0, and no rule admits
                          shop/web on port 443

        verdict: unknown: 1 attempt failed, and what was seen
                 does not say where
    ");
    insta::assert_snapshot!(text(80, &fixtures::flooded()), @"
    09:41:07.312  summary
        drops            0  no matching packet was dropped where this trace looked
        attempts    17,592  1,204 answered, 2 refused, 1 rejected, 16,384
                            unanswered, 1 stalled
        untracked  983,616  SYNs found the table of attempts full, and were not
                            followed

        verdict: unknown: 16,388 attempts failed, and what was seen does not say
                 where
    ");
    insta::assert_snapshot!(text(80, &fixtures::nothing_seen()), @"
    09:41:07.312  summary
        drops  0  no matching packet was dropped where this trace looked
        noise  4  made by healthy traffic too, hidden; --noise shows them
    ");
}

#[test]
fn a_path_is_drawn_node_by_node() {
    insta::assert_snapshot!(text(80, &fixtures::lost_between()), @"
    09:41:07.312  overlay (confirmed)  10.244.1.5:43210 → 10.244.3.17:443  tcp
        ✗ unanswered after 1041 ms  2 SYNs
        why: lost between node-2 and node-1: the answer left node-2 and never came
             to node-1
        - the packet on the wire: udp 10.0.0.12:53211 → 10.0.0.11:8472
        advice: let through udp from 10.0.0.12 to 10.0.0.11 port 8472
        node-1:
          ✓ in   veth1  4026531840  +0.000 ms  ×2
          ✓ out  eth0   4026531840  +0.031 ms  ×2  inside VXLAN 10.0.0.11:53211 →
                 10.0.0.12:8472
        node-2:
          ✓ in   eth0   4026531840  +0.412 ms  ×2  inside VXLAN 10.0.0.11:53211 →
                 10.0.0.12:8472
        ← what came back
        node-2:
          ✓ out  eth0   4026531840  +0.447 ms  ×2  inside VXLAN 10.0.0.12:53211 →
                 10.0.0.11:8472
        ✗ lost between node-2 and node-1 inside VXLAN 10.0.0.12:53211 →
          10.0.0.11:8472
        clock of node-2: +90000.012 ms, give or take 0.180 ms
    ");
}
