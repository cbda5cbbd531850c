//! Many connections work and a few do not: those that work are counted, and those that do not are
//! reported as if they were alone.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use whydrop_tests::{
    deadline,
    expected::ExpectedAttempt,
    fault::{Chain, nft},
    lab::{
        Family,
        topology::{NodeLab, RouterLab},
    },
    record::Outcome as Reported,
    tracer::{Trace, Tracer, watching},
    traffic::{Outcome, TcpAttempt, TcpServer, upload},
};

const PORT: u16 = 8080;
/// More than any trace without `--answered` looks at one by one.
const MANY: u64 = 400;

/// Traces everything of a node.
fn trace(lab: &NodeLab) -> Result<Tracer> {
    let mut arguments = watching(&[&lab.node]);
    arguments.push("--all".to_owned());
    Tracer::start(arguments)
}

/// So many clients connect, and are answered.
fn connect(lab: &NodeLab, server: SocketAddr, count: u64) -> Result<()> {
    for _ in 0..count {
        let attempt = TcpAttempt::start(&lab.outside, None, server)?;
        let Outcome::Connected(_) = attempt.outcome(deadline())? else {
            bail!("no connection to {server} while all was well");
        };
    }
    Ok(())
}

fn answered(trace: &Trace) -> u64 {
    trace
        .summary
        .attempts
        .get(&Reported::Answered)
        .copied()
        .unwrap_or_default()
}

#[test]
fn healthy() -> Result<()> {
    let lab = NodeLab::build()?;
    let servers = [Family::V4, Family::V6].map(|family| lab.pod_a.socket(family, PORT));
    let [_four, _six] = servers.map(|server| TcpServer::echo(&lab.pod_a, server));
    let tracer = trace(&lab)?;
    for server in servers {
        connect(&lab, server, MANY)?;
    }
    let trace = tracer.stop()?;
    let summary = &trace.summary;
    ensure!(summary.lost == 0, "{summary:?}");
    ensure!(answered(&trace) == 2 * MANY, "{summary:?}");
    ensure!(summary.attempts.len() == 1, "{summary:?}");
    ensure!(summary.verdicts.is_empty(), "{summary:?}");
    let records = trace.attempts().count() as u64;
    ensure!(
        (1..MANY).contains(&records),
        "{records} of {} were reported one by one",
        2 * MANY
    );
    ensure!(summary.counted == 2 * MANY - records, "{summary:?}");
    Ok(())
}

/// Refused, rejected, dropped and never answered, each among others that work.
#[test]
fn some_fail() -> Result<()> {
    let lab = NodeLab::build()?;
    let server = |port| lab.pod_a.socket(Family::V4, port);
    let _server = TcpServer::echo(&lab.pod_a, server(PORT))?;
    let [closed, rejected, dropped, silent] = [1, 2, 3, 4].map(|more| PORT + more);
    nft(
        &lab.node,
        Chain::inet("forward"),
        &format!("tcp dport {dropped} drop"),
    )?;
    nft(
        &lab.pod_a,
        Chain::inet("input"),
        &format!("tcp dport {silent} drop"),
    )?;
    nft(
        &lab.pod_a,
        Chain::inet("input"),
        &format!("tcp dport {rejected} reject with icmp type admin-prohibited"),
    )?;
    let hops = [(&*lab.node, "eth0 in, cni0 out, veth-a out")];
    let back = [(&*lab.node, "veth-a in, cni0 in, eth0 out")];
    let expected = [
        (
            closed,
            ExpectedAttempt::failed("refused", "socket", "likely")
                .hops(&hops)
                .reply_hops(&back),
        ),
        (
            rejected,
            ExpectedAttempt::failed("rejected", "firewall", "likely")
                .hops(&hops)
                .reply_hops(&back),
        ),
        (
            dropped,
            ExpectedAttempt::dropped("unanswered", "firewall")
                .hops(&[(&lab.node, "eth0 in")])
                .why(format!("tcp dport {dropped} drop")),
        ),
        (
            silent,
            ExpectedAttempt::failed("unanswered", "firewall", "likely").hops(&hops),
        ),
    ];
    let mut tracer = trace(&lab)?;
    let mut attempts = Vec::new();
    for (port, expected) in expected {
        connect(&lab, server(PORT), MANY / 4)?;
        attempts.push((
            TcpAttempt::start(&lab.outside, None, server(port))?,
            expected,
        ));
    }
    connect(&lab, server(PORT), MANY / 4)?;
    for (attempt, expected) in &attempts {
        let record = tracer.outcome_of(attempt.flow())?;
        expected.check(&record)?;
    }
    let trace = tracer.stop()?;
    ensure!(answered(&trace) == MANY / 4 * 5, "{:?}", trace.summary);
    let failed: u64 = trace.summary.attempts.values().sum();
    ensure!(failed == MANY / 4 * 5 + 4, "{:?}", trace.summary);
    Ok(())
}

