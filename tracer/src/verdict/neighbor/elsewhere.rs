//! A namespace of this node has the address, but not at the link where it was asked for.

use super::{Explanation, Unanswered};
use crate::{
    model::{
        Confidence::{Likely, Possible},
        Fix, Point,
    },
    node::{
        change,
        world::{Between, Holder, LinkId, World},
    },
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
        let ignores = world.link(link).map_or(0, |link| world.arp_ignore(link));
        let of_link = world.link(link).and_then(|link| {
            let is_its_own = link.ipv4.is_some_and(|own| own.arp_ignore > 0);
            is_its_own.then_some(link.name.as_str())
        });
        let setting = format!("net/ipv4/conf/{}/arp_ignore", of_link.unwrap_or("all"));
        let (confidence, because, fix) = match (self.address.is_ipv4(), ignores) {
            (true, 0) => (Possible, "; it did not answer".to_owned(), None),
            (true, ignores) => (
                Likely,
                format!(
                    ": arp_ignore is {ignores} there, so it answers only for addresses of that \
                     interface itself"
                ),
                Some(change::sysctl(&setting, ignores, 0)),
            ),
            (false, _) => (
                Likely,
                ": a namespace answers Neighbor Solicitations only at the interface that has the \
                 address"
                    .to_owned(),
                None,
            ),
        };
        Explanation {
            point: match confidence {
                Possible => Point::Unknown,
                _ => Point::Endpoint,
            },
            confidence,
            why: format!("{held}{because}"),
            evidence: Vec::new(),
            fix: fix
                .map(|fix: Fix| {
                    let advice = "not where that setting keeps a virtual address of a load \
                                  balancer silent on purpose";
                    fix.at(world.site(holder.netns)).noting(advice)
                })
                .into_iter()
                .collect(),
        }
    }

    /// The question does not reach the namespace at all: it is asked on the wrong link.
    fn on_another_link(self, world: &World, from: LinkId, holder: &Holder) -> Explanation {
        let at = world.link_name(from, from.netns);
        Explanation {
            point: Point::Route,
            confidence: Likely,
            why: format!(
                "no host answers for {} (ARP or ND) at {at}; it is an address of {}, and no bridge \
                 or cable leads there from {at}",
                self.address,
                world.holder_in_words(holder, from.netns)
            ),
            evidence: vec![format!(
                "the route takes {} for a neighbor at {at}",
                self.address
            )],
            fix: vec![Fix::advice(format!(
                "give {} a route by the interface or the gateway that leads there",
                self.dst
            ))],
        }
    }
}
