//! A DNS query and its answer.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use socket2::Type;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UdpSocket,
    time::timeout,
};

use super::{Sockets, local, random, tcp};
use crate::probe::observed::{Observed, Own};

/// The largest answer over UDP that is read.
const MAX_ANSWER: usize = 4096;

/// A query that was sent.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) own: Own,
    /// The name that was asked for.
    pub(crate) name: String,
    pub(crate) is_aaaa: bool,
    pub(crate) took: Duration,
    /// The answer; `TimedOut` where none came.
    pub(crate) result: io::Result<Reply>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: ResponseCode,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) is_truncated: bool,
}

/// Asks a server for the addresses of a name, over UDP.
///
/// # Errors
///
/// No socket can be made in the namespace, or the name cannot be asked for.
pub(crate) async fn ask(
    sockets: &Sockets,
    observed: &Observed,
    from: Option<IpAddr>,
    server: SocketAddr,
    (name, is_aaaa): (&str, bool),
    limit: Duration,
) -> Result<Asked> {
    let (id, query) = query(name, is_aaaa)?;
    let socket = sockets.make((Type::DGRAM, None), from, server.ip()).await?;
    let own = Own::udp(local(&socket)?, server);
    observed.expect(own);
    let socket = UdpSocket::from_std(socket.into())?;
    let begun = Instant::now();
    let exchange = async {
        // Connected, it takes datagrams of the server only, and learns of ICMP errors.
        socket.connect(server).await?;
        socket.send(&query).await?;
        let mut buffer = vec![0; MAX_ANSWER];
        loop {
            let count = socket.recv(&mut buffer).await?;
            if let Some(reply) = reply(&buffer[..count], id) {
                return Ok(reply);
            }
        }
    };
    let result = timeout(limit, exchange).await;
    Ok(Asked {
        own,
        name: name.to_owned(),
        is_aaaa,
        took: begun.elapsed(),
        result: result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
    })
}

/// Asks again over TCP, as for an answer that was truncated.
///
/// # Errors
///
/// As of [`ask`].
pub(crate) async fn ask_by_tcp(
    sockets: &Sockets,
    observed: &Observed,
    from: Option<IpAddr>,
    server: SocketAddr,
    (name, is_aaaa): (&str, bool),
    limit: Duration,
) -> Result<Asked> {
    let (id, query) = query(name, is_aaaa)?;
    let connected = tcp::connect(sockets, observed, from, server, limit).await?;
    let exchange = async {
        let mut stream = connected.result?;
        let length = u16::try_from(query.len()).map_err(io::Error::other)?;
        stream.write_all(&length.to_be_bytes()).await?;
        stream.write_all(&query).await?;
        let mut answer = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut answer).await?;
        reply(&answer, id).ok_or_else(|| io::ErrorKind::InvalidData.into())
    };
    let begun = Instant::now();
    let result = timeout(limit, exchange).await;
    Ok(Asked {
        own: connected.own,
        name: name.to_owned(),
        is_aaaa,
        took: connected.took + begun.elapsed(),
        result: result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
    })
}

fn query(name: &str, is_aaaa: bool) -> Result<(u16, Vec<u8>)> {
    let id = random();
    let kind = match is_aaaa {
        true => RecordType::AAAA,
        false => RecordType::A,
    };
    let name = Name::from_ascii(name).with_context(|| format!("{name} is no DNS name"))?;
    let mut message = Message::new();
    message
        .set_id(id)
        .set_message_type(MessageType::Query)
        .set_op_code(OpCode::Query)
        .set_recursion_desired(true)
        .add_query(Query::query(name, kind));
    Ok((id, message.to_vec()?))
}

/// The answer to the query with this id; `None` for anything else.
fn reply(bytes: &[u8], id: u16) -> Option<Reply> {
    let message = Message::from_vec(bytes).ok()?;
    if message.id() != id || message.message_type() != MessageType::Response {
        return None;
    }
    let addresses = message.answers().iter().filter_map(|record| {
        let ip: IpAddr = match record.data() {
            RData::A(ip) => ip.0.into(),
            RData::AAAA(ip) => ip.0.into(),
            _ => return None,
        };
        Some(ip)
    });
    Some(Reply {
        code: message.response_code(),
        addresses: addresses.collect(),
        is_truncated: message.truncated(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_another_query_is_none() {
        let (id, bytes) = query("cart.shop.", false).unwrap();
        assert_eq!(reply(&bytes, id), None, "a query");
        let mut answer = bytes.clone();
        answer[2] |= 0x80;
        answer[3] = 3;
        let expected = Reply {
            code: ResponseCode::NXDomain,
            addresses: Vec::new(),
            is_truncated: false,
        };
        assert_eq!(reply(&answer, id), Some(expected));
        assert_eq!(reply(&answer, id.wrapping_add(1)), None);
        assert_eq!(reply(&answer[..5], id), None);
    }
}
