//! TCP: servers, connection attempts, transfers.

use std::{
    fs,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::fd::{AsFd, AsRawFd, RawFd},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};

use super::{Flow, Protocol};
use crate::{lab::Namespace, poll_until};

/// A listener, whose connections are accepted or left in the queue.
pub struct TcpServer {
    listener: Socket,
    acceptor: Option<JoinHandle<()>>,
}

impl TcpServer {
    /// Accepts every connection and sends back whatever it says.
    pub fn echo(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        Self::serve(namespace, address, echo)
    }

    /// Accepts every connection and leaves it to `serve`.
    pub fn serve(
        namespace: &Namespace,
        address: SocketAddr,
        serve: impl Fn(TcpStream) + Copy + Send + 'static,
    ) -> Result<Self> {
        Self::set_up(namespace, address, |_| Ok(()))?.accepting(serve)
    }

    /// Listens and never accepts: its queue fills up after `backlog` connections.
    pub fn deaf(namespace: &Namespace, address: SocketAddr, backlog: i32) -> Result<Self> {
        Self::listen(namespace, address, backlog, |_| Ok(()))
    }

    /// Listens with a socket that is set up by the caller before it is bound.
    pub fn set_up(
        namespace: &Namespace,
        address: SocketAddr,
        set_up: impl FnOnce(&Socket) -> io::Result<()> + Send,
    ) -> Result<Self> {
        Self::listen(namespace, address, 1024, set_up)
    }

    /// From now on, accepts every connection and leaves it to `serve`.
    pub fn accepting(mut self, serve: impl Fn(TcpStream) + Copy + Send + 'static) -> Result<Self> {
        let listener = self.listener.try_clone()?;
        self.acceptor = Some(thread::spawn(move || {
            // `accept` fails when `drop` shuts the listener down.
            while let Ok((connection, _)) = listener.accept() {
                thread::spawn(move || serve(connection.into()));
            }
        }));
        Ok(self)
    }

    fn listen(
        namespace: &Namespace,
        address: SocketAddr,
        backlog: i32,
        set_up: impl FnOnce(&Socket) -> io::Result<()> + Send,
    ) -> Result<Self> {
        let listener = namespace.enter(|| -> io::Result<Socket> {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            // An address that is about to appear, or a Service's that never does, will do.
            set_freebind(&socket, address)?;
            set_up(&socket)?;
            socket.bind(&address.into())?;
            socket.listen(backlog)?;
            Ok(socket)
        });
        Ok(Self {
            listener: listener.with_context(|| format!("cannot listen on {address}"))?,
            acceptor: None,
        })
    }
}

impl AsRawFd for TcpServer {
    fn as_raw_fd(&self) -> RawFd {
        self.listener.as_raw_fd()
    }
}

impl Drop for TcpServer {
    fn drop(&mut self) {
        // Wakes up `accept`. Nothing to be done if it fails, and no reason why it should.
        let _ = self.listener.shutdown(std::net::Shutdown::Both);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// Any address of the peer's family, with this port; none if that may be any, too.
pub(super) fn any_address(port: u16, peer: SocketAddr) -> Option<SocketAddr> {
    let any: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    (port != 0).then(|| SocketAddr::new(any, port))
}

pub(super) fn set_freebind(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true),
        SocketAddr::V6(_) => socket.set_freebind_v6(true),
    }
}

