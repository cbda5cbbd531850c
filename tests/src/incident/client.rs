//! Clients of an incident, and how their calls end.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Watch, watch::tcp_sockets};
use crate::{
    deadline, poll_until,
    traffic::{DnsQuery, Flow, Outcome, TcpAttempt},
};

/// How long a client waits for an answer on an open connection, where whydrop must not
/// report a failure: the server may just be slow.
const PATIENCE: Duration = Duration::from_secs(4);

/// How often a client that waits looks at what whydrop has said.
const LOOK: Duration = Duration::from_millis(20);

/// How a call ended for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With an answer.
    Answered,
    /// It was refused, or reset.
    Refused,
    /// An error: the errno.
    Failed(i32),
    /// There was no answer.
    Silent,
}

/// A call that a client has made.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// Both ends as the client sees them, its port included.
    pub flow: Flow,
    /// How it ended.
    pub end: End,
}

impl Call {
    /// Fails unless it ended like this.
    pub fn ends(self, end: End) -> Result<Self> {
        if self.end == end {
            Ok(self)
        } else {
            bail!("{} was to end {end:?}, but: {:?}", self.flow, self.end)
        }
    }
}

impl Watch<'_> {
    /// One TCP connection and one exchange, until the client has its answer and whydrop has said
    /// what became of the attempt.
    pub fn dial(&mut self, role: &str, peer: &str) -> Result<Call> {
        self.dial_from(role, 0, peer)
    }

    /// The same from this port.
    pub fn dial_from(&mut self, role: &str, port: u16, peer: &str) -> Result<Call> {
        let peer: SocketAddr = peer.parse().with_context(|| peer.to_owned())?;
        let namespace = self.stage().namespace(role);
        let attempt = TcpAttempt::start_from(namespace, port, peer)?;
        let flow = attempt.flow();
        let start = Instant::now();
        while !attempt.has_ended(LOOK)? && !self.has_failed(flow)? && start.elapsed() < deadline() {
        }
        let end = match attempt.outcome(Duration::ZERO)? {
            Outcome::Connected(connection) => self.exchange(flow, connection)?,
            Outcome::Refused => End::Refused,
            Outcome::Unreachable(errno) => End::Failed(errno),
            Outcome::Silent => End::Silent,
        };
        self.until_reported(flow)?;
        Ok(Call { flow, end })
    }

    fn exchange(&mut self, flow: Flow, mut connection: TcpStream) -> Result<End> {
        let sent = connection.write_all(b"hello");
        let start = Instant::now();
        let end = loop {
            let mut ready = [PollFd::new(connection.as_fd(), PollFlags::POLLIN)];
            if sent.is_err() || poll(&mut ready, PollTimeout::try_from(LOOK)?)? > 0 {
                break match connection.read(&mut [0; 4096]) {
                    Ok(1..) => End::Answered,
                    Ok(0) => End::Refused,
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => End::Refused,
                    Err(error) => End::Failed(error.raw_os_error().unwrap_or_default()),
                };
            }
            if self.has_failed(flow)? || start.elapsed() > PATIENCE {
                break End::Silent;
            }
        };
        drop(connection);
        if end == End::Answered {
            self.until_closed(flow.src.port())?;
        }
        Ok(end)
    }

    /// Waits until the last packets of a client's connection are through.
    ///
    /// Polls, because the kernel finishes closed connections on its own and notifies no process.
    fn until_closed(&self, port: u16) -> Result<()> {
        let stage = self.stage();
        poll_until("a connection to close", || {
            let mut all = stage
                .roles()
                .flat_map(|(_, namespace)| tcp_sockets(namespace));
            let is_open = all.any(|socket| socket.is_open() && socket.has_port(port));
            (!is_open).then_some(())
        })
    }

    /// A DNS query for an address, until the client has its answer and whydrop has said what became
    /// of the query.
    pub fn ask(&mut self, role: &str, server: &str) -> Result<Call> {
        self.ask_from(role, 0, server)
    }

    /// The same from this port.
    pub fn ask_from(&mut self, role: &str, port: u16, server: &str) -> Result<Call> {
        let server: SocketAddr = server.parse().with_context(|| server.to_owned())?;
        let namespace = self.stage().namespace(role);
        let query = DnsQuery::send_from(namespace, port, server, "shop.example")?;
        let flow = query.flow();
        let start = Instant::now();
        let end = loop {
            match query.answered(LOOK) {
                Ok(true) => break End::Answered,
                Ok(false) => {}
                // The test itself was stopped, and continued.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => break End::Refused,
                Err(error) => break End::Failed(error.raw_os_error().unwrap_or_default()),
            }
            if self.has_failed(flow)? || start.elapsed() > deadline() {
                break End::Silent;
            }
        };
        self.until_reported(flow)?;
        Ok(Call { flow, end })
    }
}
