//! What the report says, and what it must not say.

mod evidence;

use std::time::{Duration, SystemTime};

use super::*;
use crate::model::{Direction, Dns, Fix, Flow, Hop, Layer, LayerResult, LayerRow};

fn flow(proto: &str, dst: &str, dport: u16) -> Flow {
    Flow {
        proto: proto.parse().expect("a protocol"),
        src: [10, 244, 1, 5].into(),
        sport: Some(43_210),
        dst: dst.parse().expect("an address"),
        dport: Some(dport),
    }
}

fn hop(outer: bool) -> Hop {
    Hop {
        ifname: "eth0".to_owned(),
        netns: 1,
        netns_name: None,
        pod: None,
        dir: Direction::Out,
        at_us: 0,
        times: 1,
        flow: None,
        outer: outer.then(|| flow("udp", "192.0.2.2", 8472).into()),
        mtu: 1500,
    }
}

/// The `n`th attempt.
fn tcp(n: u64, outcome: Outcome) -> AttemptReport {
    AttemptReport {
        ts: SystemTime::UNIX_EPOCH + Duration::from_secs(n),
        flow: flow("tcp", "10.244.3.17", 443),
        original_dst: None,
        translated: None,
        src_pod: None,
        dst_pod: None,
        src_owner: None,
        dst_owner: None,
        service: None,
        outcome,
        corrects: None,
        syns: 1,
        waited_ms: 3,
        isn: Some(7),
        dns: None,
        tls: None,
        by: None,
        hops: vec![hop(false)],
        reply_hops: vec![],
        verdict: None,
    }
}

fn dns(n: u64, outcome: Outcome, rcode: Option<&str>) -> AttemptReport {
    AttemptReport {
        flow: flow("udp", "10.244.2.2", 53),
        isn: None,
        dns: Some(Dns {
            id: Some(7),
            question: "cart.shop".to_owned(),
            qtype: "A".to_owned(),
            rcode: rcode.map(str::to_owned),
        }),
        ..tcp(n, outcome)
    }
}

fn verdict(point: Point, confidence: Confidence) -> Option<Verdict> {
    Some(Verdict {
        fix: vec![Fix::advice(format!("mend the {}", point.name()))],
        ..Verdict::new(point, confidence, format!("it was the {}", point.name()))
    })
}

fn failed(n: u64, point: Point, confidence: Confidence) -> AttemptReport {
    AttemptReport {
        verdict: verdict(point, confidence),
        ..tcp(n, Outcome::Unanswered)
    }
}

fn drop_at(point: Point, count: u64) -> DropReport {
    DropReport {
        ts: SystemTime::UNIX_EPOCH,
        flow: flow("udp", "10.244.3.17", 514),
        original_dst: None,
        outer: None,
        quoted: None,
        packet: None,
        reason: "NETFILTER_DROP".into(),
        function: None,
        hook: None,
        ifname: None,
        netns: None,
        netns_name: None,
        count,
        noise: false,
        corrects: None,
        src_pod: None,
        dst_pod: None,
        src_owner: None,
        dst_owner: None,
        stack: None,
        verdict: verdict(point, Confidence::Confirmed).expect("a verdict"),
    }
}

fn of(attempts: &[AttemptReport]) -> Layers {
    let mut layers = Layers::default();
    for attempt in attempts {
        layers.attempted(attempt);
    }
    layers
}

impl Layers {
    fn verdict(&self) -> Option<Verdict> {
        let main = self.verdicts().into_iter().next();
        main.map(|main| main.verdict)
    }
}

fn lines(layers: &Layers) -> String {
    text(&layers.rows(true, true))
}

fn text(rows: &[LayerRow]) -> String {
    let line = |row: &LayerRow| {
        let optional = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let result = match row.result {
            LayerResult::Ok => "ok",
            LayerResult::Failed => "failed",
            LayerResult::Blocked => "blocked",
            LayerResult::NotObserved => "not observed",
            LayerResult::Skipped => "skipped",
        };
        let (evidence, verdict) = (optional(&row.evidence), optional(&row.verdict));
        format!("{} | {result} | {evidence} | {verdict}\n", row.layer.name())
    };
    rows.iter().map(line).collect()
}

fn result_of(layers: &Layers, layer: Layer) -> LayerResult {
    let rows = layers.rows(true, true);
    let row = rows.iter().find(|row| row.layer == layer);
    row.expect("such a layer").result
}

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

/// An attempt that this rule has stopped.
fn by_rule(n: u64, rule: &str) -> AttemptReport {
    let verdict = Verdict {
        subject: rule.to_owned(),
        ..Verdict::new(
            Point::Firewall,
            Confidence::Confirmed,
            format!("dropped by {rule}"),
        )
    };
    AttemptReport {
        verdict: Some(verdict),
        ..tcp(n, Outcome::Unanswered)
    }
}

#[test]
fn each_rule_is_credited_with_its_own_attempts() {
    let attempts = [
        by_rule(1, "rule 1"),
        by_rule(2, "rule 2"),
        by_rule(3, "rule 2"),
    ];
    let layers = of(&attempts);
    let rows = layers.rows(true, true);
    let firewall = rows
        .iter()
        .find(|row| row.layer == Layer::Firewall)
        .unwrap();
    assert_eq!(
        firewall.evidence.as_deref(),
        Some("dropped by rule 2 (2 attempts); dropped by rule 1 (1 attempt)")
    );
    assert_eq!(
        firewall.verdict.as_deref(),
        Some("firewall (confirmed), 3 attempts")
    );
    let all = layers.verdicts();
    let all: Vec<_> = all
        .iter()
        .map(|one| (one.verdict.subject.as_str(), one.attempts))
        .collect();
    assert_eq!(all, [("rule 2", 2), ("rule 1", 1)]);
}

#[test]
fn a_drop_of_another_kind_is_another_cause() {
    let mut layers = of(&[failed(1, Point::Policy, Confidence::Confirmed)]);
    layers.dropped(&drop_at(Point::Firewall, 4));
    let points = |layers: &Layers| {
        let all = layers.verdicts().into_iter();
        all.map(|one| one.verdict.point).collect::<Vec<_>>()
    };
    assert_eq!(points(&layers), [Point::Policy, Point::Firewall]);
    // The attempt's own verdict says it better than that of its packet.
    let mut own = drop_at(Point::Policy, 1);
    own.verdict.rule = Some("netfilter".into());
    layers.dropped(&own);
    assert_eq!(points(&layers), [Point::Policy, Point::Firewall]);
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