fn echo(mut connection: TcpStream) {
    let mut buffer = [0; 16 << 10];
    // A peer that resets or vanishes is part of the game; the connection ends with this thread.
    while let Ok(count @ 1..) = connection.read(&mut buffer) {
        if connection.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

/// How a connection attempt ended, or that it has not.
#[derive(Debug)]
pub enum Outcome {
    /// The handshake is done.
    Connected(TcpStream),
    /// A reset, or an ICMP error that means the same.
    Refused,
    /// A router said that there is no way: the errno.
    Unreachable(i32),
    /// No answer yet.
    Silent,
}

/// A connection attempt under way.
pub struct TcpAttempt {
    socket: Socket,
    flow: Flow,
    /// `connect` itself failed: no packet left.
    failed: Option<io::Error>,
}

impl TcpAttempt {
    /// Sends the SYN, from `source` or whatever the routing table chooses.
    pub fn start(namespace: &Namespace, source: Option<IpAddr>, peer: SocketAddr) -> Result<Self> {
        let source = source.map(|source| SocketAddr::new(source, 0));
        Self::start_at(namespace, source, peer)
    }

    /// Sends the SYN from this port, or from any if it is 0.
    pub fn start_from(namespace: &Namespace, port: u16, peer: SocketAddr) -> Result<Self> {
        Self::start_at(namespace, any_address(port, peer), peer)
    }

    fn start_at(
        namespace: &Namespace,
        source: Option<SocketAddr>,
        peer: SocketAddr,
    ) -> Result<Self> {
        namespace
            .enter(|| Self::start_here(source, peer))
            .with_context(|| format!("cannot connect to {peer} from {}", namespace.name()))
    }

    fn start_here(source: Option<SocketAddr>, peer: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(peer), Type::STREAM, None)?;
        if let Some(source) = source {
            socket.set_reuse_address(true)?;
            socket.bind(&source.into())?;
        }
        socket.set_nonblocking(true)?;
        let failed = match socket.connect(&peer.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Some(error),
            _ => None,
        };
        let local = socket.local_addr()?.as_socket();
        Ok(Self {
            flow: Flow {
                protocol: Protocol::Tcp,
                src: local.ok_or(io::ErrorKind::AddrNotAvailable)?,
                dst: peer,
            },
            socket,
            failed,
        })
    }

    /// Both ends, the local port included.
    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// Whether it has ended, or ends within the time.
    pub fn has_ended(&self, timeout: Duration) -> Result<bool> {
        let timeout = PollTimeout::try_from(timeout).context("too long for poll")?;
        let mut ready = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
        Ok(self.failed.is_some() || poll(&mut ready, timeout)? > 0)
    }

    /// Waits for the outcome, at most for `timeout`.
    pub fn outcome(self, timeout: Duration) -> Result<Outcome> {
        if !self.has_ended(timeout)? {
            return Ok(Outcome::Silent);
        }
        let error = match self.failed {
            Some(error) => Some(error),
            None => self.socket.take_error()?,
        };
        Ok(match error {
            None => {
                self.socket.set_nonblocking(false)?;
                Outcome::Connected(self.socket.into())
            }
            Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => Outcome::Refused,
            Some(error) if error.kind() == io::ErrorKind::TimedOut => Outcome::Silent,
            Some(error) => Outcome::Unreachable(
                error
                    .raw_os_error()
                    .context("socket errors come with an errno")?,
            ),
        })
    }
}

/// Sends `bytes` through a connection to an echo server and waits until all have come back.
/// `false`: they had not within the time.
pub fn upload(connection: TcpStream, bytes: usize, timeout: Duration) -> Result<bool> {
    connection.set_write_timeout(Some(timeout))?;
    connection.set_read_timeout(Some(timeout))?;
    let mut writer = connection.try_clone()?;
    let chunk = vec![0x5a; bytes];
    let sender = thread::spawn(move || {
        let sent = writer.write_all(&chunk);
        sent.and_then(|()| writer.shutdown(std::net::Shutdown::Write))
    });
    let received = io::copy(&mut connection.take(bytes as u64), &mut io::sink());
    let sent = sender.join().expect("the sender does not panic");
    Ok(sent.is_ok() && received.is_ok_and(|received| received == bytes as u64))
}

/// Waits until a host has forgotten the connections from a client's port: the last acknowledgement
/// has arrived, and none of their packets is in flight.
///
/// Polls, because the kernel finishes closed connections on its own and notifies no process.
pub fn wait_until_closed(server: &Namespace, client_port: u16) -> Result<()> {
    let remote = format!(":{client_port:04X}");
    poll_until("a connection to close", || {
        let known = server.enter(|| -> io::Result<bool> {
            for table in ["tcp", "tcp6"] {
                // `/proc/net` is the namespace of the process, this one that of the thread.
                let table = fs::read_to_string(format!("/proc/thread-self/net/{table}"))?;
                let mut remotes = table
                    .lines()
                    .filter_map(|line| line.split_whitespace().nth(2));
                if remotes.any(|address| address.ends_with(&remote)) {
                    return Ok(true);
                }
            }
            Ok(false)
        });
        known.is_ok_and(|known| !known).then_some(())
    })
}
