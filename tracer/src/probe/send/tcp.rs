//! A TCP connection.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::Result;
use socket2::{Socket, Type};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::{Sockets, local};
use crate::probe::observed::{Observed, Own};

/// An attempt to connect.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) own: Own,
    /// How long it took.
    pub(crate) took: Duration,
    /// The connection; `TimedOut` where nothing came back in time.
    pub(crate) result: io::Result<TcpStream>,
}

/// Connects. The SYN is known to be the probe's before it is sent.
///
/// # Errors
///
/// No socket can be made in the namespace.
pub(crate) async fn connect(
    sockets: &Sockets,
    observed: &Observed,
    from: Option<IpAddr>,
    to: SocketAddr,
    limit: Duration,
) -> Result<Connected> {
    let socket = sockets.make((Type::STREAM, None), from, to.ip()).await?;
    connect_with(socket, observed, to, limit).await
}

/// Connects a socket that is bound already.
///
/// # Errors
///
/// The socket has no address.
pub(super) async fn connect_with(
    socket: Socket,
    observed: &Observed,
    to: SocketAddr,
    limit: Duration,
) -> Result<Connected> {
    let own = Own::tcp(local(&socket)?, to);
    observed.expect(own);
    let socket = TcpSocket::from_std_stream(socket.into());
    let begun = Instant::now();
    let result = timeout(limit, socket.connect(to)).await;
    let result = result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    Ok(Connected {
        own,
        took: begun.elapsed(),
        result,
    })
}
