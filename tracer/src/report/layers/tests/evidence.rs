//! What a row rests on, and what it may not claim.

use super::*;

#[test]
fn an_absence_is_claimed_only_where_nothing_was_missed() {
    let layers = of(&[tcp(1, Outcome::Answered)]);
    assert_eq!(result_of(&layers, Layer::Firewall), LayerResult::Ok);
    let rows = layers.rows(false, true);
    let firewall = rows.iter().find(|row| row.layer == Layer::Firewall);
    assert_eq!(
        firewall.map(|row| row.result),
        Some(LayerResult::NotObserved)
    );

    let open = of(&[
        tcp(1, Outcome::Answered),
        failed(2, Point::Unknown, Confidence::Possible),
    ]);
    assert_eq!(result_of(&open, Layer::Firewall), LayerResult::NotObserved);
    assert_eq!(open.verdict(), None);
}

#[test]
fn drops_speak_where_no_attempt_was_seen() {
    let mut layers = Layers::default();
    layers.dropped(&drop_at(Point::Firewall, 3));
    layers.dropped(&drop_at(Point::Socket, 9));
    insta::assert_snapshot!(lines(&layers), @"
    DNS | not observed | - | -
    TCP | not observed | - | -
    policy | not observed | - | -
    firewall | failed | it was the firewall | firewall (confirmed), 3 packets
    overlay | not observed | - | -
    MTU | not observed | - | -
    listener | not observed | - | -
    TLS | not observed | - | -
    ");
    assert_eq!(layers.verdict().map(|v| v.point), Some(Point::Socket));
    // Of the attempts that fail, a drop of something else is no explanation.
    layers.attempted(&failed(1, Point::Unknown, Confidence::Possible));
    assert_eq!(layers.verdict(), None);
}

#[test]
fn the_most_frequent_verdict_wins_and_the_first_of_equals() {
    let listener = |n| failed(n, Point::Listener, Confidence::Confirmed);
    let route = |n| failed(n, Point::Route, Confidence::Likely);
    let point = |layers: &Layers| layers.verdict().map(|verdict| verdict.point);
    let mut layers = of(&[listener(1), route(2)]);
    assert_eq!(point(&layers), Some(Point::Listener));
    layers.attempted(&route(3));
    assert_eq!(point(&layers), Some(Point::Route));
}

#[test]
fn memory_is_bounded() {
    let mut layers = of(&[failed(0, Point::Policy, Confidence::Confirmed)]);
    for n in 1..=40_000 {
        let mut attempt = failed(n, Point::Unknown, Confidence::Possible);
        if let Some(verdict) = &mut attempt.verdict {
            verdict.why = format!("unknown {n}");
        }
        layers.attempted(&attempt);
    }
    assert!(layers.blamed.len() <= MAX_BLAMED);
    assert!(layers.standing.len() <= MAX_STANDING && layers.order.len() <= MAX_STANDING);
    assert_eq!(layers.tcp.all(), 40_001);
    assert_eq!(layers.verdict().map(|v| v.point), Some(Point::Policy));
}

/// What was seen of TLS makes a row of its own, and a RST behind the handshake is no failure of TCP.
#[test]
fn tls_by_its_client_hellos() {
    let counts = |hellos, answered| TlsCounts {
        hellos,
        answered,
        silent: 0,
    };
    let row = |layers: &Layers| {
        let rows = layers.rows(true, true);
        let row = rows.iter().find(|row| row.layer == Layer::Tls).unwrap();
        (row.result, row.evidence.clone().unwrap_or_default())
    };
    let mut layers = Layers::default();
    layers.attempted(&tcp(1, Outcome::Answered));
    layers.began_tls(counts(1, 1));
    assert_eq!(
        row(&layers),
        (LayerResult::Ok, "1 ClientHello, 1 answered".to_owned())
    );
    layers.began_tls(counts(2, 1));
    assert_eq!(row(&layers).0, LayerResult::NotObserved);
    layers.answered(3);
    let unseen = "3 connections only counted, without a look at their data";
    let with_unseen = format!("2 ClientHellos, 1 answered; {unseen}");
    assert_eq!(row(&layers), (LayerResult::NotObserved, with_unseen));
    layers.began_tls(counts(0, 0));
    let only = (LayerResult::NotObserved, unseen.to_owned());
    assert_eq!(row(&layers), only);
    layers.unseen = 0;
    layers.began_tls(TlsCounts {
        silent: 1,
        ..counts(2, 1)
    });
    assert_eq!(
        row(&layers),
        (
            LayerResult::Failed,
            "2 ClientHellos: 1 acknowledged, but not answered, 1 answered".to_owned()
        )
    );
    layers.began_tls(counts(2, 1));
    layers.attempted(&AttemptReport {
        corrects: Some(Outcome::Answered),
        tls: Some(TlsStage::Reset),
        ..tcp(2, Outcome::Refused)
    });
    assert_eq!(
        row(&layers),
        (
            LayerResult::Failed,
            "2 ClientHellos: 1 answered with a RST, 1 answered".to_owned()
        )
    );
    let rows = layers.rows(true, true);
    let tcp = rows.iter().find(|row| row.layer == Layer::Tcp).unwrap();
    assert_eq!(tcp.result, LayerResult::Ok);
}
