//! DNS over UDP: a responder that knows its answers by heart, and a client with one question.

use std::{
    io,
    mem::MaybeUninit,
    net::SocketAddr,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};

use super::{Flow, Protocol, tcp::any_address};
use crate::{lab::Namespace, poll_until};

/// Bytes of a message before its question (RFC 1035, section 4.1.1).
const HEADER_LEN: usize = 12;

/// Answers every query by the first label of the name it asks for: `missing` does not exist,
/// `broken` fails, anything else exists and has no address.
pub struct DnsServer {
    socket: Socket,
    responder: Option<JoinHandle<()>>,
}

impl DnsServer {
    /// Starts one.
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        let socket = bound(namespace, address)?;
        let responder = thread::spawn({
            let socket = socket.try_clone()?;
            move || respond(&socket)
        });
        Ok(Self {
            socket,
            responder: Some(responder),
        })
    }
}

/// A socket for datagrams at an address. Another one that was just closed may hold the port for a moment: a
/// process that another test starts has it until it executes its program.
pub(super) fn bound(namespace: &Namespace, address: SocketAddr) -> Result<Socket> {
    let bind = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        socket.bind(&address.into())?;
        Ok(socket)
    };
    let free = format!("the port of {address}");
    let socket = poll_until(&free, || match namespace.enter(bind) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
        socket => Some(socket),
    })?;
    socket.with_context(|| format!("cannot serve DNS at {address}"))
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        // Wakes up the responder although it answers ENOTCONN.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        if let Some(responder) = self.responder.take() {
            let _ = responder.join();
        }
    }
}

fn respond(socket: &Socket) {
    let mut buffer = [MaybeUninit::uninit(); 512];
    // A shut-down socket gives empty datagrams.
    while let Ok((count @ 1.., client)) = socket.recv_from(&mut buffer) {
        let mut message: Vec<u8> = buffer[..count]
            .iter()
            // SAFETY: `recv_from` has written the first `count` bytes.
            .map(|byte| unsafe { byte.assume_init() })
            .collect();
        let Some(name) = message.get(HEADER_LEN + 1..) else {
            continue;
        };
        let rcode = if name.starts_with(b"missing") {
            3
        } else if name.starts_with(b"broken") {
            2
        } else {
            0
        };
        // An answer, recursion available, this code.
        message[2] |= 0x80;
        message[3] = 0x80 | rcode;
        // The way back may be what is broken.
        let _ = socket.send_to(&message, &client);
    }
}

/// One question, asked.
pub struct DnsQuery {
    socket: Socket,
    flow: Flow,
}

impl DnsQuery {
    /// Asks for the address (type A) of a name.
    pub fn send(namespace: &Namespace, server: SocketAddr, name: &str) -> Result<Self> {
        Self::send_from(namespace, 0, server, name)
    }

    /// The same from this port, or from any if it is 0.
    pub fn send_from(
        namespace: &Namespace,
        port: u16,
        server: SocketAddr,
        name: &str,
    ) -> Result<Self> {
        let socket = namespace.enter(|| -> io::Result<Socket> {
            let socket = Socket::new(Domain::for_address(server), Type::DGRAM, None)?;
            if let Some(source) = any_address(port, server) {
                socket.set_reuse_address(true)?;
                socket.bind(&source.into())?;
            }
            socket.connect(&server.into())?;
            Ok(socket)
        })?;
        let src = socket.local_addr()?.as_socket();
        let flow = Flow {
            protocol: Protocol::Udp,
            src: src.context("an Internet address")?,
            dst: server,
        };
        // The local port is as good an id as any.
        let query = Self { socket, flow };
        query.ask_more(flow.src.port(), name)?;
        Ok(query)
    }

    /// Asks for the address of a name by the same socket.
    pub fn ask_more(&self, id: u16, name: &str) -> Result<()> {
        let [id0, id1] = id.to_be_bytes();
        // Recursion desired, one question.
        let mut message = vec![id0, id1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            message.push(u8::try_from(label.len()).context("labels are short")?);
            message.extend(label.bytes());
        }
        message.extend([0, 0, 1, 0, 1]);
        self.socket.send(&message)?;
        Ok(())
    }

    /// Both ends, the local port included.
    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// Whether an answer comes within the time.
    pub fn answered(&self, timeout: Duration) -> io::Result<bool> {
        self.socket.set_read_timeout(Some(timeout))?;
        match self.socket.recv(&mut [MaybeUninit::uninit(); 512]) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}
