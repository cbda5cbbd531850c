//! The tunnel that the packet takes, and the MTUs on its way, inside and below the tunnel.

use anyhow::Result;
use tracer_common::tunnel::Tunnel;

use super::{Carrier, read::Reader};
use crate::{
    net::{Link, Route, RouteKey, RouteKind},
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
        if let Some(carrier) = self.question.carrier {
            self.found.remote = self.step("the way to the VTEP", |reader| {
                Remote::read(&reader.rtnetlink, carrier.dst)
            });
            let known = self.step("where the tunnel's packet came from", |reader| {
                reader.knows_vtep(carrier)
            });
            self.found.knows_vtep = known.flatten();
        }
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
            if carrier.tunnel.is_some_and(|of| of != *kind) {
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

    /// The interface that the packet leaves through below a tunnel, and what it has grown by there.
    fn below_tunnel(&mut self) -> Option<(Link, u32)> {
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
        let output = remote.route.answer.ok()?.output?;
        Some((self.link(output)?, overhead))
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
        // Without a remote of its own, a tunnel of IP in IP sends to the gateway of the route.
        let device = device?;
        let by_route = self
            .answer()
            .filter(|route| route.output == Some(device.ifindex));
        let gateway = by_route.and_then(|route| route.gateway);
        let dst = device.tunnel_remote().or(gateway)?;
        self.step("the way to the tunnel's other end", |reader| {
            Remote::read(&reader.rtnetlink, dst)
        })
    }

    /// The packet's route, if it has one.
    fn answer(&self) -> Option<&Route> {
        self.found.route.as_ref()?.answer.as_ref().ok()
    }

    /// In through an interface, out through another, and if that is a tunnel, out again below it.
    pub(super) fn hops(&mut self) {
        let mut links: Vec<(Link, u32)> = Vec::new();
        links.extend(self.found.link.clone().map(|link| (link, 0)));
        if let Some(link) = self.found.link.clone() {
            let peer = self.step("the other end of the veth", |reader| {
                Ok(reader.rtnetlink.peer(&link)?)
            });
            self.found.peer = peer.flatten();
        }
        links.extend(self.found.incoming.clone().map(|link| (link, 0)));
        let output = self
            .answer()
            .filter(|route| route.kind == RouteKind::Unicast);
        if let Some(output) = output.and_then(|route| route.output) {
            links.extend(self.link(output).map(|link| (link, 0)));
        }
        links.extend(self.below_tunnel());
        self.found.hops = hops(&links);
    }
}

/// Each interface once; below a tunnel, its packets are the larger ones.
fn hops(links: &[(Link, u32)]) -> Vec<Hop> {
    let mut found: Vec<Hop> = Vec::new();
    for (link, overhead) in links {
        match found.iter_mut().find(|hop| hop.ifname == link.name) {
            Some(known) => known.overhead = known.overhead.max(*overhead),
            None => found.push(Hop {
                ifname: link.name.clone(),
                mtu: link.mtu,
                overhead: *overhead,
            }),
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
        let found = hops(&[(link("eth0"), 0), (link("vxlan10"), 0), (link("eth0"), 50)]);
        let inner: Vec<_> = found.iter().map(Hop::inner_mtu).collect();
        assert_eq!(inner, [1450, 1500]);
    }
}
