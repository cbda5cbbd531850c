//! Many queries of one socket: few events a second are sent of one kind of drops, and each query has
//! its verdict.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use whydrop_tests::{
    deadline,
    fault::{Chain, nft},
    lab::{Family, Host, topology::NodeLab},
    record::{Attempt, Confidence, Flow as RecordedFlow, Outcome, Point, shown},
    tracer::{Tracer, watching},
    traffic::{DnsQuery, DnsServer, Flow, TcpAttempt},
};

const PORT: u16 = 53;
/// A resolver asks for each entry of its search list.
const NAMES: [&str; 8] = [
    "api.example.com.shop.svc.cluster.local",
    "a.example",
    "api.example.com.svc.cluster.local",
    "b.example",
    "api.example.com.cluster.local",
    "c.example",
    "api.example.com.eu-west.compute.internal",
    "d.example",
];
/// Drops the first, third, fifth and seventh of them.
const LONG_ONLY: &str = "udp dport 53 udp length > 45 drop";

/// Asks for all names by one socket.
fn ask(client: &Host, server: SocketAddr) -> Result<DnsQuery> {
    let query = DnsQuery::send(client, server, NAMES[0])?;
    for (id, name) in (1..).zip(&NAMES[1..]) {
        query.ask_more(id, name)?;
    }
    Ok(query)
}

/// The records of the attempts with a flow, once there are so many; in order of their names.
fn attempts(tracer: &mut Tracer, flow: Flow, count: usize) -> Result<Vec<Attempt>> {
    let flow = RecordedFlow::from(flow);
    let mut seen = 0;
    tracer.wait_for(&format!("{count} attempts"), |record| {
        let attempt = record.as_attempt();
        seen += usize::from(attempt.is_some_and(|attempt| attempt.flow == flow));
        seen == count
    })?;
    let records = tracer.records().iter();
    let attempts = records.filter_map(|record| record.as_attempt());
    Ok(attempts
        .filter(|attempt| attempt.flow == flow)
        .cloned()
        .collect())
}

fn verdicts(attempts: &[Attempt]) -> Result<Vec<(Point, Confidence)>> {
    let verdicts = attempts.iter().map(|attempt| {
        let verdict = attempt.verdict.as_ref().context("a verdict")?;
        Ok((verdict.point, verdict.confidence))
    });
    verdicts.collect()
}

/// All of them have the verdict of a rule's drop: those that were seen, and those only counted.
fn expect_firewall(attempts: &[Attempt]) -> Result<()> {
    for attempt in attempts {
        let verdict = attempt.verdict.as_ref().context("a verdict")?;
        ensure!(
            attempt.outcome == Outcome::Unanswered
                && verdict.point == Point::Firewall
                && verdict.confidence >= Confidence::Likely
                && verdict.why.contains("drop"),
            "{}",
            shown(attempt)
        );
    }
    let confirmed = verdicts(attempts)?
        .into_iter()
        .filter(|(_, confidence)| *confidence == Confidence::Confirmed);
    ensure!(confirmed.count() < attempts.len(), "all events were sent");
    Ok(())
}

fn start(lab: &NodeLab, server: SocketAddr) -> Result<Tracer> {
    let mut arguments = watching(&[&lab.node]);
    arguments.push(server.to_string());
    Tracer::start(arguments)
}

fn name(attempt: &Attempt) -> &str {
    attempt.dns.as_ref().map_or("", |dns| dns.question.as_str())
}

#[test]
fn each_query_that_a_rule_drops_has_its_verdict() -> Result<()> {
    let lab = NodeLab::build()?;
    let server = lab.outside.socket(Family::V4, PORT);
    let mut tracer = start(&lab, server)?;
    nft(&lab.node, Chain::inet("forward"), "udp dport 53 drop")?;
    let query = ask(&lab.pod_a, server)?;
    let attempts = attempts(&mut tracer, query.flow(), NAMES.len())?;
    expect_firewall(&attempts)?;
    let trace = tracer.stop()?;
    ensure!(
        trace.summary.drops == NAMES.len() as u64,
        "{:?}",
        trace.summary
    );
    ensure!(
        trace.attempts().count() == NAMES.len(),
        "none was corrected"
    );
    Ok(())
}

/// The healthy twin: what the rule lets through is answered, and has no verdict.
#[test]
fn short_queries_are_answered_beside_long_ones_that_a_rule_drops() -> Result<()> {
    let lab = NodeLab::build()?;
    let server = lab.outside.socket(Family::V4, PORT);
    let _server = DnsServer::start(&lab.outside, server)?;
    let mut tracer = start(&lab, server)?;
    nft(&lab.node, Chain::inet("forward"), LONG_ONLY)?;
    let query = ask(&lab.pod_a, server)?;
    ensure!(query.answered(deadline())?, "a short one is answered");
    let attempts = attempts(&mut tracer, query.flow(), NAMES.len())?;
    let (answered, lost): (Vec<_>, Vec<_>) = attempts
        .into_iter()
        .partition(|attempt| attempt.outcome == Outcome::Answered);
    ensure!(answered.len() == 4 && answered.iter().all(|one| name(one).len() < 10));
    ensure!(answered.iter().all(|one| one.verdict.is_none()));
    expect_firewall(&lost)?;
    tracer.stop().map(drop)
}

/// Those that get further than the ones that were dropped are not among them.
#[test]
fn short_queries_that_leave_the_node_are_not_counted_among_the_dropped() -> Result<()> {
    let lab = NodeLab::build()?;
    let server = lab.outside.socket(Family::V4, PORT);
    nft(&lab.outside, Chain::inet("input"), "udp dport 53 drop")?;
    let mut tracer = start(&lab, server)?;
    nft(&lab.node, Chain::inet("forward"), LONG_ONLY)?;
    let query = ask(&lab.pod_a, server)?;
    let attempts = attempts(&mut tracer, query.flow(), NAMES.len())?;
    let (short, long): (Vec<_>, Vec<_>) =
        attempts.into_iter().partition(|one| name(one).len() < 10);
    expect_firewall(&long)?;
    for (point, _) in verdicts(&short)? {
        ensure!(point != Point::Firewall, "{point:?}");
    }
    tracer.stop().map(drop)
}

#[test]
fn each_answer_that_a_rule_drops_is_its_query_s() -> Result<()> {
    let lab = NodeLab::build()?;
    let server = lab.outside.socket(Family::V4, PORT);
    let _server = DnsServer::start(&lab.outside, server)?;
    let mut tracer = start(&lab, server)?;
    nft(&lab.node, Chain::inet("forward"), "udp sport 53 drop")?;
    let query = ask(&lab.pod_a, server)?;
    expect_firewall(&attempts(&mut tracer, query.flow(), NAMES.len())?)?;
    tracer.stop().map(drop)
}

/// One client port that tries again and again: each SYN begins another attempt.
#[test]
fn each_syn_from_one_port_has_its_verdict() -> Result<()> {
    const TIMES: usize = 6;
    let lab = NodeLab::build()?;
    let server = lab.outside.socket(Family::V4, 8_045);
    let mut tracer = start(&lab, server)?;
    nft(&lab.node, Chain::inet("forward"), "tcp dport 8045 drop")?;
    let first = TcpAttempt::start(&lab.pod_a, None, server)?;
    let flow = first.flow();
    drop(first);
    for _ in 1..TIMES {
        drop(TcpAttempt::start_from(&lab.pod_a, flow.src.port(), server)?);
    }
    expect_firewall(&attempts(&mut tracer, flow, TIMES)?)?;
    tracer.stop().map(drop)
}
