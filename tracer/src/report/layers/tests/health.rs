//! What works, and what is no failure.

use super::*;

#[test]
fn where_nothing_was_seen_nothing_is_said() {
    let layers = Layers::default();
    assert_eq!(layers.verdict(), None);
    for row in layers.rows(true, true) {
        assert_eq!(row.result, LayerResult::NotObserved, "{row:?}");
        assert_eq!((row.evidence, row.verdict), (None, None));
    }
}

#[test]
fn health_is_said_of_what_was_seen_to_work() {
    let through_tunnel = AttemptReport {
        hops: vec![hop(false), hop(true)],
        ..tcp(2, Outcome::Answered)
    };
    let layers = of(&[tcp(1, Outcome::Answered), through_tunnel]);
    assert_eq!(layers.verdict(), None);
    insta::assert_snapshot!(lines(&layers), @"
    DNS | not observed | - | -
    TCP | ok | 2 answered: 10.244.1.5 → 10.244.3.17:443 after 3 ms | -
    policy | not observed | - | -
    firewall | ok | 2 attempts got through; no drop by netfilter, tc or XDP was seen, and 0 events were lost | -
    overlay | ok | 1 attempt answered through a tunnel | -
    MTU | not observed | - | -
    listener | ok | 2 handshakes done | -
    TLS | not observed | - | -
    ");
}

#[test]
fn without_a_tunnel_the_overlay_is_not_observed() {
    let layers = of(&[tcp(1, Outcome::Answered)]);
    assert_eq!(result_of(&layers, Layer::Overlay), LayerResult::NotObserved);
}

#[test]
fn what_a_server_has_not_read_is_information() {
    let mut layers = of(&[tcp(1, Outcome::Answered)]);
    let eight = layers.rows(true, true);
    assert!(eight.iter().all(|row| row.layer != Layer::Application));
    layers.unread(["one", "two", "three", "four"].map(str::to_owned).to_vec());
    let rows = layers.rows(true, true);
    assert_eq!(rows[..8], eight);
    let row = rows.last().unwrap();
    assert_eq!(row.result, LayerResult::NotObserved);
    assert_eq!(row.evidence.as_deref(), Some("one; two; three; and 1 more"));
    assert_eq!((&row.verdict, layers.verdict()), (&None, None));
}

#[test]
fn a_correction_takes_the_place_of_what_it_corrects() {
    let mut layers = of(&[failed(1, Point::Firewall, Confidence::Likely)]);
    layers.attempted(&AttemptReport {
        corrects: Some(Outcome::Unanswered),
        ..tcp(1, Outcome::Answered)
    });
    assert_eq!(lines(&layers), lines(&of(&[tcp(1, Outcome::Answered)])));
    assert_eq!(layers.verdict(), None);
}
