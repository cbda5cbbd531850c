//! whydrop's output is not taken: the disk is full, or the reader of the pipe has gone.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use whydrop_tests::{
    binary,
    fault::{Chain, nft},
    kernel,
    lab::{Family, topology::NodeLab},
    poll_until,
    resource_usage::{descriptors, value},
    tracer::{Reaped, watching},
    traffic::UdpClient,
};

const PORT: u16 = 9999;

/// `whydrop` on a lab's node, for a port whose packets are dropped there.
fn whydrop(lab: &NodeLab, format: &str) -> Result<Command> {
    let rule = format!("udp dport {PORT} drop");
    nft(&lab.node, Chain::inet("forward"), &rule)?;
    let mut command = Command::new(binary());
    command
        .args(watching(&[&lab.node]))
        .args(["--no-kube", "-o", format])
        .arg(lab.pod_a.socket(Family::V4, PORT).to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    Ok(command)
}

fn send(lab: &NodeLab) -> Result<()> {
    let target = lab.pod_a.socket(Family::V4, PORT);
    Ok(UdpClient::connect(&lab.outside, None, target)?.send(100)?)
}

fn no_filter_is_left(lab: &NodeLab) -> Result<()> {
    let filters = lab.node.tc_filters("eth0")?.concat();
    ensure!(filters.is_empty(), "left behind:\n{filters}");
    Ok(())
}

fn stderr(child: &mut Reaped) -> Result<String> {
    let mut text = String::new();
    let mut stderr = child.0.stderr.take().context("stderr is piped")?;
    stderr.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn a_full_disk_is_an_error() -> Result<()> {
    let lab = NodeLab::build()?;
    for format in ["text", "json"] {
        let full = OpenOptions::new().write(true).open("/dev/full")?;
        let mut child = Reaped(whydrop(&lab, format)?.stdout(full).spawn()?);
        let status = child.wait("whydrop to give up")?;
        let said = stderr(&mut child)?;
        ensure!(status.code() == Some(1), "{format}: {status}: {said}");
        ensure!(
            said.contains("cannot write the output: No space left on device")
                && said.lines().count() == 1,
            "{format}: {said}"
        );
        no_filter_is_left(&lab)?;
    }
    Ok(())
}

/// Starts a trace, reads its first line and closes the pipe.
fn hung_up(lab: &NodeLab, format: &str) -> Result<Reaped> {
    let mut child = Reaped(whydrop(lab, format)?.stdout(Stdio::piped()).spawn()?);
    let mut stdout = BufReader::new(child.0.stdout.take().context("stdout is piped")?);
    stdout.read_line(&mut String::new())?;
    let all = descriptors(child.0.id())?;
    ensure!(
        all.iter().any(|info| value(info, "link_id:").is_some()),
        "a trace without links"
    );
    Ok(child)
}

fn expect_quiet_end(mut child: Reaped) -> Result<()> {
    let status = child.wait("whydrop to end without a reader")?;
    let said = stderr(&mut child)?;
    ensure!(status.success() && said.is_empty(), "{status}: {said}");
    Ok(())
}

/// Fills a pipe that is not read, and ends the trace.
#[test]
fn a_reader_that_stalls_holds_no_signal_up() -> Result<()> {
    let lab = NodeLab::build()?;
    let mut child = Reaped(whydrop(&lab, "json")?.stdout(Stdio::piped()).spawn()?);
    let mut stdout = BufReader::new(child.0.stdout.take().context("stdout is piped")?);
    stdout.read_line(&mut String::new())?;
    let pid = child.0.id();
    poll_until("whydrop to wait for its reader", || {
        // Every socket has a port of its own, so every packet is a record of its own.
        send(&lab).ok()?;
        fs::read_to_string(format!("/proc/{pid}/wchan"))
            .ok()
            .filter(|place| place.contains("pipe_write"))
    })?;
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM)?;
    let status = child.wait("whydrop to end without being read")?;
    let said = stderr(&mut child)?;
    ensure!(
        status.code() == Some(128 + libc::SIGTERM) && said.contains("nothing reads the output"),
        "{status}: {said}"
    );
    drop(stdout);
    if !kernel::KILLED.applies() {
        no_filter_is_left(&lab)?;
    }
    Ok(())
}

/// Without a packet, nothing is written that would fail.
#[test]
fn an_idle_trace_ends_with_its_reader() -> Result<()> {
    let lab = NodeLab::build()?;
    for format in ["text", "json"] {
        expect_quiet_end(hung_up(&lab, format)?)?;
        no_filter_is_left(&lab)?;
    }
    Ok(())
}

#[test]
fn a_busy_trace_ends_with_its_reader() -> Result<()> {
    let lab = NodeLab::build()?;
    let mut child = hung_up(&lab, "json")?;
    poll_until("whydrop to end without a reader", || {
        send(&lab).ok()?;
        child.0.try_wait().ok()?
    })?;
    expect_quiet_end(child)?;
    no_filter_is_left(&lab)
}
