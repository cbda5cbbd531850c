//! A scenario: a conversation that works, then a fault, then the drop that must show.
//!
//! Each runs inside one trace. First the conversation is held while nothing is wrong with it: a
//! rule for *another* port is in force already, or the fault has not happened yet. Then the fault
//! strikes and the conversation is tried again, from another source port. The trace must contain
//! the drop of the second and nothing else, so it also shows that the first left no mark.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, RawFd},
    slice,
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    DEADLINE,
    judged::Judged,
    kernel,
    lab::{Family, Host, Namespace, Topology},
    record::{Drop, Flow as RecordedFlow},
    tracer::{Trace, Tracer, shown, watching},
    traffic::{
        Flow, Outcome, Protocol, TcpAttempt, TcpServer, UdpClient, UdpServer, upload,
        wait_until_closed,
    },
};

/// What the conversation consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// A TCP handshake and a few bytes.
    Connect,
    /// A TCP connection with this many bytes to be echoed.
    Upload(usize),
    /// One UDP datagram of this size, never fragmented.
    Datagram(usize),
    /// One UDP datagram while healthy, then this many of this size back to back.
    Burst(usize, usize),
}

/// How the conversation ends once the fault is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nobody answers, or nobody is asked (UDP).
    Silent,
    /// The connection is refused.
    Refused,
    /// An ICMP error says that there is no way: the errno.
    Unreachable(i32),
    /// It works all the same, after the drop.
    Recovers,
}

/// The drop record that a scenario must bring about.
#[derive(Debug, Clone)]
pub struct Expected {
    reason: &'static str,
    function: &'static str,
    hook: Option<&'static str>,
    ifname: Option<String>,
    netns: Option<(u32, String)>,
    dst: Option<SocketAddr>,
    original_dst: Option<SocketAddr>,
    outer: Option<Outer>,
    error: Option<(IpAddr, IpAddr)>,
    verdict: Option<Judged>,
}

/// The encapsulating packet: source, destination, destination port.
type Outer = (IpAddr, IpAddr, u16);

impl Expected {
    /// A drop with this reason in this function, on the newest kernel; on older ones, with what
    /// [`kernel`] says instead.
    pub fn new(reason: &'static str, function: &'static str) -> Self {
        let (reason, function) = kernel::shown((reason, function));
        Self {
            reason,
            function,
            hook: None,
            ifname: None,
            netns: None,
            dst: None,
            original_dst: None,
            outer: None,
            error: None,
            verdict: None,
        }
    }

    /// … with this verdict.
    pub fn judged(self, verdict: Judged) -> Self {
        Self {
            verdict: Some(verdict),
            ..self
        }
    }

    /// … on this netfilter hook. Without it, the record must not name one.
    pub fn hook(self, hook: &'static str) -> Self {
        Self {
            hook: Some(hook),
            ..self
        }
    }

    /// … on this interface.
    pub fn at(self, namespace: &Namespace, ifname: &str) -> Self {
        Self {
            ifname: Some(ifname.to_owned()),
            netns: Some((namespace.inode(), namespace.name().to_owned())),
            ..self
        }
    }

    /// … of a packet whose destination was translated from what the client asked for.
    pub fn translated(self, from: SocketAddr, to: SocketAddr) -> Self {
        Self {
            dst: Some(to),
            original_dst: Some(from),
            ..self
        }
    }

    /// … inside a packet from one node to the other.
    pub fn inside(self, src: IpAddr, dst: IpAddr, port: u16) -> Self {
        Self {
            outer: Some((src, dst, port)),
            ..self
        }
    }

    /// … of an ICMP error that speaks of the conversation.
    pub fn error(self, src: IpAddr, dst: IpAddr) -> Self {
        Self {
            error: Some((src, dst)),
            ..self
        }
    }

