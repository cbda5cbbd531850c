//! What a probe sends, and what it leaves: nothing that its plan does not hold, and nothing.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    net::IpAddr,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use whydrop_tests::{
    UNPRIVILEGED, binary,
    fault::{Chain, nft},
    lab::{Family, topology::RouterLab},
    probe::Probed,
    tracer::{Reaped, run_to_end},
    traffic::{Capture, tls_server},
};

use super::probe;

const PORT: u16 = 8443;

/// Packets that begin something, by protocol, destination and port.
type Begun = BTreeMap<(String, IpAddr, Option<u16>), u32>;

/// Every packet that leaves the source begins something that the plan holds, and no more of it.
#[test]
fn only_what_the_plan_holds() -> Result<()> {
    Family::at_once(|family| {
        let lab = RouterLab::build()?;
        let server = lab.server.socket(family, PORT);
        let _server = tls_server::serve(
            &lab.server,
            server,
            "cart.example.com",
            tls_server::Kind::Good,
        )?;
        let command = probe(&lab, &lab.client, server, family)
            .with("--http")
            .with("/");
        let capture = Capture::start(&lab.client, "eth0")?;
        let dry = command.clone().with("--dry-run").run()?;
        ensure!(dry.layers.is_empty() && dry.status == Some(0), "{dry:?}");
        let own = lab.client.address(family);
        ensure!(
            capture.begun(own).is_empty(),
            "sent by --dry-run: {:?}",
            capture.begun(own)
        );
        let sent = command.run()?;
        ensure!(
            sent.plan.sends == dry.plan.sends,
            "{:?} and {:?}",
            sent.plan,
            dry.plan
        );
        let mut planned = Begun::new();
        for one in &dry.plan.sends {
            let dst = one.dst.context("no name is asked for")?;
            *planned
                .entry((one.proto.to_string(), dst, one.dport))
                .or_default() += one.most;
        }
        let begun = capture.begun(own);
        ensure!(
            begun.len() == planned.len(),
            "{begun:?}, and planned were {planned:?}"
        );
        for (what, count) in &begun {
            let most = planned.get(what).copied().unwrap_or_default();
            ensure!(
                *count <= most,
                "{count} of {what:?}, and at most {most} were planned"
            );
        }
        Ok(())
    })
}

/// After SIGINT in the midst of it: no socket in the namespace, no process, no kernel program.
#[test]
fn interrupted() -> Result<()> {
    let lab = RouterLab::build()?;
    let server = lab.server.socket(Family::V4, PORT);
    nft(
        &lab.router,
        Chain::inet("forward"),
        "tcp flags & (syn | ack) == syn drop",
    )?;
    let capture = Capture::start(&lab.client, "eth0")?;
    let mut command = probe(&lab, &lab.client, server, Family::V4)
        .with("--timeout")
        .with("1m")
        .command();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = Reaped::new(command.spawn()?);
    capture.wait_for_any(lab.client.address(Family::V4))?;
    let pid = child.0.id();
    kill(Pid::from_raw(pid.try_into()?), Signal::SIGINT)?;
    let status = child.wait("the probe to end")?;
    let mut stdout = String::new();
    child
        .0
        .stdout
        .take()
        .context("a pipe")?
        .read_to_string(&mut stdout)?;
    let probed = Probed::read(&stdout, status.code(), String::new())?;
    ensure!(
        probed.layers.len() == 9 && probed.summary.is_some(),
        "{}",
        probed.shown()
    );
    let left = lab.client.run("ss -Htan state all")?;
    ensure!(left.trim().is_empty(), "left: {left}");
    ensure!(
        !fs::exists(format!("/proc/{pid}/task"))?,
        "the process is there"
    );
    let filters = lab.client.tc_filters("eth0")?.concat();
    ensure!(
        !filters.contains("whydrop"),
        "programs are there: {filters}"
    );
    Ok(())
}

/// Without root it refuses, and says what can be had without.
#[test]
fn without_root() -> Result<()> {
    let mut command = Command::new(binary());
    command
        .args(["probe", "10.0.0.1:80"])
        .uid(UNPRIVILEGED)
        .gid(UNPRIVILEGED);
    let output = run_to_end(&mut command)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(1) && output.stdout.is_empty(),
        "{output:?}"
    );
    ensure!(
        stderr.contains("needs root") && stderr.contains("whydrop explain"),
        "{stderr}"
    );
    Ok(())
}
