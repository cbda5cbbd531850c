//! TCP sockets of the network namespace this thread is in (`NETLINK_SOCK_DIAG`).

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, bail};
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags},
};
use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};

/// The TCP sockets in these states, IPv4 and IPv6; if a port is given, only those of that local
/// port.
pub(super) fn tcp_sockets(states: &StateFlags, port: Option<u16>) -> Result<Vec<InetResponse>> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG).context("cannot open a sock_diag socket")?;
    socket
        .bind_auto()
        .and_then(|_| socket.connect(&netlink_sys::SocketAddr::new(0, 0)))
        .context("cannot set up a sock_diag socket")?;
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let mut id = if family == AF_INET {
            SocketId::new_v4()
        } else {
            SocketId::new_v6()
        };
        id.source_port = port.unwrap_or(0);
        let request = InetRequest {
            family,
            protocol: IPPROTO_TCP,
            extensions: ExtensionFlags::SKMEMINFO,
            states: states.clone(),
            socket_id: id,
        };
        dump(&socket, request, &mut found)
            .context("cannot list TCP sockets with sock_diag (kernel module tcp_diag)")?;
    }
    Ok(found)
}

fn dump(socket: &Socket, request: InetRequest, found: &mut Vec<InetResponse>) -> Result<()> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    loop {
        let (answer, _) = socket.recv_from_full()?;
        if parse(&answer, found)? {
            return Ok(());
        }
    }
}

/// Takes the sockets from one datagram; true after the last one.
fn parse(mut datagram: &[u8], found: &mut Vec<InetResponse>) -> Result<bool> {
    while !datagram.is_empty() {
        let message = NetlinkMessage::<SockDiagMessage>::deserialize(datagram)?;
        match message.payload {
            NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                found.push(*response);
            }
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) => return Err(error.to_io().into()),
            NetlinkPayload::Noop => {}
            other => bail!("unexpected answer {other:?}"),
        }
        // Messages start at multiples of four bytes.
        let length = usize::try_from(message.header.length)?.next_multiple_of(4);
        datagram = datagram.get(length..).unwrap_or_default();
    }
    Ok(false)
}

/// A socket's own address, and the far end's. An IPv4 address in IPv6 clothes is an IPv4 address.
pub(super) fn addresses(id: &SocketId) -> (SocketAddr, SocketAddr) {
    let plain = |address: IpAddr, port| SocketAddr::new(address.to_canonical(), port);
    (
        plain(id.source_address, id.source_port),
        plain(id.destination_address, id.destination_port),
    )
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn lists_only_the_port_asked_for() {
        let one = TcpListener::bind("127.0.0.1:0").unwrap();
        let _other = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = one.local_addr().unwrap();
        let found = tcp_sockets(&StateFlags::LISTEN, Some(address.port())).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|socket| addresses(&socket.header.socket_id).0)
            .collect();
        assert_eq!(found, [address]);
    }

    #[test]
    fn an_ipv4_address_in_ipv6_clothes_is_ipv4() {
        let mut id = SocketId::new_v6();
        id.source_address = "::ffff:10.0.0.1".parse().unwrap();
        id.source_port = 80;
        assert_eq!(addresses(&id).0, "10.0.0.1:80".parse().unwrap());
    }
}
