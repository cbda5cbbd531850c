//! What a whole trace says in the end, also of two failures that have nothing to do with each other.

use anyhow::{Context, Result, ensure};
use whydrop_tests::{
    attempt::AttemptTrace,
    expected::{ExpectedAttempt, ExpectedVerdict},
    fault::{Chain, nft},
    lab::{Family, topology::RouterLab},
    record::{Layer, LayerResult, Point, Protocol, Summary},
    traffic::{TcpServer, UdpClient, UdpServer},
};

const PORT: u16 = 8080;

fn result(summary: &Summary, layer: Layer) -> Result<LayerResult> {
    let mut rows = summary.layers.iter();
    let row = rows.find(|row| row.layer == layer);
    let row = row.with_context(|| format!("no row for {}", layer.name()))?;
    Ok(row.result)
}

fn healthy(lab: &RouterLab, watch: &mut AttemptTrace) -> Result<()> {
    let server = lab.server.socket(Family::V4, PORT);
    let expected = ExpectedAttempt::answered()
        .hops(&[(&lab.router, "left in, right out")])
        .reply_hops(&[(&lab.router, "right in, left out")]);
    watch.healthy(&lab.client, &lab.server, server, &expected)
}

#[test]
fn healthy_trace() -> Result<()> {
    let lab = RouterLab::build()?;
    let server = lab.server.socket(Family::V4, PORT);
    let _server = TcpServer::echo(&lab.server, server)?;
    let mut watch = AttemptTrace::start(&[&lab.router], [server])?;
    healthy(&lab, &mut watch)?;
    let summary = watch.finish()?.summary;
    ensure!(summary.verdict.is_none(), "{:?}", summary.verdict);
    for layer in &summary.layers {
        ensure!(layer.result != LayerResult::Failed, "{layer:?}");
    }
    for (layer, should) in [
        (Layer::Tcp, LayerResult::Ok),
        (Layer::Dns, LayerResult::NotObserved),
    ] {
        let is = result(&summary, layer)?;
        ensure!(is == should, "{layer:?} is {is:?}");
    }
    Ok(())
}

/// A rule drops the SYN of one flow, and a datagram of another is too large: each has its own
/// verdict, and the connection's is the main one.
#[test]
fn two_failures_at_once() -> Result<()> {
    let lab = RouterLab::build()?;
    let server = lab.server.socket(Family::V4, PORT);
    let other = lab.server.socket(Family::V4, PORT + 1);
    let _server = TcpServer::echo(&lab.server, server)?;
    let _other = UdpServer::echo(&lab.server, other)?;
    let mut watch = AttemptTrace::start(&[&lab.router], [server.ip()])?;
    healthy(&lab, &mut watch)?;

    lab.router.run("ip link set dev right mtu 1300")?;
    let rule = format!("tcp dport {PORT} drop");
    nft(&lab.router, Chain::inet("forward"), &rule)?;
    let client = UdpClient::connect(&lab.client, None, other)?;
    client.probe_mtu()?;
    client.send(1400)?;
    let expected = ExpectedAttempt::dropped("unanswered", "firewall")
        .hops(&[(&lab.router, "left in")])
        .why("table inet filter_forward");
    watch.silent(&lab.client, server, &expected)?;

    let trace = watch.finish()?;
    let [mut mtu, mut firewall] = [0, 0];
    for drop in trace.drops() {
        let (judged, count) = match drop.flow.proto {
            Protocol::Udp => (
                ExpectedVerdict::new("mtu", "confirmed")
                    .why("1428 bytes")
                    .fix("ip link set dev right mtu 1500"),
                &mut mtu,
            ),
            _ => (
                ExpectedVerdict::new("firewall", "confirmed").fix("nft insert rule"),
                &mut firewall,
            ),
        };
        *count += 1;
        if let Some(mismatch) = judged.mismatch(&drop.verdict) {
            anyhow::bail!(mismatch);
        }
    }
    ensure!(mtu == 1 && firewall > 0, "{mtu} and {firewall} drops");
    let attempt = trace.attempts().last().context("an attempt")?;
    let verdict = attempt.verdict.as_ref().context("a verdict")?;
    ensure!(
        verdict.evidence.iter().all(|text| !text.contains("MTU")),
        "{verdict:?}"
    );
    let main = trace.summary.verdict.as_ref().context("a main verdict")?;
    ensure!(main.point == Point::Firewall, "{main:?}");
    for layer in [Layer::Tcp, Layer::Firewall, Layer::Mtu] {
        let is = result(&trace.summary, layer)?;
        ensure!(is == LayerResult::Failed, "{layer:?} is {is:?}");
    }
    Ok(())
}
