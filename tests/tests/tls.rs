//! What becomes of a ClientHello behind a handshake that is done.

use std::{io::Read, io::Write, net::TcpStream, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use whydrop_tests::{
    attempt::AttemptTrace,
    deadline,
    expected::ExpectedAttempt,
    fault::{Chain, nft},
    lab::{Family, Namespace, topology::RouterLab},
    record::{Layer, LayerResult, Point, Summary},
    traffic::{
        Flow, Outcome, TcpServer,
        tls::{self, client_hello},
    },
};

const GOOD: u16 = 8443;
const BAD: u16 = 8444;

fn through_router(lab: &RouterLab, expected: ExpectedAttempt) -> ExpectedAttempt {
    expected
        .hops(&[(&lab.router, "left in, right out")])
        .reply_hops(&[(&lab.router, "right in, left out")])
}

fn at_client(lab: &RouterLab, expected: ExpectedAttempt) -> ExpectedAttempt {
    expected
        .hops(&[(&lab.client, "eth0 out")])
        .reply_hops(&[(&lab.client, "eth0 in")])
}

/// Connects, which is reported as answered, and sends a ClientHello.
fn say_hello(
    watch: &mut AttemptTrace,
    lab: &RouterLab,
    (family, port): (Family, u16),
    len: u16,
    answered: &ExpectedAttempt,
) -> Result<(Flow, TcpStream)> {
    let server = lab.server.socket(family, port);
    let attempt = watch.broken(&lab.client, server, answered)?;
    let flow = attempt.flow();
    let Outcome::Connected(mut connection) = attempt.outcome(deadline())? else {
        bail!("no connection");
    };
    connection.write_all(&client_hello(len))?;
    Ok((flow, connection))
}

/// The healthy twin: a ClientHello that is answered.
fn good(
    watch: &mut AttemptTrace,
    lab: &RouterLab,
    family: Family,
    answered: &ExpectedAttempt,
) -> Result<()> {
    let (_, mut connection) = say_hello(watch, lab, (family, GOOD), 517, answered)?;
    connection.set_read_timeout(Some(deadline()))?;
    connection
        .read_exact(&mut [0; 122])
        .context("no ServerHello")
}

/// A row of the report: its result and its evidence.
fn row(summary: &Summary, layer: Layer, result: LayerResult, evidence: &str) -> Result<()> {
    let row = summary.layers.iter().find(|row| row.layer == layer);
    let row = row.with_context(|| format!("no row for {}", layer.name()))?;
    let said = row.evidence.as_deref().unwrap_or_default();
    ensure!(row.result == result && said.contains(evidence), "{row:?}");
    Ok(())
}

#[test]
fn answered_or_reset() -> Result<()> {
    Family::at_once(|family| {
        let lab = RouterLab::build()?;
        let _good = TcpServer::serve(&lab.server, lab.server.socket(family, GOOD), tls::answer)?;
        let _bad = TcpServer::serve(&lab.server, lab.server.socket(family, BAD), tls::reset)?;
        let mut watch = AttemptTrace::start(&[&lab.router], [lab.server.address(family)])?;
        let answered = through_router(&lab, ExpectedAttempt::answered());
        good(&mut watch, &lab, family, &answered)?;

        let (flow, _connection) = say_hello(&mut watch, &lab, (family, BAD), 517, &answered)?;
        let reset = ExpectedAttempt::failed("refused", "socket", "likely")
            .corrects("answered")
            .by("the far end, through right")
            .why("the ClientHello was answered with a RST by the far end")
            .evidence("the ClientHello of 517 bytes was seen at left");
        watch.expect(flow, &through_router(&lab, reset))?;
        let summary = watch.finish()?.summary;
        row(&summary, Layer::Tcp, LayerResult::Ok, "2 answered")?;
        row(&summary, Layer::Listener, LayerResult::Ok, "")?;
        let sum = "2 ClientHellos: 1 answered with a RST, 1 answered";
        row(&summary, Layer::Tls, LayerResult::Failed, sum)?;
        let main = summary.verdict.context("a main verdict")?;
        ensure!(main.point == Point::Socket, "{main:?}");
        Ok(())
    })
}

#[test]
fn all_answered() -> Result<()> {
    let lab = RouterLab::build()?;
    let server = lab.server.socket(Family::V4, GOOD);
    let _good = TcpServer::serve(&lab.server, server, tls::answer)?;
    let mut watch = AttemptTrace::start(&[&lab.router], [server])?;
    let answered = through_router(&lab, ExpectedAttempt::answered());
    good(&mut watch, &lab, Family::V4, &answered)?;
    let summary = watch.finish()?.summary;
    ensure!(summary.verdict.is_none(), "{:?}", summary.verdict);
    row(
        &summary,
        Layer::Tls,
        LayerResult::Ok,
        "1 ClientHello, 1 answered",
    )
}

/// For how long a client waits in vain: longer than an attempt may go unanswered.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads until the client has gone, and says nothing.
fn say_nothing(mut connection: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(1..) = connection.read(&mut buffer) {}
}

/// The server's kernel acknowledges the ClientHello, and its process hangs.
#[test]
fn acknowledged_and_not_answered() -> Result<()> {
    let lab = RouterLab::build()?;
    let (good_server, bad_server) = (
        lab.server.socket(Family::V4, GOOD),
        lab.server.socket(Family::V4, BAD),
    );
    let _good = TcpServer::serve(&lab.server, good_server, tls::answer)?;
    let _bad = TcpServer::serve(&lab.server, bad_server, say_nothing)?;
    let mut watch = AttemptTrace::start(&[&lab.router], [lab.server.address(Family::V4)])?;
    let answered = through_router(&lab, ExpectedAttempt::answered());
    good(&mut watch, &lab, Family::V4, &answered)?;
    let of = (Family::V4, BAD);
    let (_, mut connection) = say_hello(&mut watch, &lab, of, 517, &answered)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    ensure!(connection.read(&mut [0]).is_err(), "an answer");
    let summary = watch.finish()?.summary;
    let sum = "2 ClientHellos: 1 acknowledged, but not answered, 1 answered";
    row(&summary, Layer::Tls, LayerResult::Failed, sum)
}

/// A ClientHello that is not acknowledged, after one that is answered.
fn unacknowledged(
    watched: impl Fn(&RouterLab) -> &Namespace + Sync,
    seen: impl Fn(&RouterLab, ExpectedAttempt) -> ExpectedAttempt + Sync,
    len: u16,
    fault: impl Fn(&RouterLab, Family) -> Result<()> + Sync,
    stalled: &ExpectedAttempt,
) -> Result<()> {
    Family::at_once(|family| {
        let lab = RouterLab::build()?;
        let _good = TcpServer::serve(&lab.server, lab.server.socket(family, GOOD), tls::answer)?;
        let _bad = TcpServer::serve(&lab.server, lab.server.socket(family, BAD), tls::answer)?;
        let mut watch = AttemptTrace::start(&[watched(&lab)], [lab.server.address(family)])?;
        let answered = seen(&lab, ExpectedAttempt::answered());
        good(&mut watch, &lab, family, &answered)?;
        fault(&lab, family)?;
        let (flow, connection) = say_hello(&mut watch, &lab, (family, BAD), len, &answered)?;
        let stalled = stalled
            .clone()
            .corrects("answered")
            .evidence(format!("the ClientHello of {len} bytes"))
            .evidence("never acknowledged");
        watch.expect(flow, &seen(&lab, stalled))?;
        drop(connection);
        let summary = watch.finish()?.summary;
        let sum = "2 ClientHellos: 1 never acknowledged, 1 answered";
        row(&summary, Layer::Tls, LayerResult::Failed, sum)
    })
}

/// A way on that takes less, and a router whose word about it is lost.
fn narrow(lab: &RouterLab, family: Family) -> Result<()> {
    let (flag, server) = (family.flag(), lab.server.address(family));
    lab.router.run(&format!(
        "ip {flag} route add {server} dev right mtu lock 1300"
    ))?;
    let rule = family.pick(
        "icmp type destination-unreachable drop",
        "icmpv6 type packet-too-big drop",
    );
    nft(&lab.router, Chain::inet("output"), rule)
}

/// A host beyond the watched namespaces drops segments with data.
fn swallow(lab: &RouterLab, _: Family) -> Result<()> {
    let rule = format!("tcp dport {BAD} tcp flags & psh == psh drop");
    nft(&lab.server, Chain::inet("input"), &rule)
}

/// A ClientHello with keys against quantum computers is longer than a segment.
#[test]
fn long_and_too_large_for_this_router() -> Result<()> {
    let expected = ExpectedAttempt::dropped("stalled", "mtu");
    unacknowledged(|lab| &lab.router, through_router, 1700, narrow, &expected)
}

#[test]
fn long_and_lost_elsewhere() -> Result<()> {
    let expected =
        ExpectedAttempt::failed("stalled", "mtu", "possible").why("the ClientHello does not");
    unacknowledged(|lab| &lab.client, at_client, 1700, narrow, &expected)
}

/// No socket is in sight: that it is sent again, the packets alone say.
#[test]
fn short_and_lost_elsewhere() -> Result<()> {
    let expected = ExpectedAttempt::failed("stalled", "unknown", "possible");
    unacknowledged(|lab| &lab.router, through_router, 517, swallow, &expected)
}
