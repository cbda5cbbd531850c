//! Proxies that `TPROXY` sends packets to, and whether a socket is there.
//!
//! The target of iptables drops a packet for which it finds none. The `tproxy` statement of nft only
//! ends its rule.

use std::net::IpAddr;

use super::{
    ruleset::{HookPacket, Ruleset, Suspect, model::Proxy},
    sockets,
};
use crate::{
    model::{Hook, Protocol},
    net::sock_diag::{TcpState, tcp_sockets},
};

/// A rule that sends the packet to a proxy which does not take it.
#[derive(Debug, Clone)]
pub(crate) struct DeadProxy {
    /// The rule.
    pub(crate) rule: Suspect,
    /// The address; `None` for the packet's own or the interface's.
    pub(crate) address: Option<IpAddr>,
    /// The port.
    pub(crate) port: u16,
    /// A socket is there, and lacks `IP_TRANSPARENT`.
    pub(crate) is_opaque: bool,
}

/// The rules at the packet's hook that send it to no socket, in the namespace that this thread is in.
pub(super) fn dead(ruleset: &Ruleset, packet: &HookPacket) -> Vec<DeadProxy> {
    let proxies = ruleset.proxies(packet).into_iter();
    let proxies = proxies.filter(|(rule, _)| rule.is_iptables);
    proxies
        .filter_map(|(rule, proxy)| dead_one(rule, proxy, packet))
        .collect()
}

/// The rules of nft that send a packet, which came in by this packet's way, to no socket, in the namespace
/// that this thread is in.
pub(super) fn dead_of_nft(ruleset: &Ruleset, packet: &HookPacket) -> Vec<DeadProxy> {
    let proxies = ruleset.proxies_of_nft(packet).into_iter();
    proxies
        .filter_map(|(rule, proxy)| dead_one(rule, proxy, packet))
        .collect()
}

fn dead_one(rule: Suspect, proxy: Proxy, packet: &HookPacket) -> Option<DeadProxy> {
    let port = proxy.port.or(packet.ends.dport)?;
    let is_opaque = match socket(Protocol::from(packet.proto), proxy.address, port)? {
        Socket::Missing => false,
        Socket::Opaque => true,
        Socket::Transparent => return None,
    };
    Some(DeadProxy {
        rule,
        address: proxy.address,
        port,
        is_opaque,
    })
}

/// The rules at PREROUTING that send a packet to a proxy which was forwarded then.
pub(super) fn of_forwarded(ruleset: &Ruleset, packet: &HookPacket) -> Vec<(Suspect, Proxy)> {
    ruleset.proxies(&as_it_came(packet))
}

/// The packet at PREROUTING, where such rules are, and change its mark.
pub(super) fn as_it_came(packet: &HookPacket) -> HookPacket {
    HookPacket {
        hook: Some(Hook::Prerouting),
        mark: None,
        ..packet.clone()
    }
}

enum Socket {
    Missing,
    /// It takes packets for the host's own addresses only.
    Opaque,
    Transparent,
}

/// The proxy's socket; `None` if undecidable.
fn socket(protocol: Protocol, address: Option<IpAddr>, port: u16) -> Option<Socket> {
    let fits = |ip: IpAddr| {
        let is_any = ip.is_unspecified();
        is_any || address.is_none_or(|address| address == ip)
    };
    if protocol != Protocol::Tcp {
        let sockets = sockets::with_local_port(protocol, port).ok()?;
        let is_there = sockets.iter().any(|socket| fits(socket.local.ip()));
        return (!is_there).then_some(Socket::Missing);
    }
    let listeners = tcp_sockets(TcpState::Listen, Some(port)).ok()?;
    let mut fitting = listeners
        .iter()
        .filter(|socket| fits(socket.local.ip()))
        .peekable();
    if fitting.peek().is_none() {
        return Some(Socket::Missing);
    }
    Some(
        match fitting.all(|socket| socket.is_transparent == Some(false)) {
            true => Socket::Opaque,
            false => Socket::Transparent,
        },
    )
}
