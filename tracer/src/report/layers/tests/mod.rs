//! What the report says, and what it must not say.

mod blocks;
mod causes;
mod evidence;
mod health;
mod opening;

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
        process: None,
        hops: vec![hop(false)],
        reply: None,
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
