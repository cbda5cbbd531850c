//! Drops of first packets whose attempts were not watched.

use super::*;
use crate::{
    model::{Packet, TcpFlags},
    verdict::drop::CLOSED_PORT,
};

/// A TCP segment that was dropped.
fn segment(point: Point, flags: &str, count: u64) -> DropReport {
    let flags: TcpFlags = flags.parse().expect("flags");
    DropReport {
        flow: flow("tcp", "10.244.3.17", 443),
        packet: Some(Packet {
            len: 60,
            tcp_flags: Some(flags),
            seq: Some(7),
            gso_size: None,
            icmp: None,
            echo: None,
        }),
        ..drop_at(point, count)
    }
}

/// A SYN that finds no socket.
fn refused() -> DropReport {
    let mut drop = segment(Point::Socket, "S", 1);
    drop.verdict.rule = Some(CLOSED_PORT.into());
    drop
}

#[test]
fn a_refusal_is_a_failure_though_no_interface_saw_it() {
    let mut layers = Layers::default();
    layers.dropped(&refused());
    insta::assert_snapshot!(lines(&layers), @"
    DNS | not observed | - | -
    TCP | failed | 1 SYN refused: 10.244.1.5 → 10.244.3.17:443 | socket (confirmed)
    policy | not observed | - | -
    firewall | not observed | - | -
    overlay | not observed | - | -
    MTU | blocked | - | blocked by TCP
    listener | failed | it was the socket | socket (confirmed), 1 packet
    TLS | blocked | - | blocked by TCP
    ");
    // Others got through meanwhile.
    layers.attempted(&tcp(1, Outcome::Answered));
    assert_eq!(result_of(&layers, Layer::Tcp), LayerResult::Failed);
    assert_eq!(result_of(&layers, Layer::Listener), LayerResult::Failed);
    assert_eq!(result_of(&layers, Layer::Tls), LayerResult::NotObserved);
}

/// The next try may get through: that the connection failed is not known.
#[test]
fn a_dropped_syn_is_named_and_no_failure_is_claimed() {
    let mut layers = Layers::default();
    layers.dropped(&segment(Point::Endpoint, "S", 2));
    layers.dropped(&segment(Point::Endpoint, "S", 1));
    layers.dropped(&segment(Point::Endpoint, "PA", 4));
    insta::assert_snapshot!(lines(&layers), @"
    DNS | not observed | - | -
    TCP | not observed | 3 SYNs dropped: 10.244.1.5 → 10.244.3.17:443 | endpoint (confirmed)
    policy | not observed | - | -
    firewall | not observed | - | -
    overlay | not observed | - | -
    MTU | not observed | - | -
    listener | not observed | - | -
    TLS | not observed | - | -
    ");
}

#[test]
fn a_dropped_query_is_dns() {
    let mut layers = Layers::default();
    layers.dropped(&DropReport {
        flow: flow("udp", "10.244.2.2", 53),
        ..drop_at(Point::Policy, 2)
    });
    insta::assert_snapshot!(lines(&layers), @"
    DNS | not observed | 2 queries dropped: 10.244.1.5 → 10.244.2.2:53 | policy (confirmed)
    TCP | not observed | - | -
    policy | failed | it was the policy | policy (confirmed), 2 packets
    firewall | not observed | - | -
    overlay | not observed | - | -
    MTU | not observed | - | -
    listener | not observed | - | -
    TLS | not observed | - | -
    ");
}

#[test]
fn a_correction_takes_its_syns_along() {
    let mut layers = Layers::default();
    let before = segment(Point::Unknown, "S", 3);
    layers.dropped(&before);
    layers.corrected_drop(&before.verdict, &segment(Point::Firewall, "S", 3), 3);
    let rows = layers.rows(true, true);
    let row = rows.iter().find(|row| row.layer == Layer::Tcp).unwrap();
    assert_eq!(
        (row.evidence.as_deref(), row.verdict.as_deref()),
        (
            Some("3 SYNs dropped: 10.244.1.5 → 10.244.3.17:443"),
            Some("firewall (confirmed)")
        )
    );
}

#[test]
fn a_stall_fails_behind_the_handshake() {
    let test = |outcomes: &[Outcome]| {
        let attempts: Vec<_> = (0..).zip(outcomes).map(|(n, of)| tcp(n, *of)).collect();
        let rows = of(&attempts).rows(true, true);
        let row = rows.into_iter().find(|row| row.layer == Layer::Tcp);
        row.map(|row| (row.test.into_owned(), row.result)).unwrap()
    };
    use Outcome::{Answered, Stalled, Unanswered};
    let failed = |test: &str| (test.to_owned(), LayerResult::Failed);
    assert_eq!(test(&[Answered, Stalled]), failed("data"));
    assert_eq!(test(&[Stalled, Unanswered]), failed("connection"));
    assert_eq!(test(&[Unanswered, Answered]), failed("handshake"));
}
