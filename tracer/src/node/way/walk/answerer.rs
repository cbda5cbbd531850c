//! Who answers the question for the MAC address of a next hop: the address's own link, or one that
//! answers for others.

use std::net::IpAddr;

use super::Walk;
use crate::{
    net::{Mac, RouteKey, RouteKind},
    node::{
        way::End,
        world::{Link, LinkId, segment::Segment},
    },
};

/// Who answers.
pub(super) enum Answer {
    /// This link, for its own namespace's address.
    Own(LinkId, Mac),
    /// This link, for others.
    Proxy(LinkId, Mac),
}

impl Walk<'_> {
    /// The source address of an ARP question: the packet's, if the namespace has it; else one of the
    /// link's.
    pub(super) fn asks_as(&self, out: &Link, hop: IpAddr) -> Option<IpAddr> {
        if hop.is_ipv6() {
            return None;
        }
        let src = self.packet.flow.src;
        if self.world.is_local(out.id.netns, src) == Some(true) {
            return Some(src);
        }
        // As `inet_select_addr()` does: one in the same subnet, one of the link, one of any link.
        let namespace = self.world.namespace(out.id.netns)?;
        let candidates = namespace.addresses.iter().filter(|one| {
            one.address.is_ipv4() && !one.flags.secondary && one.scope <= libc::RT_SCOPE_LINK
        });
        let mut of_link = candidates
            .clone()
            .filter(|one| one.ifindex == out.id.ifindex);
        let in_subnet = of_link.clone().find(|one| one.is_in_subnet_with(hop));
        let mut of_any = candidates.filter(|one| one.scope < libc::RT_SCOPE_LINK);
        let found = in_subnet
            .or_else(|| of_link.next())
            .or_else(|| of_any.next());
        found.map(|one| one.address)
    }

    /// Whether a link answers a question that reaches it.
    pub(super) fn answer(
        &self,
        link: &Link,
        hop: IpAddr,
        asks_as: Option<IpAddr>,
    ) -> Result<Option<Answer>, Box<End>> {
        let Some(mac) = link.mac.clone() else {
            return Ok(None);
        };
        match hop {
            IpAddr::V4(_) if link.noarp => Ok(None),
            // The answer would go to its own MAC address.
            IpAddr::V6(_) if link.resolves_to_itself() => Ok(None),
            IpAddr::V4(_) => self.answers_arp(link, &mac, hop, asks_as),
            IpAddr::V6(_) => Ok(self.answers_solicitation(link, &mac, hop)),
        }
    }

    /// As `arp_process()` in net/ipv4/arp.c.
    fn answers_arp(
        &self,
        link: &Link,
        mac: &Mac,
        hop: IpAddr,
        asks_as: Option<IpAddr>,
    ) -> Result<Option<Answer>, Box<End>> {
        let own = || Answer::Own(link.id, mac.clone());
        let is_local = self.world.is_local(link.id.netns, hop) == Some(true);
        if !is_local && !self.may_answer_arp_for(link, hop) {
            return Ok(None);
        }
        // A question without a source looks like one of address detection.
        if asks_as.is_none() {
            let answers = is_local && self.world.answers_at(link, hop, None);
            return Ok(answers.then(own));
        }
        let key = RouteKey {
            src: asks_as,
            iif: Some(link.id.ifindex),
            ..RouteKey::to(hop)
        };
        let lookup = self.kernel.route(link.id.netns, key);
        let lookup = lookup.map_err(|gap| self.undecided(gap))?;
        Ok(match &lookup.answer {
            Ok(route) if route.kind == RouteKind::Local => {
                self.world.answers_at(link, hop, asks_as).then(own)
            }
            Ok(route) if route.kind == RouteKind::Unicast => {
                let leads_back = route.output == Some(link.id.ifindex);
                let answers = match leads_back {
                    // Between the ports of a private VLAN.
                    true => link.ipv4.unwrap_or_default().proxy_arp_pvlan != 0,
                    false => self.does_proxy_arp(link) || self.has_proxy_entry(link, hop),
                };
                answers.then(|| Answer::Proxy(link.id, mac.clone()))
            }
            _ => None,
        })
    }

    /// As `ndisc_recv_ns()` in net/ipv6/ndisc.c: no route is asked for.
    fn answers_solicitation(&self, link: &Link, mac: &Mac, hop: IpAddr) -> Option<Answer> {
        let is_local = self.world.is_local(link.id.netns, hop) == Some(true);
        if is_local && self.world.has_address(link.id, hop) {
            return Some(Answer::Own(link.id, mac.clone()));
        }
        let namespace = self.world.namespace(link.id.netns);
        let all = namespace.and_then(|one| one.settings?.proxy_ndp);
        let own = link.ipv6.unwrap_or_default();
        let is_proxy = (all.unwrap_or(0) != 0 || own.proxy_ndp != 0)
            && own.forwarding != 0
            && self.has_proxy_entry(link, hop);
        is_proxy.then(|| Answer::Proxy(link.id, mac.clone()))
    }

    /// Whether a link may answer an ARP request for another host. It does so only where it forwards.
    fn may_answer_arp_for(&self, link: &Link, hop: IpAddr) -> bool {
        let own = link.ipv4.unwrap_or_default();
        own.forwarding != 0
            && (self.does_proxy_arp(link)
                || own.proxy_arp_pvlan != 0
                || self.has_proxy_entry(link, hop))
    }

    fn has_proxy_entry(&self, link: &Link, hop: IpAddr) -> bool {
        let namespace = self.world.namespace(link.id.netns);
        let entries = namespace.and_then(|one| one.proxy_entries.as_ref());
        entries.into_iter().flatten().any(|entry| {
            entry.address == hop && (entry.ifindex == link.id.ifindex || entry.ifindex == 0)
        })
    }

    fn does_proxy_arp(&self, link: &Link) -> bool {
        let namespace = self.world.namespace(link.id.netns);
        let all = namespace.and_then(|one| one.settings?.proxy_arp);
        let own = link.ipv4.unwrap_or_default();
        (all.unwrap_or(0) != 0 || own.proxy_arp != 0) && own.forwarding != 0
    }

    /// A link that answers for others, but not for this address.
    pub(super) fn silent_proxy(
        &self,
        hop: IpAddr,
        asks_as: Option<IpAddr>,
        segment: &Segment,
    ) -> Option<(LinkId, String)> {
        let mut links = segment.taken.keys().filter_map(|id| self.world.link(*id));
        let proxy = links.find(|link| hop.is_ipv4() && self.does_proxy_arp(link))?;
        let key = RouteKey {
            src: asks_as,
            iif: Some(proxy.id.ifindex),
            ..RouteKey::to(hop)
        };
        let lookup = self.kernel.route(proxy.id.netns, key).ok()?;
        Some((proxy.id, lookup.to_string()))
    }
}
