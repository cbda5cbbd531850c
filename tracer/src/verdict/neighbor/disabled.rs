//! No host of the link speaks IPv6 (`disable_ipv6`): then it has lost its addresses, too.

use super::{Explanation, Unanswered};
use crate::{
    model::{Confidence::Likely, Point},
    node::{
        change,
        world::{Link, LinkId, World},
    },
};

impl Unanswered<'_> {
    /// All that the question reaches has IPv6 switched off.
    pub(super) fn is_disabled(self, from: LinkId, world: &World) -> Option<Explanation> {
        self.address.is_ipv6().then_some(())?;
        let segment = world.segment(from);
        let leads_on = segment
            .exits
            .values()
            .any(|trail| trail.obstacles.is_empty());
        let reached = segment.taken.iter();
        let reached: Vec<&Link> = reached
            .filter(|(id, trail)| id.netns != from.netns && trail.obstacles.is_empty())
            .map(|(id, _)| world.link(*id))
            .collect::<Option<_>>()?;
        let is_off = |link: &&Link| link.ipv6.is_some_and(|own| own.disable_ipv6 != 0);
        let first = reached.first()?;
        (!leads_on && reached.iter().all(is_off)).then_some(())?;
        let name = world.link_name(first.id, from.netns);
        let others = match reached.len() - 1 {
            0 => String::new(),
            others => format!(" and at {others} more"),
        };
        let what = match self.address == self.dst {
            true => format!("no host answers for {}", self.address),
            false => format!("the gateway {} does not answer", self.address),
        };
        let path = format!("net/ipv6/conf/{}/disable_ipv6", first.name);
        let fix = change::sysctl(&path, 1, 0).at(world.site(first.id.netns));
        let note = "addresses and routes that were configured before have to be added again";
        Some(Explanation {
            point: Point::Route,
            confidence: Likely,
            why: format!(
                "{what} (ND): IPv6 is disabled at {name}{others}, which is all that the question reaches"
            ),
            evidence: vec!["where IPv6 is disabled, an interface has no IPv6 address".to_owned()],
            fix: vec![fix.noting(note)],
        })
    }
}
