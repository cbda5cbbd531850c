//! A transfer hangs because the server's process does not read. No packet is lost: no record says
//! anything, and the table at the end tells what waits, without a verdict.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use tracer_model::{Layer, LayerResult};
use whydrop_tests::{
    deadline,
    incident::{Report, Stage},
};

const SERVER: &str = "10.20.2.3:8080";
const BYTES: usize = 300_000;

/// For how long the client waits in vain: longer than a retransmission takes to be called a stall.
const HANGS: Duration = Duration::from_secs(4);

fn read_nothing(connection: TcpStream) {
    thread::park_timeout(deadline());
    drop(connection);
}

fn read_all(mut connection: TcpStream) {
    let mut received = 0;
    let mut buffer = [0; 1 << 16];
    while received < BYTES {
        match connection.read(&mut buffer) {
            Ok(count @ 1..) => received += count,
            _ => return,
        }
    }
    // The client may have given up.
    let _ = connection.write_all(b"thanks");
}

/// Sends everything, and returns whether it was thanked for within the time.
fn upload(stage: &Stage, patience: Duration) -> Result<bool> {
    let server: SocketAddr = SERVER.parse()?;
    stage.enter("a", || {
        let mut connection = TcpStream::connect(server)?;
        connection.set_write_timeout(Some(patience))?;
        connection.set_read_timeout(Some(patience))?;
        match connection.write_all(&vec![b'y'; BYTES]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            sent => sent?,
        }
        Ok(connection.read(&mut [0; 99])? > 0)
    })
}

fn trace(serve: fn(TcpStream), patience: Duration, thanked: bool) -> Result<Report> {
    let stage = Stage::routed_pods()?;
    let small = |socket: &socket2::Socket| socket.set_recv_buffer_size(4096);
    stage.serve_with("b", SERVER, small, serve)?;
    stage.trace(["node", "a", "b"], SERVER, |_| {
        ensure!(
            upload(&stage, patience)? == thanked,
            "thanked: {}",
            !thanked
        );
        Ok(())
    })
}

/// What the table at the end says of data that waits; the row has no verdict.
fn unread(report: &Report) -> Result<Option<String>> {
    let summary = &report.trace().summary;
    ensure!(summary.verdict.is_none(), "{:?}", summary.verdict);
    let mut rows = summary.layers.iter();
    let Some(row) = rows.find(|row| row.layer == Layer::Application) else {
        return Ok(None);
    };
    ensure!(row.result == LayerResult::NotObserved, "{row:?}");
    ensure!(row.verdict.is_none(), "{row:?}");
    Ok(row.evidence.clone())
}

#[test]
fn full_window() -> Result<()> {
    let report = trace(read_nothing, HANGS, false)?;
    report.silent()?;
    let said = unread(&report)?.unwrap_or_default();
    ensure!(
        said.contains(" unread for ") && said.contains(SERVER),
        "{said:?}"
    );
    Ok(())
}

/// The client has closed its side, and the server has read everything, and keeps its own side open.
#[test]
fn everything_is_read_of_a_client_that_has_closed() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.serve_with("b", SERVER, |_| Ok(()), read_to_the_end)?;
    let server: SocketAddr = SERVER.parse()?;
    let report = stage.trace(["node", "a", "b"], SERVER, |_| {
        let mut connection = stage.enter("a", || TcpStream::connect(server))?;
        connection.write_all(b"hello")?;
        connection.shutdown(Shutdown::Write)?;
        // As long as data that waits has to wait.
        thread::sleep(Duration::from_secs(2));
        Ok(())
    })?;
    ensure!(unread(&report)?.is_none(), "{:?}", unread(&report));
    Ok(())
}

fn read_to_the_end(mut connection: TcpStream) {
    // It ends with the client's FIN.
    let _ = connection.read_to_end(&mut Vec::new());
    thread::park_timeout(deadline());
}

#[test]
fn healthy() -> Result<()> {
    let report = trace(read_all, deadline(), true)?;
    report.silent()?;
    ensure!(unread(&report)?.is_none(), "{:?}", unread(&report));
    Ok(())
}
