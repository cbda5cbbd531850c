//! Sends what the plan holds: the only I/O of a probe.
//!
//! A socket belongs to the network namespace that it was made in. Each is made by a thread that enters
//! the source's namespace for that and ends; it is used from the program's own thread. An interrupted
//! probe drops its sockets, which closes them: no thread is left in another namespace.

mod chain;
mod dns;
mod echo;
mod http;
mod raw;
mod segment;
mod segments;
mod tcp;
mod tls;

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::Result;
use socket2::{Domain, Socket, Type};

pub(crate) use self::{
    chain::{Certificate, read_chain},
    dns::{Asked, Reply, ask, ask_by_tcp},
    echo::{Echo, Round},
    http::{Response, request},
    segments::Segments,
    tcp::connect,
    tls::{Broken, Greeted, Offer, greet},
};
use crate::net::netns::{NetnsRef, in_netns_async};

/// How long a thread may take to make a socket.
const LIMIT: Duration = Duration::from_secs(5);

/// Makes sockets in the source's namespace.
#[derive(Debug, Clone)]
pub(crate) struct Sockets {
    netns: NetnsRef,
}

impl Sockets {
    pub(crate) fn new(netns: NetnsRef) -> Self {
        Self { netns }
    }

    /// A socket that does not block, bound to an address and a port of its own.
    async fn make(
        &self,
        (kind, protocol): (Type, Option<socket2::Protocol>),
        from: Option<IpAddr>,
        to: IpAddr,
    ) -> Result<Socket> {
        in_netns_async(&self.netns, LIMIT, move |_| {
            // Known before anything is sent, the source address distinguishes its packets, too.
            let own = from.or_else(|| routed(to).ok());
            let at = SocketAddr::new(own.unwrap_or(any(to)), 0);
            let socket = Socket::new(Domain::for_address(at), kind, protocol)?;
            socket.set_nonblocking(true)?;
            socket.bind(&at.into())?;
            Ok(socket)
        })
        .await
    }

    /// The address that packets to a destination are sent from.
    pub(crate) async fn local_address(&self, from: Option<IpAddr>, to: IpAddr) -> Result<IpAddr> {
        let socket = self.make((Type::DGRAM, None), from, to).await?;
        Ok(local(&socket)?.ip())
    }
}

/// The address that the routes choose for packets to a destination. Connecting such a socket sends
/// nothing.
fn routed(to: IpAddr) -> io::Result<IpAddr> {
    let socket = UdpSocket::bind(SocketAddr::new(any(to), 0))?;
    socket.connect(SocketAddr::new(to, 9))?;
    Ok(socket.local_addr()?.ip())
}

fn any(to: IpAddr) -> IpAddr {
    match to {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn local(socket: &Socket) -> io::Result<SocketAddr> {
    let local = socket.local_addr()?.as_socket();
    local.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// A number that others do not guess.
fn random() -> u16 {
    let hashed = RandomState::new().build_hasher().finish();
    let [a, b, ..] = hashed.to_ne_bytes();
    u16::from_ne_bytes([a, b])
}
