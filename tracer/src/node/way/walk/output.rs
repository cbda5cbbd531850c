//! Sent by a process, and out through a link: routing, `OUTPUT`, `POSTROUTING`, the neighbor.

use std::net::IpAddr;

use super::{At, Frame, Next, Walk, segment};
use crate::{
    model::Hook,
    net::{Route, RouteKind},
    node::{
        route::Lookup,
        way::{Act, Because, End},
        world::{Kind, Link, LinkId},
    },
};

impl Walk<'_> {
    pub(super) fn send(&mut self, netns: u32) -> Next {
        let route = self.route_out(netns)?;
        let out = self.link_of(route.output)?;
        let (before, mark) = (self.packet.flow, self.packet.mark);
        self.hook(Hook::Output, None, Some(out))?;
        let is_changed = self.packet.flow.dst != before.dst || self.packet.mark != mark;
        // The kernel looks again where a rule has changed what the route depends on.
        let (route, out) = match is_changed {
            true => {
                let route = self.route_out(netns)?;
                let out = self.link_of(route.output)?;
                (route, out)
            }
            false => (route, out),
        };
        self.hook(Hook::Postrouting, None, Some(out))?;
        if route.kind == RouteKind::Local {
            return self.loop_back(netns);
        }
        Ok(At::Output {
            link: out.id,
            hop: route.gateway.unwrap_or(self.packet.flow.dst),
        })
    }

    /// A packet to an address of its own namespace comes in again through `lo`, with its route.
    fn loop_back(&mut self, netns: u32) -> Next {
        let mut links = self.world.links().filter(|link| link.id.netns == netns);
        let Some(lo) = links.find(|link| link.kind == Kind::Loopback) else {
            return Err(self.undecided("the namespace has no loopback link".to_owned()));
        };
        if !lo.up {
            return Err(self.down(lo.id));
        }
        self.did(Act::CameIn(lo.id));
        self.hook(Hook::Prerouting, Some(lo), None)?;
        self.hook(Hook::Input, Some(lo), None)?;
        Err(self.delivered(Some(lo.id)))
    }

    fn route_out(&mut self, netns: u32) -> Result<Route, Box<End>> {
        let mut key = self.packet.route_key(None);
        // The kernel refuses a source that the namespace does not have, except for raw sockets.
        if self.world.is_local(netns, self.packet.flow.src) != Some(true) {
            key.src = None;
        }
        let lookup = self.route(key)?;
        match &lookup.answer {
            Ok(route) => {
                self.did(Act::Routed(lookup.to_string()));
                Ok(route.clone())
            }
            Err(refusal) => {
                if let Some(link) = self.refuses_loopback(netns, &lookup)? {
                    return Err(self.dropped(Some(link), Because::LoopbackSource(link)));
                }
                Err(self.dropped(None, self.unrouted(*refusal, &lookup)))
            }
        }
    }

    /// The link that would be taken, if it is only for the loopback source that it is not.
    fn refuses_loopback(&self, netns: u32, refused: &Lookup) -> Result<Option<LinkId>, Box<End>> {
        if !self.packet.flow.src.is_loopback() || self.packet.flow.src.is_ipv6() {
            return Ok(None);
        }
        let mut key = refused.packet;
        key.src = None;
        let Ok(route) = self.route(key)?.answer else {
            return Ok(None);
        };
        let out = self.link_of(route.output)?;
        let settings = self.world.namespace(netns).and_then(|one| one.settings);
        let all = settings.and_then(|settings| settings.route_localnet);
        let own = out.ipv4.map(|settings| settings.route_localnet);
        let is_off = all == Some(0) && own == Some(0) && out.kind != Kind::Loopback;
        Ok(is_off.then_some(out.id))
    }

    pub(super) fn output(&mut self, link: LinkId, hop: IpAddr) -> Next {
        let out = self.link(link)?;
        if !out.up {
            return Err(self.down(link));
        }
        if let Some(len) = self.packet.len
            && len > out.mtu
            && (self.packet.dont_fragment || self.packet.flow.dst.is_ipv6())
        {
            let because = Because::TooBig { link, mtu: out.mtu };
            return Err(self.dropped(Some(link), because));
        }
        if let Some(end) = self.leaves_unresolved(out, hop) {
            return Err(end);
        }
        let mac = self.resolve(out, hop)?;
        self.did(Act::WentOut(link));
        let frame = Frame {
            hop,
            mac,
            prerouted: false,
        };
        Ok(At::Frame(frame, segment::Step::Out(link, None)))
    }

    /// Links without MAC addresses, and those that lead somewhere else.
    fn leaves_unresolved(&mut self, out: &Link, hop: IpAddr) -> Option<Box<End>> {
        match &out.kind {
            Kind::Vxlan(_) => {
                let want = format!("what the tunnel {} does with it is not followed", out.name);
                Some(self.undecided(want))
            }
            Kind::Vrf { .. } => Some(self.undecided("routing by a VRF is not followed".to_owned())),
            Kind::Tun { .. } => {
                self.did(Act::WentOut(out.id));
                Some(Box::new(End::Leaves {
                    by: out.id,
                    to: hop,
                }))
            }
            _ if out.noarp && out.mac.is_none() => {
                let want = format!("what the tunnel {} does with it is not followed", out.name);
                Some(self.undecided(want))
            }
            _ => None,
        }
    }

    pub(super) fn delivered(&self, link: Option<LinkId>) -> Box<End> {
        Box::new(End::Delivered {
            netns: self.netns,
            link,
            mark: self.packet.mark,
        })
    }

    pub(super) fn down(&self, link: LinkId) -> Box<End> {
        let because = Because::Obstacle(segment::Obstacle::Down(link));
        self.dropped(Some(link), because)
    }
}
