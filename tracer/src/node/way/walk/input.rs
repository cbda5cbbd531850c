//! Taken in at a link: `PREROUTING`, routing, then `INPUT`, or `FORWARD` and `POSTROUTING`.

use super::{At, Next, Walk};
use crate::{
    model::Hook,
    net::{Route, RouteKind},
    node::{
        route::{Lookup, Refusal},
        way::{Act, Because, End, end::SourceFault},
        world::{Kind, Link, LinkId},
    },
};

impl Walk<'_> {
    pub(super) fn input(&mut self, id: LinkId, prerouted: bool) -> Next {
        let link = self.link(id)?;
        self.did(Act::CameIn(id));
        // It was taken all the same.
        self.asks_no_one = self.asks_no_one.filter(|link| link.netns == id.netns);
        let master = link
            .master
            .and_then(|master| self.world.link(link.sibling(master)));
        if master.is_some_and(|master| matches!(master.kind, Kind::Vrf { .. })) {
            return Err(self.undecided("routing by a VRF is not followed".to_owned()));
        }
        if self.packet.flow.dst.is_multicast() {
            return Err(self.undecided("multicast is not followed".to_owned()));
        }
        if !prerouted {
            self.hook(Hook::Prerouting, Some(link), None)?;
        }
        let lookup = self.route(self.packet.route_key(Some(id.ifindex)))?;
        let route = match &lookup.answer {
            Ok(route) => route.clone(),
            Err(refusal) => return Err(self.refused(link, *refusal, &lookup)),
        };
        match route.kind {
            RouteKind::Local | RouteKind::Broadcast => {
                self.hook(Hook::Input, Some(link), None)?;
                Err(self.delivered(Some(id)))
            }
            RouteKind::Unicast => {
                self.did(Act::Routed(lookup.to_string()));
                self.forward(link, &route)
            }
            _ => Err(self.undecided(format!("a route like `{lookup}` is not followed"))),
        }
    }

    fn refused(&self, link: &Link, refusal: Refusal, lookup: &Lookup) -> Box<End> {
        let because = match refusal {
            Refusal::NotForwarding => Because::NotForwarding(link.id),
            Refusal::Source if let Some(rule) = lookup.refusing_rule(self.world, self.netns) => {
                let want = format!(
                    "whether the policy rule `{rule}` refuses it, or the reverse-path filter"
                );
                return self.undecided(want);
            }
            Refusal::Source => Because::Source(self.source_fault()),
            // The destination is a loopback address, or the source an impossible one.
            Refusal::Other(libc::EINVAL) if self.is_martian() => {
                Because::Source(self.source_fault())
            }
            _ => self.unrouted(refusal, lookup),
        };
        self.dropped(Some(link.id), because)
    }

    fn is_martian(&self) -> bool {
        let flow = self.packet.flow;
        [flow.src, flow.dst]
            .iter()
            .any(|address| address.is_loopback() || address.is_multicast())
    }

    fn source_fault(&self) -> SourceFault {
        if self.is_martian() || self.packet.flow.src.is_unspecified() {
            SourceFault::Martian
        } else if self.world.is_local(self.netns, self.packet.flow.src) == Some(true) {
            SourceFault::Own
        } else {
            SourceFault::ReversePath
        }
    }

    fn forward(&mut self, input: &Link, route: &Route) -> Next {
        if self.packet.flow.dst.is_ipv6() {
            self.forwards_ipv6(input)?;
        }
        if let Some(ttl) = self.packet.ttl {
            if ttl <= 1 {
                return Err(self.dropped(Some(input.id), Because::Ttl));
            }
            self.packet.ttl = Some(ttl - 1);
        }
        let out = self.link_of(route.output)?;
        let mtu = route.mtu.map_or(out.mtu, |mtu| mtu.min(out.mtu));
        if let Some(len) = self.packet.len
            && len > mtu
            && (self.packet.dont_fragment || self.packet.flow.dst.is_ipv6())
        {
            let because = Because::TooBig { link: out.id, mtu };
            return Err(self.dropped(Some(input.id), because));
        }
        self.hook(Hook::Forward, Some(input), Some(out))?;
        self.hook(Hook::Postrouting, Some(input), Some(out))?;
        Ok(At::Output {
            link: out.id,
            hop: route.gateway.unwrap_or(self.packet.flow.dst),
        })
    }

    /// The kernel's answer about a route does not show it for IPv6.
    fn forwards_ipv6(&self, input: &Link) -> Result<(), Box<End>> {
        let settings = self.world.namespace(self.netns);
        let settings = settings.and_then(|namespace| namespace.settings);
        match settings.and_then(|settings| settings.ipv6_forwarding) {
            Some(0) => Err(self.dropped(Some(input.id), Because::NotForwarding(input.id))),
            Some(_) => Ok(()),
            None => Err(self.undecided("whether IPv6 is forwarded was not read".to_owned())),
        }
    }
}