/// A connection that was counted only, whose data then gets lost: its handshake is known all the same.
#[test]
fn a_counted_one_stalls() -> Result<()> {
    let lab = RouterLab::build()?;
    let server = lab.server.socket(Family::V4, PORT);
    let _server = TcpServer::echo(&lab.server, server)?;
    let mut arguments = watching(&[&lab.client]);
    arguments.push("--all".to_owned());
    let mut tracer = Tracer::start(arguments)?;
    let connect = || TcpAttempt::start(&lab.client, None, server);
    for _ in 0..MANY {
        connect()?.outcome(deadline())?;
    }
    let attempt = connect()?;
    let flow = attempt.flow();
    let Outcome::Connected(connection) = attempt.outcome(deadline())? else {
        bail!("no connection to {server} while all was well");
    };
    nft(
        &lab.router,
        Chain::inet("forward"),
        &format!("tcp dport {PORT} meta length > 1000 drop"),
    )?;
    let wanted = whydrop_tests::record::Flow::from(flow);
    let upload = std::thread::spawn(move || upload(connection, 100_000, deadline()));
    let record = tracer.wait_for("the stall", |record| {
        let attempt = record.as_attempt();
        attempt
            .is_some_and(|attempt| attempt.flow == wanted && attempt.outcome == Reported::Stalled)
    })?;
    let record = record.as_attempt().context("an attempt")?.clone();
    ExpectedAttempt::failed("stalled", "mtu", "possible")
        .corrects("answered")
        .hops(&[(&lab.client, "eth0 out")])
        .reply_hops(&[(&lab.client, "eth0 in")])
        .check(&record)?;
    let trace = tracer.stop()?;
    let all: u64 = trace.summary.attempts.values().sum();
    ensure!(all == MANY + 1, "{:?}", trace.summary);
    drop(upload);
    Ok(())
}

/// The same without a rule: the data arrives, and its connection stays a number.
#[test]
fn a_counted_one_sends() -> Result<()> {
    let lab = RouterLab::build()?;
    let server = lab.server.socket(Family::V4, PORT);
    let _server = TcpServer::echo(&lab.server, server)?;
    let mut arguments = watching(&[&lab.client]);
    arguments.push("--all".to_owned());
    let tracer = Tracer::start(arguments)?;
    let connect = || TcpAttempt::start(&lab.client, None, server);
    for _ in 0..MANY {
        connect()?.outcome(deadline())?;
    }
    let Outcome::Connected(connection) = connect()?.outcome(deadline())? else {
        bail!("no connection to {server} while all was well");
    };
    upload(connection, 100_000, deadline())?;
    let trace = tracer.stop()?;
    ensure!(answered(&trace) == MANY + 1, "{:?}", trace.summary);
    ensure!(trace.summary.attempts.len() == 1, "{:?}", trace.summary);
    ensure!(trace.summary.verdicts.is_empty(), "{:?}", trace.summary);
    Ok(())
}
