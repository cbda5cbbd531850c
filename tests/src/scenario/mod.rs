//! A scenario: a conversation that works, then a fault, then the drop that must show.
//!
//! Each runs inside one trace. First the conversation is held while nothing is wrong with it: a
//! rule for *another* port is in force already, or the fault has not happened yet. Then the fault
//! strikes and the conversation is tried again, from another source port. The trace must contain
//! the drop of the second and nothing else, so it also shows that the first left no mark.

mod conversation;

use std::{
    net::{IpAddr, SocketAddr},
    slice,
};

use anyhow::{Context, Result, bail, ensure};

use self::conversation::{Conversation, serve};
pub use self::conversation::{End, Server, Traffic};
use crate::{
    expected::ExpectedDrop,
    lab::{Family, Host, Namespace, Topology},
    tracer::{Trace, Tracer, shown, watching},
    traffic::{Flow, Protocol, wait_until_unbound},
};

/// What strikes a server's socket.
type OnServer<'a> = Box<dyn FnOnce(&Server) -> Result<()> + 'a>;

enum Fault<'a> {
    /// Strikes one port: put in force for another port first.
    OnPort(Box<dyn Fn(u16) -> Result<()> + 'a>),
    /// Strikes everything.
    Whole(Box<dyn FnOnce() -> Result<()> + 'a>),
    /// Strikes the server's socket.
    OnServer(OnServer<'a>),
    /// The server is not there any more.
    NoServer,
}

/// One scenario. Built with its methods, run by [`drops`](Self::drops).
pub struct Scenario<'a> {
    watched: Vec<&'a Namespace>,
    client: &'a Host,
    server: &'a Host,
    family: Family,
    port: u16,
    traffic: Traffic,
    dial: Option<SocketAddr>,
    source: Option<IpAddr>,
    fault: Fault<'a>,
    end: End,
}

impl<'a> Scenario<'a> {
    /// A client that talks to a server; by default, a TCP connection.
    pub fn new(lab: &'a impl Topology, client: &'a Host, server: &'a Host, family: Family) -> Self {
        Self {
            watched: lab.namespaces(),
            client,
            server,
            family,
            port: Self::port(family),
            traffic: Traffic::Connect,
            dial: None,
            source: None,
            fault: Fault::NoServer,
            end: End::Silent,
        }
    }

    /// The server's port. One for each family, since many rules know only ports.
    pub fn port(family: Family) -> u16 {
        family.pick(8004, 8006)
    }

    /// The server's port, where rules that are there already know another.
    pub fn listening_on(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// What they do.
    pub fn traffic(self, traffic: Traffic) -> Self {
        Self { traffic, ..self }
    }

    /// The client asks for this address instead of the server's own.
    pub fn dial(self, address: SocketAddr) -> Self {
        Self {
            dial: Some(address),
            ..self
        }
    }

    /// Once the fault is there, the client speaks from this address.
    pub fn from(self, source: IpAddr) -> Self {
        Self {
            source: Some(source),
            ..self
        }
    }

    /// A fault that strikes the port it is given.
    pub fn fault_on_port(self, fault: impl Fn(u16) -> Result<()> + 'a) -> Self {
        Self {
            fault: Fault::OnPort(Box::new(fault)),
            ..self
        }
    }

    /// A fault that strikes whatever passes.
    pub fn fault(self, fault: impl FnOnce() -> Result<()> + 'a) -> Self {
        Self {
            fault: Fault::Whole(Box::new(fault)),
            ..self
        }
    }

    /// A fault of the server's socket.
    pub fn fault_on_server(self, fault: impl FnOnce(&Server) -> Result<()> + 'a) -> Self {
        Self {
            fault: Fault::OnServer(Box::new(fault)),
            ..self
        }
    }

    /// How it ends for the client; by default, silently.
    pub fn ends(self, end: End) -> Self {
        Self { end, ..self }
    }

    /// Runs it: this drop must show, and no other.
    pub fn drops(self, expected: &ExpectedDrop) -> Result<()> {
        self.drops_all(slice::from_ref(expected))
    }

    /// Runs it: each of these drops must show, and no other.
    pub fn drops_all(self, expected: &[ExpectedDrop]) -> Result<()> {
        let family = self.family;
        self.run(expected).with_context(|| format!("over {family}"))
    }

    fn run(self, expected: &[ExpectedDrop]) -> Result<()> {
        let port = self.port;
        let conversation = Conversation {
            client: self.client,
            server: self.server,
            peer: self
                .dial
                .unwrap_or_else(|| self.server.socket(self.family, port)),
            traffic: self.traffic,
        };
        let server = serve(self.server, self.family, self.traffic, port)?;
        if let Fault::OnPort(fault) = &self.fault {
            fault(port + 1000)?;
        }

        let mut arguments = watching(&self.watched);
        arguments.push(conversation.peer.to_string());
        let mut tracer = Tracer::start(arguments)?;
        conversation.hold().context("while all was well")?;

        match self.fault {
            Fault::OnPort(fault) => fault(port)?,
            Fault::Whole(fault) => fault()?,
            Fault::OnServer(fault) => fault(&server)?,
            Fault::NoServer => {
                drop(server);
                if self.traffic.protocol() == Protocol::Udp {
                    wait_until_unbound(self.server, port)?;
                }
            }
        }
        let broken = conversation.begin(self.source)?;
        let flow = broken.flow;
        for expected in expected {
            tracer
                .wait_for(&format!("the drop of {flow}"), |record| {
                    record
                        .as_drop()
                        .is_some_and(|drop| expected.mismatch(flow, drop).is_none())
                })
                .with_context(|| format!("expected {expected:?}"))?;
        }
        let _open = broken.expect(self.end)?;

        expect_only(&tracer.stop()?, expected, flow)
    }
}

/// Every drop is an expected one, and every drop was shown.
fn expect_only(trace: &Trace, expected: &[ExpectedDrop], flow: Flow) -> Result<()> {
    for drop in trace.drops() {
        let mismatches: Option<Vec<String>> = expected
            .iter()
            .map(|expected| expected.mismatch(flow, drop))
            .collect();
        if let Some(mismatches) = mismatches {
            let mismatches = mismatches.join(", or ");
            bail!("{mismatches}, among\n{}", shown(trace.drops()));
        }
    }
    let summary = &trace.summary;
    ensure!(
        summary.lost == 0 && summary.shown == summary.drops,
        "not everything was shown: {summary:?}"
    );
    Ok(())
}
