//! The tunnel that the packet takes, and the MTUs on its way, inside and below the tunnel.

use std::net::IpAddr;

use anyhow::Result;
use tracer_common::tunnel::Tunnel;

use super::{Carrier, read::Reader};
use crate::{
    net::{Kind, Link, Route, RouteKey, RouteKind, WireguardDevice},
    node::{
        mtu::Hop,
        overlay::{Overlay, Remote},
        route::Lookup,
    },
};

impl Reader<'_> {
    pub(super) fn overlay(&mut self) {
        let found = self.step("the tunnels", |reader| {
            Ok(reader.rtnetlink.tunnel_links(Tunnel::Vxlan)?)
        });
        self.found.tunnels = found.unwrap_or_default();
        self.down_tunnels();
        let output = self.answer().and_then(|route| route.output);
        let at = [self.question.ifindex, output.unwrap_or(0)];
        let device = self.found.tunnels.iter();
        let device = device.clone().find(|tunnel| at.contains(&tunnel.ifindex));
        if let Some(device) = device.cloned() {
            let dst = self.question.dst;
            self.found.overlay = self.step("the way through the tunnel", |reader| {
                let route = reader.found.route.as_ref();
                Overlay::read(&reader.rtnetlink, device, dst, route)
            });
        }
        let link = self.found.link.clone();
        if let Some(link) = link.filter(|link| link.kind == Kind::Wireguard) {
            self.found.wireguard = self.wireguard(&link);
        }
        if let Some(carrier) = self.question.carrier {
            self.found.remote = self.step("the way to the VTEP", |reader| {
                Remote::read(&reader.rtnetlink, carrier.dst)
            });
            let known = self.step("where the tunnel's packet came from", |reader| {
                reader.knows_vtep(carrier)
            });
            self.found.knows_vtep = known.flatten();
            if let Some(kind) = carrier.tunnel {
                self.found.alike = self.step("the tunnels of that kind", |reader| {
                    reader.tunnels_alike(kind)
                });
            }
        }
    }

    /// The tunnel devices whose packets look the same on the wire.
    fn tunnels_alike(&self, kind: Tunnel) -> Result<Vec<Link>> {
        let mut found = Vec::new();
        for other in Tunnel::ALL {
            if other.on_the_wire() == kind.on_the_wire() {
                found.extend(self.rtnetlink.tunnel_links(*other)?);
            }
        }
        Ok(found)
    }

    /// Whether something in this namespace leads to where a tunnel's packet comes from. Anyone can
    /// send what looks like one. `None` if a tunnel of that kind takes any remote, which routes or
    /// programs choose.
    fn knows_vtep(&self, carrier: Carrier) -> Result<Option<bool>> {
        let vtep = carrier.src;
        let route = |to| -> Result<Option<Route>> {
            Ok(Lookup::read(&self.rtnetlink, RouteKey::to(to))?.answer.ok())
        };
        if route(vtep)?.is_some_and(|own| own.kind == RouteKind::Local) {
            return Ok(Some(true));
        }
        let back = route(self.question.src)?;
        if back.is_some_and(|back| back.gateway == Some(vtep)) {
            return Ok(Some(true));
        }
        let mut is_any = false;
        for kind in Tunnel::ALL {
            if carrier
                .tunnel
                .is_some_and(|of| of.on_the_wire() != kind.on_the_wire())
            {
                continue;
            }
            for tunnel in self.rtnetlink.tunnel_links(*kind)? {
                is_any |= tunnel.is_external();
                let entries = match kind {
                    Tunnel::Vxlan => self.rtnetlink.fdb(tunnel.ifindex)?,
                    _ => Vec::new(),
                };
                let mut remotes = entries.iter().filter_map(|entry| entry.remote);
                if tunnel.tunnel_remote() == Some(vtep) || remotes.any(|remote| remote == vtep) {
                    return Ok(Some(true));
                }
            }
        }
        Ok((!is_any).then_some(false))
    }

    /// The interface that the packet leaves through below a tunnel, or the path from there if that is
    /// known to take less, and what the packet has grown by there.
    fn below_tunnel(&mut self) -> Option<Hop> {
        let device = self.tunnel();
        self.found.tunnel.clone_from(&device);
        let remote = self.other_end(device.as_ref())?;
        let over_ipv6 = remote.vtep.is_ipv6();
        let carrier = self.question.carrier.map(|carrier| carrier.tunnel);
        let overhead = match (device, carrier) {
            // A device knows its options; another kind of tunnel is not the one it came by.
            (Some(device), None) => device.tunnel_overhead(over_ipv6)?,
            (Some(device), Some(kind)) if device.kind.tunnel() == kind => {
                device.tunnel_overhead(over_ipv6)?
            }
            (_, kind) => kind??.overhead(over_ipv6),
        };
        let vtep = remote.vtep;
        let route = remote.route.answer.ok()?;
        let link = self.link(route.output?)?;
        Some(match route.mtu.filter(|mtu| *mtu < link.mtu) {
            Some(mtu) => Hop {
                ifname: format!("the path to {vtep}"),
                mtu,
                overhead,
            },
            None => Hop {
                ifname: link.name,
                mtu: link.mtu,
                overhead,
            },
        })
    }

    /// The tunnel device that the packet was dropped at, or would leave through.
    fn tunnel(&mut self) -> Option<Link> {
        let is_tunnel = |link: &Link| link.kind.tunnel().is_some();
        if let Some(link) = self.found.link.clone().filter(is_tunnel) {
            return Some(link);
        }
        let output = self.answer()?.output?;
        self.link(output).filter(is_tunnel)
    }

    /// Where the packet goes inside the tunnel, and how.
    fn other_end(&mut self, device: Option<&Link>) -> Option<Remote> {
        let of_overlay = self.found.overlay.iter();
        let of_overlay = of_overlay.flat_map(|overlay| &overlay.remotes);
        let mut known = of_overlay.chain(&self.found.remote);
        if let Some(known) = known.find(|remote| remote.route.answer.is_ok()) {
            return Some(known.clone());
        }
        let device = device?;
        let dst = match device.kind {
            // Without a remote of its own, a tunnel of IP in IP sends to the gateway of the route.
            Kind::IpTunnel(_) => {
                let by_route = self
                    .answer()
                    .filter(|route| route.output == Some(device.ifindex));
                let gateway = by_route.and_then(|route| route.gateway);
                device.tunnel_remote().or(gateway)?
            }
            Kind::Wireguard => self.wireguard_endpoint(device)?,
            _ => device.tunnel_remote()?,
        };
        self.step("the way to the tunnel's other end", |reader| {
            Remote::read(&reader.rtnetlink, dst)
        })
    }

    /// Where a WireGuard device sends the packet.
    fn wireguard_endpoint(&mut self, device: &Link) -> Option<IpAddr> {
        let dst = self.question.dst;
        let found = self.wireguard(device)?;
        Some(found.peer_of(dst)?.endpoint?.ip())
    }

    fn wireguard(&mut self, device: &Link) -> Option<WireguardDevice> {
        self.step("the peers of the WireGuard device", |_| {
            Ok(WireguardDevice::read(device.ifindex)?)
        })
    }

    /// The packet's route, if it has one.
    fn answer(&self) -> Option<&Route> {
        self.found.route.as_ref()?.answer.as_ref().ok()
    }

    /// In through an interface, out through another, and if that is a tunnel, out again below it.
    pub(super) fn hops(&mut self) {
        let mut links: Vec<Link> = Vec::new();
        links.extend(self.found.link.clone());
        if let Some(link) = self.found.link.clone() {
            let peer = self.step("the other end of the veth", |reader| {
                Ok(reader.rtnetlink.peer(&link)?)
            });
            self.found.peer = peer.flatten();
        }
        links.extend(self.found.incoming.clone());
        let output = self
            .answer()
            .filter(|route| route.kind == RouteKind::Unicast);
        if let Some(output) = output.and_then(|route| route.output) {
            links.extend(self.link(output));
        }
        let below = self.below_tunnel();
        self.found.hops = hops(links, below);
    }
}

