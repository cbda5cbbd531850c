//! A client and a server, and the node that routes between them.

use std::io::{self, Write as _};

use anyhow::Result;
use whydrop_tests::incident::{End, Report, Stage};

/// The server, behind the node.
pub(super) const SERVER: &str = "10.20.2.2:8080";
/// All of them.
pub(super) const ALL: [&str; 3] = ["client", "node", "server"];

/// Both, with the node as their router. Its interfaces have the names of what is behind them.
pub(super) fn routed() -> Result<Stage> {
    let stage = Stage::new(ALL)?;
    for (own, role) in [(1, "client"), (2, "server")] {
        stage.veth((role, "eth0"), ("node", role))?;
        stage.ip("node", &format!("addr add 10.20.{own}.1/24 dev {role}"))?;
        stage.ip(
            role,
            &format!("addr add 10.20.{own}.2/24 dev eth0; route add default via 10.20.{own}.1"),
        )?;
    }
    stage.sysctl("node", "net.ipv4.ip_forward=1")?;
    stage.serve("server", SERVER)?;
    Ok(stage)
}

/// A trace of a connection, in these namespaces.
pub(super) fn dial(stage: &Stage, roles: &[&'static str], to: &str) -> Result<Report> {
    stage.trace(roles.iter().copied(), to, |watch| watch.dial("client", to))
}

/// A connection that is answered: it leaves no trace of anything wrong.
pub(super) fn is_healthy(stage: &Stage, to: &str) -> Result<()> {
    let report = stage.trace(ALL, to, |watch| {
        watch.dial("client", to)?.ends(End::Answered)
    })?;
    report.silent().map(drop)
}

/// Says that this kernel lacks something.
pub(super) fn skipped(what: &str) -> Result<()> {
    // Not by `eprintln!`, which the test harness captures.
    writeln!(io::stderr(), "skipped: this kernel has no {what}")?;
    Ok(())
}

/// Whether this kernel takes a command of ip(8) that makes something, and one that removes it again.
pub(super) fn has(stage: &Stage, role: &str, commands: &str, what: &str) -> Result<bool> {
    let is_there = stage.ip(role, commands).is_ok();
    if !is_there {
        skipped(what)?;
    }
    Ok(is_there)
}
