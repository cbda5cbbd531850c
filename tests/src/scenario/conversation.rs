//! The conversation of a scenario: held while all is well, begun once the fault is there.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, RawFd},
    thread::{self, JoinHandle},
};

use anyhow::{Result, bail, ensure};

use crate::{
    deadline,
    lab::{Family, Host},
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
    /// No answer comes, or none is expected (UDP).
    Silent,
    /// The connection is refused.
    Refused,
    /// An ICMP error says that there is no way: the errno.
    Unreachable(i32),
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

pub(super) fn serve(host: &Host, family: Family, traffic: Traffic, port: u16) -> Result<Server> {
    let address = host.socket(family, port);
    Ok(match traffic.protocol() {
        Protocol::Tcp => Server::Tcp(TcpServer::echo(host, address)?),
        Protocol::Udp => Server::Udp(UdpServer::echo(host, address)?),
    })
}

impl Traffic {
    pub(super) fn protocol(self) -> Protocol {
        match self {
            Self::Connect | Self::Upload(_) => Protocol::Tcp,
            Self::Datagram(_) | Self::Burst(..) => Protocol::Udp,
        }
    }
}

pub(super) struct Conversation<'a> {
    pub(super) client: &'a Host,
    pub(super) server: &'a Host,
    pub(super) peer: SocketAddr,
    pub(super) traffic: Traffic,
}

impl Conversation<'_> {
    /// Holds it to its end, which must be a good one.
    pub(super) fn hold(&self) -> Result<()> {
        match self.traffic {
            Traffic::Connect => self.transfer(100),
            Traffic::Upload(bytes) => self.transfer(bytes),
            Traffic::Datagram(bytes) | Traffic::Burst(_, bytes) => {
                let client = self.udp_client(None)?;
                client.send(bytes)?;
                ensure!(client.answered(deadline())?, "no answer");
                Ok(())
            }
        }
    }

    fn transfer(&self, bytes: usize) -> Result<()> {
        let attempt = TcpAttempt::start(self.client, None, self.peer)?;
        let Outcome::Connected(connection) = attempt.outcome(deadline())? else {
            bail!("no connection");
        };
        let port = connection.local_addr()?.port();
        ensure!(
            upload(connection, bytes, deadline())?,
            "the transfer stalled"
        );
        // Its last packets must be through before the fault strikes.
        wait_until_closed(self.server, port)
    }

    fn udp_client(&self, source: Option<IpAddr>) -> Result<UdpClient> {
        let client = UdpClient::connect(self.client, source, self.peer)?;
        client.probe_mtu()?;
        Ok(client)
    }

    /// Begins it, without waiting for its end.
    pub(super) fn begin(&self, source: Option<IpAddr>) -> Result<Broken> {
        match self.traffic {
            Traffic::Connect => {
                let attempt = TcpAttempt::start(self.client, source, self.peer)?;
                Ok(Broken {
                    flow: attempt.flow(),
                    pending: Pending::Attempt(attempt),
                })
            }
            Traffic::Upload(bytes) => {
                let attempt = TcpAttempt::start(self.client, source, self.peer)?;
                let flow = attempt.flow();
                let Outcome::Connected(connection) = attempt.outcome(deadline())? else {
                    bail!("no connection");
                };
                let transfer = thread::spawn(move || upload(connection, bytes, deadline()));
                Ok(Broken {
                    flow,
                    pending: Pending::Transfer(transfer),
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
            pending: Pending::Sent(client),
        })
    }
}

/// A conversation that the fault has struck.
pub(super) struct Broken {
    pub(super) flow: Flow,
    pending: Pending,
}

enum Pending {
    Attempt(TcpAttempt),
    Transfer(JoinHandle<Result<bool>>),
    Sent(UdpClient),
}

impl Broken {
    /// Waits for this end. Returns a socket that must stay open until the trace has ended: what is
    /// answered late must still not find a closed port.
    pub(super) fn expect(self, end: End) -> Result<Option<UdpClient>> {
        match (self.pending, end) {
            (Pending::Sent(client), End::Silent) => Ok(Some(client)),
            // The drop has been seen; what can be said is that nothing has been said.
            (Pending::Attempt(attempt), End::Silent) => {
                match attempt.outcome(std::time::Duration::ZERO)? {
                    Outcome::Silent => Ok(None),
                    other => bail!("the client was to wait in vain, but: {other:?}"),
                }
            }
            (Pending::Attempt(attempt), _) => match (attempt.outcome(deadline())?, end) {
                (Outcome::Refused, End::Refused) => Ok(None),
                (Outcome::Unreachable(is), End::Unreachable(should)) if is == should => Ok(None),
                (other, _) => bail!("the client was to end with {end:?}, but: {other:?}"),
            },
            (Pending::Transfer(transfer), end) => {
                let complete = transfer.join().expect("the transfer does not panic")?;
                ensure!(
                    !complete,
                    "the transfer was to end with {end:?}, and it is complete"
                );
                Ok(None)
            }
            (Pending::Sent(_), end) => bail!("a datagram cannot end with {end:?}"),
        }
    }
}