    /// What does not fit, as a sentence; `None` where all fits.
    fn mismatch(&self, flow: Flow, drop: &Drop) -> Option<String> {
        let mut flow = RecordedFlow::from(self.dst.map_or(flow, |dst| flow.towards(dst)));
        let mut quoted = None;
        if let Some((src, dst)) = self.error {
            quoted = Some(flow);
            flow = RecordedFlow {
                proto: if src.is_ipv4() { "icmp" } else { "icmpv6" }.to_owned(),
                src,
                sport: None,
                dst,
                dport: None,
            };
        }
        let outer = drop
            .outer
            .as_ref()
            .map(|outer| (outer.src, outer.dst, outer.dport.unwrap_or_default()));
        let (inode, name) = self.netns.clone().unzip();
        let wrong: Vec<String> = [
            differs("flow", &drop.flow, &flow),
            differs("quoted", &drop.quoted, &quoted),
            differs("reason", &drop.reason, &self.reason.to_owned()),
            differs("function", &drop.function, &Some(self.function.to_owned())),
            differs("hook", &drop.hook, &self.hook.map(str::to_owned)),
            differs("ifname", &drop.ifname, &self.ifname),
            differs("netns", &drop.netns, &inode),
            differs("netns_name", &drop.netns_name, &name),
            differs(
                "original_dst",
                &drop.original_dst,
                &self.original_dst.map(|dst| dst.to_string()),
            ),
            differs("outer", &outer, &self.outer),
            self.verdict
                .as_ref()
                .and_then(|verdict| verdict.mismatch(&drop.verdict)),
        ]
        .into_iter()
        .flatten()
        .collect();
        (!wrong.is_empty()).then(|| wrong.join(", "))
    }
}

fn differs<T: PartialEq + std::fmt::Debug>(key: &str, is: &T, should: &T) -> Option<String> {
    (is != should).then(|| format!("{key} is {is:?} and should be {should:?}"))
}

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
    /// A client that talks to a server; a TCP connection, unless told otherwise.
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

    /// How it ends for the client. Silently, unless told otherwise.
    pub fn ends(self, end: End) -> Self {
        Self { end, ..self }
    }

    /// Runs it: this drop must show, and no other.
    pub fn drops(self, expected: &Expected) -> Result<()> {
        self.drops_all(slice::from_ref(expected))
    }

    /// Runs it: each of these drops must show, and no other.
    pub fn drops_all(self, expected: &[Expected]) -> Result<()> {
        let family = self.family;
        self.run(expected).with_context(|| format!("over {family}"))
    }

    fn run(self, expected: &[Expected]) -> Result<()> {
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
            Fault::NoServer => drop(server),
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
        broken.expect(self.end)?;

        expect_only(&tracer.stop()?, expected, flow)
    }
}

/// Every drop is an expected one, and every drop was shown.
fn expect_only(trace: &Trace, expected: &[Expected], flow: Flow) -> Result<()> {
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

/// The server of a conversation.
pub enum Server {
    /// Takes connections.
    Tcp(TcpServer),
    /// Takes datagrams.
    Udp(UdpServer),
}

impl AsRawFd for Server {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(server) => server.as_raw_fd(),
            Self::Udp(server) => server.as_raw_fd(),
        }
    }
}

fn serve(host: &Host, family: Family, traffic: Traffic, port: u16) -> Result<Server> {
    let address = host.socket(family, port);
    Ok(match traffic.protocol() {
        Protocol::Tcp => Server::Tcp(TcpServer::echo(host, address)?),
        Protocol::Udp => Server::Udp(UdpServer::echo(host, address)?),
    })
}

impl Traffic {
    fn protocol(self) -> Protocol {
        match self {
            Self::Connect | Self::Upload(_) => Protocol::Tcp,
            Self::Datagram(_) | Self::Burst(..) => Protocol::Udp,
        }
    }
}

struct Conversation<'a> {
    client: &'a Host,
    server: &'a Host,
    peer: SocketAddr,
    traffic: Traffic,
}

