//! Answers over UDP that come late: the client has closed its socket, or the conntrack entry that
//! translated the query has run out. Neither is a closed port.

use std::net::{SocketAddr, UdpSocket};

use anyhow::{Result, ensure};
use whydrop_tests::{
    deadline,
    expected::ExpectedVerdict,
    incident::{Stage, Watch},
    record::Outcome,
    traffic::DnsQuery,
};

const SERVER: &str = "10.20.2.3:53";
const NAME: &str = "shop.example";

/// A DNS server that answers when the test has it do so.
struct Server(UdpSocket);

struct Query {
    message: Vec<u8>,
    client: SocketAddr,
}

impl Server {
    fn start(stage: &Stage, address: &str) -> Result<Self> {
        let socket = stage.enter("b", || UdpSocket::bind(address))?;
        socket.set_read_timeout(Some(deadline()))?;
        Ok(Self(socket))
    }

    /// Asks a question in `a`, and waits until it is here.
    fn is_asked(&self, stage: &Stage) -> Result<(DnsQuery, Query)> {
        let query = DnsQuery::send(stage.namespace("a"), SERVER.parse()?, NAME)?;
        Ok((query, self.receive()?))
    }

    fn receive(&self) -> Result<Query> {
        let mut message = vec![0; 512];
        let (length, client) = self.0.recv_from(&mut message)?;
        message.truncate(length);
        Ok(Query { message, client })
    }

    fn answer(&self, query: Query) -> Result<()> {
        let Query {
            mut message,
            client,
        } = query;
        // The bit that makes it an answer (QR).
        message[2] |= 0x80;
        self.0.send_to(&message, client)?;
        Ok(())
    }

    /// A question that is answered, after all that came before it.
    fn answers_another(&self, watch: &mut Watch<'_>) -> Result<()> {
        let (query, asked) = self.is_asked(watch.stage())?;
        self.answer(asked)?;
        ensure!(query.answered(deadline())?, "no answer");
        watch.until_reported(query.flow())
    }
}

fn masqueraded() -> Result<(Stage, Server)> {
    let stage = Stage::routed_pods()?;
    stage.exec("node", "iptables -t nat -A POSTROUTING -o vb -j MASQUERADE")?;
    let server = Server::start(&stage, SERVER)?;
    Ok((stage, server))
}

#[test]
fn translation_expires_before_the_answer() -> Result<()> {
    let (stage, server) = masqueraded()?;
    let report = stage.trace(["node", "a", "b"], SERVER, |watch| {
        let (_open, asked) = server.is_asked(&stage)?;
        stage.exec("node", "conntrack -F")?;
        server.answer(asked)?;
        watch.until("the query without an answer", |record| {
            let attempt = record.as_attempt();
            attempt.is_some_and(|attempt| attempt.outcome == Outcome::Unanswered)
        })
    })?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::any_of(["conntrack"])
            .at_least("likely")
            .why("while the client waits for its answer")
            .fix("send the query again")
            .never_says(["no socket listens"]),
    )?;
    Ok(())
}

/// The answer says that it is one, and the namespace it comes to forwards for no other.
#[test]
fn client_has_closed_its_socket() -> Result<()> {
    let stage = Stage::routed_pods()?;
    let server = Server::start(&stage, SERVER)?;
    let report = stage.trace(["node", "a", "b"], SERVER, |watch| {
        let (query, asked) = server.is_asked(&stage)?;
        drop(query);
        server.answer(asked)?;
        server.answers_another(watch)
    })?;
    ensure!(report.trace().summary.noise > 0, "{report}");
    report.silent().map(drop)
}

/// A datagram from a low port to a high one may be an answer, or not: that is said.
#[test]
fn ports_alone_look_like_an_answer() -> Result<()> {
    const PLAIN: &str = "10.20.2.3:9999";
    let stage = Stage::routed_pods()?;
    let server = Server::start(&stage, PLAIN)?;
    let report = stage.trace(["a"], PLAIN, |watch| {
        let client = stage.enter("a", || UdpSocket::bind("10.20.1.2:40123"))?;
        client.send_to(b"hello", PLAIN)?;
        let asked = server.receive()?;
        drop(client);
        server.answer(asked)?;
        watch.until_drop()
    })?;
    report.verdict(
        &ExpectedVerdict::new("unknown", "possible")
            .why("what looks like an answer of 10.20.2.3:9999")
            .never_says(["no socket listens"]),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    let (stage, server) = masqueraded()?;
    let report = stage.trace(["node", "a", "b"], SERVER, |watch| {
        server.answers_another(watch)
    })?;
    report.silent().map(drop)
}
