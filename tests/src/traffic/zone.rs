//! A DNS server with a zone: it knows the addresses of some names, and says that no other exists.

use std::{
    io,
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};

use crate::lab::Namespace;

/// Bytes of a message before its question.
const HEADER: usize = 12;

/// A server. It ends with its value.
pub struct ZoneServer {
    socket: Socket,
    responder: Option<JoinHandle<()>>,
}

impl ZoneServer {
    /// Starts one. The names are without a final dot.
    pub fn start(
        namespace: &Namespace,
        address: SocketAddr,
        zone: &[(&str, IpAddr)],
    ) -> Result<Self> {
        let socket = namespace.enter(|| -> io::Result<Socket> {
            let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
            socket.bind(&address.into())?;
            Ok(socket)
        });
        let socket = socket.with_context(|| format!("cannot serve DNS at {address}"))?;
        let zone: Vec<(String, IpAddr)> = zone
            .iter()
            .map(|(name, ip)| ((*name).to_owned(), *ip))
            .collect();
        let responder = thread::spawn({
            let socket = socket.try_clone()?;
            move || respond(&socket, &zone)
        });
        Ok(Self {
            socket,
            responder: Some(responder),
        })
    }
}

impl Drop for ZoneServer {
    fn drop(&mut self) {
        // Wakes up the responder although it answers ENOTCONN.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        if let Some(responder) = self.responder.take() {
            let _ = responder.join();
        }
    }
}

fn respond(socket: &Socket, zone: &[(String, IpAddr)]) {
    let mut buffer = [MaybeUninit::uninit(); 512];
    // A shut-down socket gives empty datagrams.
    while let Ok((count @ 1.., client)) = socket.recv_from(&mut buffer) {
        let query: Vec<u8> = buffer[..count]
            .iter()
            // SAFETY: `recv_from` has written the first `count` bytes.
            .map(|byte| unsafe { byte.assume_init() })
            .collect();
        if let Some(answer) = answer(&query, zone) {
            // The way back may be what is broken.
            let _ = socket.send_to(&answer, &client);
        }
    }
}

fn answer(query: &[u8], zone: &[(String, IpAddr)]) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let name = labels.join(".");
    let wants_v6 = query.get(at..at + 2)? == [0, 28];
    let question = query.get(HEADER..at + 4)?;
    let known: Vec<IpAddr> = zone
        .iter()
        .filter(|(known, _)| *known == name)
        .map(|(_, ip)| *ip)
        .collect();
    let rcode = if known.is_empty() { 3 } else { 0 };
    let fitting: Vec<IpAddr> = known
        .into_iter()
        .filter(|ip| ip.is_ipv6() == wants_v6)
        .collect();
    let mut message = query.get(..2)?.to_vec();
    let [high, low] = u16::try_from(fitting.len()).ok()?.to_be_bytes();
    // An answer, recursion available, this code; one question.
    message.extend([0x81, 0x80 | rcode, 0, 1, high, low, 0, 0, 0, 0]);
    message.extend(question);
    for ip in fitting {
        // The name of the question, this type, class IN, for 30 seconds.
        message.extend([
            0xc0,
            12,
            0,
            if wants_v6 { 28 } else { 1 },
            0,
            1,
            0,
            0,
            0,
            30,
        ]);
        match ip {
            IpAddr::V4(ip) => {
                message.extend([0, 4]);
                message.extend(ip.octets());
            }
            IpAddr::V6(ip) => {
                message.extend([0, 16]);
                message.extend(ip.octets());
            }
        }
    }
    Some(message)
}
