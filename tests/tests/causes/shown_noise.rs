//! `--noise` shows what healthy traffic makes, and does not call it a failure.

use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Result, ensure};
use whydrop_tests::incident::{Report, Stage};

const SERVER: &str = "10.20.2.3:8080";

/// A client that ends its connection with a RST, as many do.
fn hang_up(stage: &Stage) -> Result<()> {
    let server: SocketAddr = SERVER.parse()?;
    stage.enter("a", || {
        let connection = TcpStream::connect(server)?;
        socket2::SockRef::from(&connection).set_linger(Some(Duration::ZERO))?;
        Ok(())
    })
}

fn trace(more: &str) -> Result<Report> {
    let stage = Stage::routed_pods()?;
    stage.serve("b", SERVER)?;
    stage.trace(["b"], &format!("{SERVER} {more}"), |watch| {
        hang_up(&stage)?;
        if more.is_empty() {
            return Ok(());
        }
        watch.until_drop()
    })
}

#[test]
fn healthy() -> Result<()> {
    let shown = trace("--noise")?;
    let trace = shown.trace();
    ensure!(trace.drops().count() > 0, "{shown}");
    ensure!(trace.drops().all(|drop| drop.noise), "{shown}");
    let summary = &trace.summary;
    ensure!(summary.noise_shown == summary.drops, "{summary:?}");
    ensure!(
        summary.verdict.is_none() && summary.verdicts.is_empty(),
        "{summary:?}"
    );
    ensure!(trace_hidden()?.noise > 0, "the RST is noise");
    Ok(())
}

fn trace_hidden() -> Result<tracer_model::Summary> {
    let hidden = trace("")?;
    hidden.silent()?;
    Ok(hidden.trace().summary.clone())
}
