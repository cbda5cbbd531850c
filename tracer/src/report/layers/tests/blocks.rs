//! What a failure keeps from being reached.

use super::*;

#[test]
fn a_drop_in_forward_blocks_what_is_behind_it() {
    let layers = of(&[failed(1, Point::Firewall, Confidence::Confirmed)]);
    insta::assert_snapshot!(lines(&layers), @"
    DNS | not observed | - | -
    TCP | failed | 1 unanswered: 10.244.1.5 → 10.244.3.17:443, 1 SYN in 3 ms | firewall (confirmed)
    policy | not observed | - | -
    firewall | failed | it was the firewall | firewall (confirmed), 1 attempt
    overlay | blocked | - | blocked by firewall
    MTU | blocked | - | blocked by firewall
    listener | blocked | - | blocked by firewall
    TLS | blocked | - | blocked by firewall
    ");
    let fix = layers.verdict().map(|verdict| verdict.fix.clone());
    assert_eq!(fix, Some(vec![Fix::advice("mend the firewall")]));
}

#[test]
fn without_an_overlay_nothing_blocks_it() {
    let layers = of(&[failed(1, Point::Firewall, Confidence::Confirmed)]);
    let rows = layers.rows(true, false);
    let overlay = rows.iter().find(|row| row.layer == Layer::Overlay);
    assert_eq!(overlay.unwrap().result, LayerResult::NotObserved);
}

#[test]
fn a_drop_of_the_answer_does_not_block_the_listener() {
    let mut attempt = failed(1, Point::Firewall, Confidence::Confirmed);
    attempt.reply_hops = vec![hop(false)];
    let layers = of(&[attempt]);
    assert_eq!(
        result_of(&layers, Layer::Listener),
        LayerResult::NotObserved
    );
    assert_eq!(result_of(&layers, Layer::Tls), LayerResult::Blocked);
}

#[test]
fn what_was_lost_off_the_node_leaves_the_other_layers_open() {
    let attempt = AttemptReport {
        hops: vec![hop(true)],
        syns: 3,
        waited_ms: 1002,
        ..failed(1, Point::OffNode, Confidence::Likely)
    };
    let mut layers = of(&[attempt]);
    insta::assert_snapshot!(lines(&layers), @"
    DNS | not observed | - | -
    TCP | failed | 1 unanswered: 10.244.1.5 → 10.244.3.17:443, 3 SYNs in 1002 ms | off-node (likely)
    policy | not observed | - | -
    firewall | not observed | - | -
    overlay | not observed | 1 attempt went into a tunnel, and where it ended was not seen | -
    MTU | blocked | - | blocked by TCP
    listener | not observed | - | -
    TLS | blocked | - | blocked by TCP
    ");
    assert_eq!(layers.verdict().map(|v| v.point), Some(Point::OffNode));

    layers.attempted(&AttemptReport {
        hops: vec![hop(true)],
        ..tcp(2, Outcome::Answered)
    });
    for layer in [Layer::Firewall, Layer::Overlay, Layer::Mtu, Layer::Listener] {
        assert_eq!(
            result_of(&layers, layer),
            LayerResult::NotObserved,
            "{layer:?}"
        );
    }
}

#[test]
fn names_resolve_and_the_connection_fails() {
    let layers = of(&[
        dns(1, Outcome::Answered, Some("NXDOMAIN")),
        dns(2, Outcome::Answered, Some("NOERROR")),
        failed(3, Point::Listener, Confidence::Confirmed),
    ]);
    insta::assert_snapshot!(lines(&layers), @"
    DNS | ok | 2 answered (1 NXDOMAIN): A cart.shop after 3 ms | -
    TCP | failed | 1 unanswered: 10.244.1.5 → 10.244.3.17:443, 1 SYN in 3 ms | listener (confirmed)
    policy | not observed | - | -
    firewall | not observed | - | -
    overlay | not observed | - | -
    MTU | blocked | - | blocked by listener
    listener | failed | it was the listener | listener (confirmed), 1 attempt
    TLS | blocked | - | blocked by listener
    ");
}

#[test]
fn without_names_nothing_is_tried() {
    let query = AttemptReport {
        verdict: verdict(Point::Policy, Confidence::Confirmed),
        syns: 2,
        ..dns(1, Outcome::Unanswered, None)
    };
    insta::assert_snapshot!(lines(&of(&[query])), @"
    DNS | failed | 1 unanswered: A cart.shop, 2 queries in 3 ms | policy (confirmed)
    TCP | blocked | - | blocked by DNS
    policy | failed | it was the policy | policy (confirmed), 1 attempt
    firewall | blocked | - | blocked by policy
    overlay | blocked | - | blocked by policy
    MTU | blocked | - | blocked by DNS
    listener | blocked | - | blocked by DNS
    TLS | blocked | - | blocked by DNS
    ");
    insta::assert_snapshot!(lines(&of(&[dns(1, Outcome::Answered, Some("SERVFAIL"))])), @"
    DNS | failed | 1 answered (1 SERVFAIL): A cart.shop after 3 ms | the server says SERVFAIL
    TCP | blocked | - | blocked by DNS
    policy | not observed | - | -
    firewall | ok | 1 attempt got through; no drop by netfilter, tc or XDP was seen, and 0 events were lost | -
    overlay | not observed | - | -
    MTU | blocked | - | blocked by DNS
    listener | blocked | - | blocked by DNS
    TLS | blocked | - | blocked by DNS
    ");
    let missing = of(&[dns(1, Outcome::Answered, Some("NXDOMAIN"))]);
    assert_eq!(result_of(&missing, Layer::Dns), LayerResult::Ok);
    assert_eq!(result_of(&missing, Layer::Tcp), LayerResult::NotObserved);
}

#[test]
fn a_stall_is_a_failure_behind_the_handshake() {
    let attempt = AttemptReport {
        verdict: verdict(Point::Mtu, Confidence::Possible),
        ..tcp(1, Outcome::Stalled)
    };
    let layers = of(&[attempt]);
    insta::assert_snapshot!(lines(&layers), @"
    DNS | not observed | - | -
    TCP | failed | 1 stalled: 10.244.1.5 → 10.244.3.17:443, handshake done, data does not get through | mtu (possible)
    policy | not observed | - | -
    firewall | not observed | - | -
    overlay | not observed | - | -
    MTU | failed | it was the mtu | mtu (possible), 1 attempt
    listener | ok | 1 handshake done | -
    TLS | not observed | - | -
    ");
    assert_eq!(layers.verdict(), None, "no more than possible");
}

#[test]
fn a_closed_port_is_the_listeners() {
    let refused = |confidence| {
        of(&[AttemptReport {
            outcome: Outcome::Refused,
            reply_hops: vec![hop(false)],
            ..failed(1, Point::Socket, confidence)
        }])
    };
    insta::assert_snapshot!(lines(&refused(Confidence::Likely)), @"
    DNS | not observed | - | -
    TCP | failed | 1 refused: 10.244.1.5 → 10.244.3.17:443 after 3 ms | socket (likely)
    policy | not observed | - | -
    firewall | not observed | - | -
    overlay | not observed | - | -
    MTU | blocked | - | blocked by TCP
    listener | failed | it was the socket | socket (likely), 1 attempt
    TLS | blocked | - | blocked by TCP
    ");
    let unsure = refused(Confidence::Possible);
    assert_eq!(
        result_of(&unsure, Layer::Listener),
        LayerResult::NotObserved
    );
    assert_eq!(result_of(&unsure, Layer::Tcp), LayerResult::Failed);
}
