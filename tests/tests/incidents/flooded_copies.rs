//! A bridge that does not know where a MAC address is floods the frame to all its ports. The other
//! pods drop their copies, and nothing is missing.

use std::net::UdpSocket;

use anyhow::{Result, ensure};
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const PODS: [&str; 4] = ["a", "b", "c", "d"];
const SERVER: &str = "10.20.1.3:8080";

/// Pods at a bridge that learns nothing.
fn flooding_bridge() -> Result<Stage> {
    let stage = Stage::new(["node", "a", "b", "c", "d"])?;
    stage.ip("node", "link add cni0 type bridge; link set cni0 up")?;
    for (number, pod) in (2..).zip(PODS) {
        let port = format!("v{pod}");
        stage.veth((pod, "eth0"), ("node", &port))?;
        stage.ip("node", &format!("link set {port} master cni0"))?;
        stage.ip(pod, &format!("addr add 10.20.1.{number}/24 dev eth0"))?;
    }
    // Behind the ports' own settings, so that it holds for all of them.
    stage.exec(
        "node",
        "for pod in a b c d; do bridge link set dev v$pod learning off; done",
    )?;
    stage.serve("b", SERVER)?;
    Ok(stage)
}

fn trace(stage: &Stage) -> Result<Report> {
    stage.trace(["node", "a", "b", "c", "d"], SERVER, |watch| {
        for _ in 0..3 {
            watch.dial("a", SERVER)?;
        }
        Ok(())
    })
}

#[test]
fn copies_of_what_is_answered_are_noise() -> Result<()> {
    trace(&flooding_bridge()?)?.silent().map(drop)
}

/// Datagrams that no one answers have no attempt that shows where they have gone.
#[test]
fn copies_of_datagrams_are_noise() -> Result<()> {
    const SINK: &str = "10.20.1.3:9000";
    let stage = flooding_bridge()?;
    let _sink = stage.enter("b", || UdpSocket::bind(SINK))?;
    let shown = format!("{SINK} --noise");
    let report = stage.trace(["node", "a", "b", "c", "d"], &shown, |watch| {
        stage.enter("a", || {
            let socket = UdpSocket::bind("10.20.1.2:0")?;
            (0..3).try_for_each(|_| socket.send_to(b"datagram", SINK).map(drop))
        })?;
        watch.until_drop()
    })?;
    ensure!(report.trace().drops().all(|drop| drop.noise), "{report}");
    ensure!(report.trace().summary.verdicts.is_empty(), "{report}");
    Ok(())
}

/// `--noise` shows them, and does not call them a failure.
#[test]
fn shown_copies_are_no_failure() -> Result<()> {
    let stage = flooding_bridge()?;
    let shown = format!("{SERVER} --noise");
    let report = stage.trace(["node", "a", "b", "c", "d"], &shown, |watch| {
        watch.dial("a", SERVER)?;
        watch.until_drop()
    })?;
    let trace = report.trace();
    ensure!(trace.drops().all(|drop| drop.noise), "{report}");
    let summary = &trace.summary;
    ensure!(
        summary.noise_shown > 0 && summary.noise_shown == summary.drops,
        "{summary:?}"
    );
    ensure!(
        summary.verdict.is_none() && summary.verdicts.is_empty(),
        "{summary:?}"
    );
    Ok(())
}

/// The client has the MAC address of a pod that is gone: the frame is flooded, and no pod takes it.
#[test]
fn copies_that_no_pod_takes_are_not() -> Result<()> {
    let stage = flooding_bridge()?;
    stage.ip(
        "a",
        "neigh replace 10.20.1.3 lladdr 02:00:00:00:00:99 nud permanent dev eth0",
    )?;
    let report = stage.trace(["node", "a", "b", "c", "d"], SERVER, |watch| {
        watch.dial("a", SERVER)
    })?;
    let expected = ExpectedVerdict::any_of(["endpoint"]).names("MAC");
    report.outcome("unanswered")?.verdict(&expected)?;
    Ok(())
}

/// A router at the bridge gets copies, too. The client's entry is right: the server does not answer for
/// another reason.
#[test]
fn copies_at_a_router_blame_no_entry() -> Result<()> {
    let stage = flooding_bridge()?;
    stage.sysctl("d", "net.ipv4.ip_forward=1")?;
    stage.exec(
        "b",
        "nft 'table ip own { chain in { type filter hook input priority 0; tcp dport 8080 drop; }; }'",
    )?;
    let report = stage.trace(["d"], SERVER, |watch| {
        watch.dial("a", SERVER)?.ends(End::Silent)
    })?;
    ensure!(report.trace().drops().next().is_none());
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::any_of(["unknown", "firewall"]).never_says(["neighbor flush", "stale"]),
    )?;
    Ok(())
}