/// Each interface once; below a tunnel, its packets are the larger ones.
fn hops(links: Vec<Link>, below: Option<Hop>) -> Vec<Hop> {
    let mut found: Vec<Hop> = Vec::new();
    let plain = links.into_iter().map(|link| Hop {
        ifname: link.name,
        mtu: link.mtu,
        overhead: 0,
    });
    for hop in plain.chain(below) {
        match found.iter_mut().find(|known| known.ifname == hop.ifname) {
            Some(known) => known.overhead = known.overhead.max(hop.overhead),
            None => found.push(hop),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_one_hop_with_its_largest_packets() {
        let link = |name: &str| Link {
            name: name.to_owned(),
            mtu: 1500,
            ..Link::default()
        };
        let below = |ifname: &str, mtu| Hop {
            ifname: ifname.to_owned(),
            mtu,
            overhead: 50,
        };
        let links = || vec![link("eth0"), link("vxlan10")];
        let inner = |hops: &[Hop]| hops.iter().map(Hop::inner_mtu).collect::<Vec<_>>();
        let found = hops(links(), Some(below("eth0", 1500)));
        assert_eq!(inner(&found), [1450, 1500]);
        // What path MTU discovery has found is a hop of its own.
        let found = hops(links(), Some(below("the path to 192.0.2.2", 1400)));
        assert_eq!(inner(&found), [1500, 1500, 1350]);
    }
}
