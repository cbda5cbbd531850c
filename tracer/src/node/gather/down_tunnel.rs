//! A tunnel device that is down: whether a destination without a route could have been behind it.

use std::{fmt, io, net::IpAddr};

use ipnet::IpNet;

use super::read::Reader;
use crate::net::{Link, Route};

/// Bits that the addresses of one cluster's pods have in common, at the least: the network that a
/// plugin divides among the nodes.
const NETWORK: u8 = 16;

/// A device that is down. Its routes are gone, and so are its neighbor entries; its IPv4 addresses
/// and configured FDB entries stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DownTunnel {
    /// Its name.
    pub(crate) name: String,
    /// Why the destination is not behind it; `None` if it can be.
    pub(crate) refuted: Option<NotBehind>,
}

/// Why a destination is not behind a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotBehind {
    /// The tunnel leads to no other node.
    NoPeer,
    /// None of the tunnel's addresses is of the destination's network.
    OtherNetwork,
    /// The destination is an IPv6 address: with its device, a tunnel loses its own.
    NoAddressLeft,
    /// Other nodes of that network are reached by this route.
    OtherWay(Box<Route>),
}

/// As a clause.
impl fmt::Display for NotBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPeer => f.write_str("it has no remote VTEP"),
            Self::OtherNetwork => f.write_str("none of its addresses is of that network"),
            Self::NoAddressLeft => f.write_str("it has kept no IPv6 address to compare"),
            Self::OtherWay(route) => {
                write!(
                    f,
                    "others of that network have a route through another device: {route}"
                )
            }
        }
    }
}

impl Reader<'_> {
    /// Those of the tunnels that are down.
    pub(super) fn down_tunnels(&mut self) {
        let has_route = self
            .found
            .route
            .as_ref()
            .is_none_or(|lookup| lookup.answer.is_ok());
        let down = self.found.tunnels.iter().filter(|tunnel| !tunnel.up);
        let down: Vec<_> = down.cloned().collect();
        if has_route || down.is_empty() {
            return;
        }
        let found = self.step("the tunnels that are down", |reader| {
            let all = down.iter().map(|tunnel| {
                Ok(DownTunnel {
                    name: tunnel.name.clone(),
                    refuted: reader.not_behind(tunnel)?,
                })
            });
            Ok(all.collect::<io::Result<Vec<_>>>()?)
        });
        self.found.down = found.unwrap_or_default();
    }

    fn not_behind(&self, tunnel: &Link) -> io::Result<Option<NotBehind>> {
        let dst = self.question.dst;
        let entries = self.rtnetlink.fdb(tunnel.ifindex)?;
        let has_peer = tunnel.tunnel_remote().is_some()
            || tunnel.is_external()
            || entries.iter().any(|entry| entry.remote.is_some());
        if !has_peer {
            return Ok(Some(NotBehind::NoPeer));
        }
        let Some(network) = network(dst) else {
            return Ok(Some(NotBehind::NoAddressLeft));
        };
        let addresses = self.rtnetlink.addresses()?;
        let is_of_it = addresses
            .iter()
            .any(|held| held.ifindex == tunnel.ifindex && network.contains(&held.address));
        if !is_of_it {
            return Ok(Some(NotBehind::OtherNetwork));
        }
        let others = self.rtnetlink.routes_by_gateway(network)?;
        let other = others.into_iter().find(|route| {
            let outputs = route.hops.iter().map(|(output, _)| *output);
            outputs
                .chain(route.output)
                .all(|output| output != tunnel.ifindex)
        });
        Ok(other.map(|mut route| {
            let link = route
                .output
                .and_then(|output| self.rtnetlink.link(output).ok()?);
            route.ifname = link.map(|link| link.name);
            NotBehind::OtherWay(Box::new(route))
        }))
    }
}

/// The network of the nodes' pods that an address can be of. With its device, a tunnel loses its
/// IPv6 addresses: of those, nothing can be shown.
fn network(dst: IpAddr) -> Option<IpNet> {
    let is_pods = dst.is_ipv4();
    is_pods
        .then(|| IpNet::new(dst, NETWORK).ok().map(|net| net.trunc()))
        .flatten()
}
