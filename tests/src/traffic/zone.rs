//! A DNS server with a zone: it knows the addresses of some names, and says that no other exists.

use std::{
    io::{Read as _, Write as _},
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    thread::{self, JoinHandle},
};

use anyhow::Result;
use socket2::Socket;

use super::{TcpServer, dns::bound};
use crate::lab::Namespace;

/// Bytes of a message before its question.
const HEADER: usize = 12;

/// A server. It ends with its value.
pub struct ZoneServer {
    socket: Socket,
    responder: Option<JoinHandle<()>>,
    /// Where answers by UDP are truncated, those by TCP.
    _by_tcp: Option<TcpServer>,
}

/// Names and their addresses.
type Zone = Vec<(String, IpAddr)>;

impl ZoneServer {
    /// Starts one. The names are without a final dot.
    pub fn start(
        namespace: &Namespace,
        address: SocketAddr,
        zone: &[(&str, IpAddr)],
    ) -> Result<Self> {
        Self::start_as(namespace, address, zone, false)
    }

    /// Starts one whose answers by UDP have no room for an address: the client has to ask by TCP.
    pub fn truncating(
        namespace: &Namespace,
        address: SocketAddr,
        zone: &[(&str, IpAddr)],
    ) -> Result<Self> {
        Self::start_as(namespace, address, zone, true)
    }

    fn start_as(
        namespace: &Namespace,
        address: SocketAddr,
        zone: &[(&str, IpAddr)],
        truncates: bool,
    ) -> Result<Self> {
        let socket = bound(namespace, address)?;
        let zone: Zone = zone
            .iter()
            .map(|(name, ip)| ((*name).to_owned(), *ip))
            .collect();
        let by_tcp = match truncates {
            true => Some(serve_by_tcp(namespace, address, zone.clone())?),
            false => None,
        };
        let responder = thread::spawn({
            let socket = socket.try_clone()?;
            move || respond(&socket, &zone, truncates)
        });
        Ok(Self {
            socket,
            responder: Some(responder),
            _by_tcp: by_tcp,
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

fn serve_by_tcp(namespace: &Namespace, address: SocketAddr, zone: Zone) -> Result<TcpServer> {
    // Until the end of the test: each connection has a thread of its own.
    let zone: &'static Zone = Box::leak(Box::new(zone));
    TcpServer::serve(namespace, address, move |mut connection| {
        let mut length = [0; 2];
        while connection.read_exact(&mut length).is_ok() {
            let mut query = vec![0; u16::from_be_bytes(length).into()];
            let answer = connection
                .read_exact(&mut query)
                .ok()
                .and_then(|()| answer(&query, zone));
            let Some(answer) = answer else { return };
            let length = u16::try_from(answer.len()).unwrap_or_default();
            let message = [&length.to_be_bytes(), answer.as_slice()].concat();
            if connection.write_all(&message).is_err() {
                return;
            }
        }
    })
}

fn respond(socket: &Socket, zone: &[(String, IpAddr)], truncates: bool) {
    let mut buffer = [MaybeUninit::uninit(); 512];
    // A shut-down socket gives empty datagrams.
    while let Ok((count @ 1.., client)) = socket.recv_from(&mut buffer) {
        let query: Vec<u8> = buffer[..count]
            .iter()
            // SAFETY: `recv_from` has written the first `count` bytes.
            .map(|byte| unsafe { byte.assume_init() })
            .collect();
        let mut answer = answer(&query, zone);
        if let Some(answer) = answer.as_mut().filter(|_| truncates) {
            truncate(answer);
        }
        if let Some(answer) = answer {
            // The way back may be what is broken.
            let _ = socket.send_to(&answer, &client);
        }
    }
}

/// Leaves out the addresses, where there are any, and says so.
fn truncate(answer: &mut Vec<u8>) {
    let counts = answer.get(6..8).map(|counts| counts != [0, 0]);
    if counts != Some(true) {
        return;
    }
    // The flag TC, and no answers.
    answer[2] |= 2;
    answer[6..8].copy_from_slice(&[0, 0]);
    let question = answer[HEADER..].iter().position(|byte| *byte == 0);
    answer.truncate(HEADER + question.unwrap_or_default() + 5);
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
