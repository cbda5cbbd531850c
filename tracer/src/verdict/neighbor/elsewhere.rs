//! A namespace of this node has the address, but not at the link where it was asked for.

use super::{Explanation, Unanswered};
use crate::{
    model::{
        Confidence::{Likely, Possible},
        Fix, Point,
        shell::Command,
    },
    node::world::{Between, Holder, LinkId, World},
};

impl Unanswered<'_> {
    /// The address is one of another link of a namespace that gets the question, or of a namespace
    /// that does not get it.
    pub(super) fn held_elsewhere(self, from: LinkId, world: &World) -> Option<Explanation> {
        let mut holders = world.holders_near(from.netns, self.address);
        holders.retain(|holder| holder.netns != from.netns);
        let reached = holders.iter().find_map(|holder| {
            let link = world.reached_by(from, holder.netns)?;
            (link.id != holder.link).then_some((holder, link.id))
        });
        if let Some((holder, link)) = reached {
            return Some(self.of_another_link(world, from, holder, link));
        }
        let apart = |holder: &&Holder| {
            let between = world.between(from, holder);
            matches!(between, Between::Apart { .. }) && world.is_close(from.netns, holder.netns)
        };
        let holder = holders.iter().find(apart)?;
        Some(self.on_another_link(world, from, holder))
    }

    /// The question reaches the namespace by another link than the one that has the address.
    fn of_another_link(
        self,
        world: &World,
        from: LinkId,
        holder: &Holder,
        link: LinkId,
    ) -> Explanation {
        let held = format!(
            "{} is an address of {}, and the question reaches {}",
            self.address,
            world.holder_in_words(holder, from.netns),
            world.link_name(link, from.netns),
        );
        if let Some(silence) = self.silence(world, from, link) {
            return Explanation {
                point: Point::Endpoint,
                confidence: Likely,
                why: format!("{held}: {}", silence.why),
                evidence: Vec::new(),
                fix: silence.fix,
            };
        }
        Explanation {
            point: Point::Unknown,
            confidence: Possible,
            why: format!("{held}; it did not answer"),
            evidence: Vec::new(),
            fix: Vec::new(),
        }
    }

    /// The subnet that makes the address a neighbor is wider than the holder's own.
    fn wide_netmask(self, world: &World, holder: &Holder) -> Option<String> {
        let wide = self.by.filter(|route| route.to.prefix_len() > 0)?.to;
        let mut held = world.namespace(holder.netns)?.addresses.iter();
        let held =
            held.find(|held| held.address == self.address && held.ifindex == holder.link.ifindex)?;
        let narrow = held.subnet()?.trunc();
        let is_wider = wide.prefix_len() < narrow.prefix_len();
        let is_subnet = narrow.prefix_len() < narrow.max_prefix_len();
        (is_wider && is_subnet).then(|| {
            format!(
                "its own subnet there is {narrow}, and {wide} here: the netmask here may be too wide"
            )
        })
    }

    /// The question does not reach the namespace at all: it is asked on the wrong link.
    fn on_another_link(self, world: &World, from: LinkId, holder: &Holder) -> Explanation {
        let at = world.link_name(from, from.netns);
        let mut taken = format!("the route takes {} for a neighbor at {at}", self.address);
        if let Some(route) = self.by {
            taken += &format!(": {route}");
        }
        let mut evidence = vec![taken];
        evidence.extend(self.wide_netmask(world, holder));
        let mut fix = vec![Fix::advice(format!(
            "give {} a route through the interface or the gateway that leads there",
            self.dst
        ))];
        fix.extend(self.proxy_entry(world, from));
        Explanation {
            point: Point::Route,
            confidence: Likely,
            why: format!(
                "no host answers for {} (ARP or ND) at {at}; it is an address of {}, and no bridge \
                 or cable leads there from {at}",
                self.address,
                world.holder_in_words(holder, from.netns)
            ),
            evidence,
            fix,
        }
    }

    /// A router on the link that may answer for it: of IPv6, it does so for single addresses only.
    fn proxy_entry(self, world: &World, from: LinkId) -> Option<Fix> {
        self.address.is_ipv6().then_some(())?;
        let segment = world.segment(from);
        let mut reached = segment.taken.iter();
        let router = reached.find_map(|(id, trail)| {
            let link = world.link(*id)?;
            let forwards = link.ipv6.is_some_and(|own| own.forwarding != 0);
            (id.netns != from.netns && trail.obstacles.is_empty() && forwards).then_some(link)
        })?;
        let entry = |verb: &'static str| {
            let command = Command::new("ip -6 neigh").arg(verb).words("proxy");
            command.arg(self.address).words("dev").arg(&router.name)
        };
        let fix = Fix::change(entry("add"), entry("del")).at(world.site(router.id.netns));
        let proxies = router.ipv6.is_some_and(|own| own.proxy_ndp != 0);
        Some(fix.noting(match proxies {
            true => "if that router is to answer for it (proxy NDP), once it has a route to it",
            false => {
                "if that router is to answer for it: with proxy_ndp=1, once it has a route to it"
            }
        }))
    }
}
