//! TLS: the certificate, the versions, and a server that resets what it does not like.

use anyhow::{Result, ensure};
use whydrop_tests::{
    lab::{Family, topology::RouterLab},
    probe::Probed,
    record::{Layer, LayerResult, Point},
    traffic::tls_server::{Kind, serve},
};

use super::probe;

const NAME: &str = "cart.example.com";
const PORT: u16 = 8443;

fn ask(kind: Kind, name: &str) -> Result<Probed> {
    ask_in(&RouterLab::build()?, kind, name)
}

/// The same after the server was seen to be healthy.
fn ask_after_good(kind: Kind, name: &str) -> Result<Probed> {
    let lab = RouterLab::build()?;
    ask_in(&lab, Kind::Good, NAME)?.healthy()?;
    ask_in(&lab, kind, name)
}

fn ask_in(lab: &RouterLab, kind: Kind, name: &str) -> Result<Probed> {
    let server = lab.server.socket(Family::V4, PORT);
    let _server = serve(&lab.server, server, NAME, kind)?;
    let probe = probe(lab, &lab.client, server, Family::V4);
    probe
        .with("--server-name")
        .with(name)
        .with("--http")
        .with("/")
        .run()
}

#[test]
fn good() -> Result<()> {
    let good = ask(Kind::Good, NAME)?;
    good.healthy()?;
    good.expect(Layer::Tls, LayerResult::Ok, "TLS 1.3 and 1.2")?;
    good.expect(Layer::Tls, LayerResult::Ok, "ALPN h2")?;
    good.expect(Layer::Application, LayerResult::Ok, "HTTP/1.1 200 OK")?;
    Ok(())
}

#[test]
fn expired() -> Result<()> {
    let expired = ask_after_good(Kind::Expired, NAME)?;
    expired.fails(Layer::Tls, Point::Tls, "expired on 2021-01-01")?;
    expired.expect(Layer::Tcp, LayerResult::Ok, "")?;
    // The request is made all the same.
    expired.expect(Layer::Application, LayerResult::Ok, "200 OK")?;
    Ok(())
}

#[test]
fn wrong_name() -> Result<()> {
    let wrong = ask_after_good(Kind::Good, "other.example.com")?;
    wrong.fails(
        Layer::Tls,
        Point::Tls,
        "is not for other.example.com, but for cart.example.com",
    )?;
    Ok(())
}

/// That a server has no newer version than 1.2 is no failure, and is said.
#[test]
fn only_1_2() -> Result<()> {
    let old = ask_after_good(Kind::Only12, NAME)?;
    old.healthy()?;
    old.expect(Layer::Tls, LayerResult::Ok, "TLS 1.2 only")?;
    Ok(())
}

#[test]
fn reset_on_alpn_only() -> Result<()> {
    let reset = ask_after_good(Kind::ResetsAlpn, NAME)?;
    let why = "a ClientHello with ALPN h2,http/1.1 is answered with a RST, and one without ALPN is accepted";
    let tls = reset.fails(Layer::Tls, Point::Tls, why)?;
    let fix = tls
        .verdict
        .as_ref()
        .is_some_and(|verdict| !verdict.fix.is_empty());
    ensure!(fix, "{tls:?}");
    reset.expect(Layer::Tcp, LayerResult::Ok, "")?;
    Ok(())
}

/// A server, or a box in front of it, that does not bear TLS 1.3.
#[test]
fn reset_on_tls_1_3_only() -> Result<()> {
    let reset = ask_after_good(Kind::ResetsTls13, NAME)?;
    let why =
        "a ClientHello with TLS 1.3 is answered with a RST, and one with TLS 1.2 only is accepted";
    let tls = reset.fails(Layer::Tls, Point::Tls, why)?;
    let rule = tls
        .verdict
        .as_ref()
        .and_then(|verdict| verdict.rule.as_ref());
    ensure!(format!("{rule:?}").contains("probe-tls-offer"), "{tls:?}");
    reset.expect(Layer::Tcp, LayerResult::Ok, "")?;
    Ok(())
}

/// A port that speaks something else, and the same port once it speaks TLS.
#[test]
fn no_tls() -> Result<()> {
    let lab = RouterLab::build()?;
    let server = lab.server.socket(Family::V4, PORT);
    {
        let _server = serve(&lab.server, server, NAME, Kind::Good)?;
        probe(&lab, &lab.client, server, Family::V4)
            .run()?
            .healthy()?;
    }
    let _server = whydrop_tests::traffic::TcpServer::echo(&lab.server, server)?;
    let plain = probe(&lab, &lab.client, server, Family::V4).run()?;
    plain.fails(
        Layer::Tls,
        Point::Tls,
        "answers the ClientHello with something else than TLS",
    )?;
    Ok(())
}
