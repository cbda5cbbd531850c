//! Joined traces, made by hand: times, clocks and gaps that no lab makes on purpose.

mod absence;
mod paths;

use std::time::{Duration, SystemTime};

use super::Trace;
use crate::model::{
    AttemptReport, Confidence, Direction, DropReport, Flow, Hop, More, Outcome, PathReport, Point,
    Protocol, Report, Scope, Span, Started, Summary, Verdict,
};

const MS: u64 = 1000;

fn at(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000) + Duration::from_millis(millis)
}

fn flow() -> Flow {
    Flow {
        proto: Protocol::from(6),
        src: [10, 0, 0, 1].into(),
        sport: Some(40000),
        dst: [10, 0, 0, 2].into(),
        dport: Some(443),
    }
}

fn hop(dir: Direction, at_us: u64) -> Hop {
    Hop {
        ifname: "eth0".to_owned(),
        netns: 1,
        netns_name: None,
        pod: None,
        dir,
        at_us,
        times: 1,
        flow: None,
        outer: None,
        mtu: 1500,
    }
}

/// A trace of one node, from 0 to 60 s by its own clock.
fn trace(name: &str, address: [u8; 4], attempts: Vec<AttemptReport>) -> Trace {
    let mut trace = Trace::new(started(name, address, 0), "file");
    for attempt in attempts {
        trace.take(Report::Attempt(Box::new(attempt)));
    }
    trace.take(Report::Summary(Box::new(Summary {
        ts: Some(at(60_000)),
        ..Summary::default()
    })));
    trace
}

fn started(name: &str, address: [u8; 4], millis: u64) -> Started {
    Started {
        ts: at(millis),
        kernel: "6.12".to_owned(),
        interfaces: 1,
        hooks: Vec::new(),
        degraded: Vec::new(),
        filter: "everything".to_owned(),
        node: Some(name.to_owned()),
        addresses: vec![address.into()],
        complete: true,
        scope: Some(filter(None)),
    }
}

fn attempt(isn: u32, millis: u64, hops: Vec<Hop>, reply_hops: Vec<Hop>) -> AttemptReport {
    let answered = !reply_hops.is_empty();
    let off_node = Verdict::new(Point::OffNode, Confidence::Likely, "it left this node");
    AttemptReport {
        ts: at(millis),
        flow: flow(),
        original_dst: None,
        translated: None,
        src_pod: None,
        dst_pod: None,
        src_owner: None,
        dst_owner: None,
        service: None,
        outcome: if answered {
            Outcome::Answered
        } else {
            Outcome::Unanswered
        },
        corrects: None,
        syns: 1,
        waited_ms: 1000,
        isn: Some(isn),
        dns: None,
        tls: None,
        by: None,
        process: None,
        hops,
        reply: None,
        reply_hops,
        verdict: (!answered).then_some(off_node),
    }
}

/// The client's node: the SYN goes out, and an answer comes in after so many microseconds.
fn client(isn: u32, millis: u64, answer_after: Option<u64>) -> AttemptReport {
    let reply = answer_after.map(|micros| hop(Direction::In, micros));
    let reply = reply.into_iter().collect();
    attempt(isn, millis, vec![hop(Direction::Out, 0)], reply)
}

/// The server's node: it comes in, and the answer goes out at once.
fn server(isn: u32, millis: u64) -> AttemptReport {
    let hops = vec![hop(Direction::In, 0)];
    attempt(isn, millis, hops, vec![hop(Direction::Out, 50)])
}

fn judged(path: &PathReport) -> (Point, Confidence, bool) {
    let verdict = path.verdict.as_ref().expect("a verdict");
    (verdict.point, verdict.confidence, path.between.is_some())
}

fn filter(to: Option<&str>) -> Scope {
    Scope {
        proto: "any".to_owned(),
        to: to.map(str::to_owned),
        from: None,
        netns: Vec::new(),
        to_is: Vec::new(),
        from_is: Vec::new(),
    }
}

const CONFIRMED: (Point, Confidence, bool) = (Point::OffNode, Confidence::Confirmed, true);
const LIKELY: (Point, Confidence, bool) = (Point::OffNode, Confidence::Likely, false);