impl Conversation<'_> {
    /// Holds it to its end, which must be a good one.
    fn hold(&self) -> Result<()> {
        match self.traffic {
            Traffic::Connect => self.transfer(100),
            Traffic::Upload(bytes) => self.transfer(bytes),
            Traffic::Datagram(bytes) | Traffic::Burst(_, bytes) => {
                let client = self.udp_client(None)?;
                client.send(bytes)?;
                ensure!(client.answered(DEADLINE)?, "no answer");
                Ok(())
            }
        }
    }

    fn transfer(&self, bytes: usize) -> Result<()> {
        let attempt = TcpAttempt::start(self.client, None, self.peer)?;
        let Outcome::Connected(connection) = attempt.outcome(DEADLINE)? else {
            bail!("no connection");
        };
        let port = connection.local_addr()?.port();
        ensure!(upload(connection, bytes, DEADLINE)?, "the transfer stalled");
        // Its last packets must be through before the fault strikes.
        wait_until_closed(self.server, port)
    }

    fn udp_client(&self, source: Option<IpAddr>) -> Result<UdpClient> {
        let client = UdpClient::connect(self.client, source, self.peer)?;
        client.probe_mtu()?;
        Ok(client)
    }

    /// Begins it, and leaves it to its fate.
    fn begin(&self, source: Option<IpAddr>) -> Result<Broken> {
        match self.traffic {
            Traffic::Connect => {
                let attempt = TcpAttempt::start(self.client, source, self.peer)?;
                Ok(Broken {
                    flow: attempt.flow(),
                    fate: Fate::Attempt(attempt),
                })
            }
            Traffic::Upload(bytes) => {
                let attempt = TcpAttempt::start(self.client, source, self.peer)?;
                let flow = attempt.flow();
                let Outcome::Connected(connection) = attempt.outcome(DEADLINE)? else {
                    bail!("no connection");
                };
                let transfer = thread::spawn(move || upload(connection, bytes, DEADLINE));
                Ok(Broken {
                    flow,
                    fate: Fate::Transfer(transfer),
                })
            }
            Traffic::Datagram(bytes) => self.send(source, 1, bytes),
            Traffic::Burst(count, bytes) => self.send(source, count, bytes),
        }
    }

    fn send(&self, source: Option<IpAddr>, count: usize, bytes: usize) -> Result<Broken> {
        let client = self.udp_client(source)?;
        for _ in 0..count {
            // A local drop is an error here (EPERM, ENOBUFS); the record is what counts.
            let _ = client.send(bytes);
        }
        Ok(Broken {
            flow: client.flow(),
            fate: Fate::Sent(client),
        })
    }
}

/// A conversation that the fault has struck.
struct Broken {
    flow: Flow,
    fate: Fate,
}

enum Fate {
    Attempt(TcpAttempt),
    Transfer(JoinHandle<Result<bool>>),
    /// Still open: what is answered all the same must not find a closed port.
    Sent(#[expect(dead_code, reason = "held for its socket")] UdpClient),
}

impl Broken {
    fn expect(self, end: End) -> Result<()> {
        match (self.fate, end) {
            (Fate::Sent(_), End::Silent) => Ok(()),
            // The drop has been seen; what can be said is that nothing has been said.
            (Fate::Attempt(attempt), End::Silent) => {
                match attempt.outcome(std::time::Duration::ZERO)? {
                    Outcome::Silent => Ok(()),
                    other => bail!("the client was to wait in vain, but: {other:?}"),
                }
            }
            (Fate::Attempt(attempt), _) => match (attempt.outcome(DEADLINE)?, end) {
                (Outcome::Refused, End::Refused) => Ok(()),
                (Outcome::Unreachable(is), End::Unreachable(should)) if is == should => Ok(()),
                (Outcome::Connected(_), End::Recovers) => Ok(()),
                (other, _) => bail!("the client was to end with {end:?}, but: {other:?}"),
            },
            (Fate::Transfer(transfer), end) => {
                let complete = transfer.join().expect("the transfer does not panic")?;
                ensure!(
                    complete == (end == End::Recovers),
                    "the transfer was to end with {end:?}, complete: {complete}"
                );
                Ok(())
            }
            (Fate::Sent(_), end) => bail!("a datagram cannot end with {end:?}"),
        }
    }
}
