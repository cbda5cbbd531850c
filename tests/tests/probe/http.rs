//! Application: what a server answers, and what it does instead.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use anyhow::{Context as _, Result, ensure};
use whydrop_tests::{
    lab::{Family, topology::RouterLab},
    probe::Probed,
    record::{Layer, LayerResult, Point},
    traffic::TcpServer,
};

use super::{PORT, probe};

const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Reads the request, and answers with this.
fn answer(mut connection: TcpStream, bytes: &[u8]) {
    let mut request = [0; 4096];
    if let Ok(1..) = connection.read(&mut request) {
        let _ = connection.write_all(bytes);
    }
}

fn ask(lab: &RouterLab, serve: impl Fn(TcpStream) + Copy + Send + 'static) -> Result<Probed> {
    let server = lab.server.socket(Family::V4, PORT);
    let _server = TcpServer::serve(&lab.server, server, serve)?;
    let probe = probe(lab, &lab.client, server, Family::V4);
    probe.with("--http").with("/health").run()
}

/// The server answers, and then as each of these; its TCP works throughout.
fn fails(serve: impl Fn(TcpStream) + Copy + Send + 'static, rule: &str, why: &str) -> Result<()> {
    let lab = RouterLab::build()?;
    let healthy = ask(&lab, |connection| answer(connection, GOOD))?;
    healthy.healthy()?;
    healthy.expect(
        Layer::Application,
        LayerResult::Ok,
        "HTTP/1.1 200 OK, first byte",
    )?;
    let failing = ask(&lab, serve)?;
    let row = failing.fails(Layer::Application, Point::Application, why)?;
    let verdict = row.verdict.as_ref().context("a verdict")?;
    ensure!(format!("{:?}", verdict.rule).contains(rule), "{verdict:?}");
    for layer in [Layer::Tcp, Layer::Mtu, Layer::Listener] {
        failing.expect(layer, LayerResult::Ok, "")?;
    }
    Ok(())
}

#[test]
fn an_error_of_the_server() -> Result<()> {
    let bytes = b"HTTP/1.1 503 Service Unavailable\r\n\r\n";
    fails(
        |connection| answer(connection, bytes),
        "probe-http-error",
        "503 Service Unavailable",
    )
}

/// That a path does not exist is an answer.
#[test]
fn an_error_of_the_client() -> Result<()> {
    let lab = RouterLab::build()?;
    let bytes = b"HTTP/1.1 404 Not Found\r\n\r\n";
    let missing = ask(&lab, |connection| answer(connection, bytes))?;
    missing.healthy()?;
    missing.expect(Layer::Application, LayerResult::Ok, "404 Not Found")?;
    Ok(())
}

#[test]
fn no_answer() -> Result<()> {
    fails(
        |mut connection| {
            // Until the client has enough of it.
            let mut request = [0; 4096];
            while let Ok(1..) = connection.read(&mut request) {}
        },
        "probe-http-silent",
        "no answer came in time",
    )
}

#[test]
fn garbage() -> Result<()> {
    fails(
        |connection| answer(connection, b"220 mail.example.com ESMTP\r\n"),
        "probe-not-http",
        "does not speak HTTP",
    )
}

#[test]
fn closed_without_an_answer() -> Result<()> {
    fails(
        |connection| answer(connection, b""),
        "probe-http-silent",
        "closed the connection",
    )
}
