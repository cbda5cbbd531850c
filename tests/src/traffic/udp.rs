//! UDP: an echo server, datagrams, storms.

use std::{
    fs, io,
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, RawFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};

use super::{Flow, Protocol, probe_mtu::probe_mtu, tcp::set_freebind};
use crate::{lab::Namespace, poll_until};

/// Sends back every datagram.
pub struct UdpServer {
    socket: Socket,
    deaf: Arc<AtomicBool>,
    echo: Option<JoinHandle<()>>,
}

impl UdpServer {
    /// Starts one.
    pub fn echo(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        let socket = namespace.enter(|| -> io::Result<Socket> {
            let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
            set_freebind(&socket, address)?;
            socket.bind(&address.into())?;
            Ok(socket)
        });
        let socket = socket.with_context(|| format!("cannot bind UDP {address}"))?;
        let deaf = Arc::<AtomicBool>::default();
        let echo = thread::spawn({
            let (socket, deaf) = (socket.try_clone()?, Arc::clone(&deaf));
            move || echo(&socket, &deaf)
        });
        Ok(Self {
            socket,
            deaf,
            echo: Some(echo),
        })
    }
}

impl UdpServer {
    /// From the next datagram on, it reads no more, and its buffer takes no more than these bytes.
    pub fn go_deaf(&self, buffer: usize) -> io::Result<()> {
        self.deaf.store(true, Ordering::Relaxed);
        self.socket.set_recv_buffer_size(buffer)
    }
}

impl AsRawFd for UdpServer {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Drop for UdpServer {
    fn drop(&mut self) {
        self.deaf.store(false, Ordering::Relaxed);
        // Wakes up the reader although it answers ENOTCONN: no peer is what UDP servers have.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        if let Some(echo) = self.echo.take() {
            echo.thread().unpark();
            let _ = echo.join();
        }
    }
}

fn echo(socket: &Socket, deaf: &AtomicBool) {
    let mut buffer = [MaybeUninit::uninit(); 1 << 16];
    let mut got_one = false;
    loop {
        while got_one && deaf.load(Ordering::Relaxed) {
            thread::park();
        }
        match socket.recv_from(&mut buffer) {
            // Shut down: `drop` wants us to end. Clients send no empty datagrams.
            Ok((0, _)) => return,
            Ok((count, peer)) => {
                got_one = true;
                let sent: Vec<u8> = buffer[..count]
                    .iter()
                    // SAFETY: `recv_from` has written the first `count` bytes.
                    .map(|byte| unsafe { byte.assume_init() })
                    .collect();
                // The way back may be what is broken.
                let _ = socket.send_to(&sent, &peer);
            }
            // An ICMP error about an earlier answer.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(_) => return,
        }
    }
}

/// Waits until no socket of the namespace has this port, nor will a datagram for it find one.
///
/// Polls: a program that another test starts has a copy of each socket for a moment, and closing it is
/// not announced.
pub fn wait_until_unbound(namespace: &Namespace, port: u16) -> Result<()> {
    let local = format!(":{port:04X}");
    poll_until("a UDP port to be closed", || {
        let is_bound = namespace.enter(|| -> io::Result<bool> {
            for table in ["udp", "udp6"] {
                // `/proc/net` is the namespace of the process, this one that of the thread.
                let table = fs::read_to_string(format!("/proc/thread-self/net/{table}"))?;
                let sockets = table.lines().skip(1);
                let mut locals = sockets.filter_map(|line| line.split_whitespace().nth(1));
                if locals.any(|address| address.ends_with(&local)) {
                    return Ok(true);
                }
            }
            Ok(false)
        });
        is_bound.is_ok_and(|bound| !bound).then_some(())
    })
}

/// A UDP socket with one peer.
pub struct UdpClient {
    socket: Socket,
    flow: Flow,
}

impl UdpClient {
    /// Opens it, from `source` or whatever the routing table chooses. Nothing is sent.
    pub fn connect(
        namespace: &Namespace,
        source: Option<IpAddr>,
        peer: SocketAddr,
    ) -> Result<Self> {
        let socket = namespace.enter(|| -> io::Result<Socket> {
            let socket = Socket::new(Domain::for_address(peer), Type::DGRAM, None)?;
            if let Some(source) = source {
                socket.bind(&SocketAddr::new(source, 0).into())?;
            }
            socket.connect(&peer.into())?;
            Ok(socket)
        });
        let socket =
            socket.with_context(|| format!("cannot send to {peer} from {}", namespace.name()))?;
        let src = socket.local_addr()?.as_socket();
        Ok(Self {
            socket,
            flow: Flow {
                protocol: Protocol::Udp,
                src: src.context("an Internet address")?,
                dst: peer,
            },
        })
    }

    /// Both ends, the local port included.
    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// Sends one datagram.
    pub fn send(&self, bytes: usize) -> io::Result<()> {
        self.socket.send(&vec![0x5a; bytes]).map(drop)
    }

    /// Sends many small datagrams as fast as the kernel takes them; each was taken when it returns.
    pub fn storm(&self, count: usize) -> io::Result<()> {
        (0..count).try_for_each(|_| self.socket.send(&[0x5a; 64]).map(drop))
    }

    /// Forbids fragmentation on the way, and ignores what path MTU discovery has learnt: every size
    /// up to the interface's own MTU leaves, with DF.
    pub fn probe_mtu(&self) -> io::Result<()> {
        probe_mtu(&self.socket, self.flow.dst.is_ipv4())
    }

    /// Whether an answer comes within the time.
    pub fn answered(&self, timeout: Duration) -> io::Result<bool> {
        self.socket.set_read_timeout(Some(timeout))?;
        match self.socket.recv(&mut [MaybeUninit::uninit(); 1 << 16]) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}
