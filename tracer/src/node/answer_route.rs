//! The route of an answer that leaves through another interface than the question came by.

use std::{sync::Arc, time::Duration};

use anyhow::Result;

use super::{
    route::Lookup,
    world::{Part, World},
};
use crate::{
    model::Site,
    net::{
        RouteKey, Rtnetlink, Rule,
        netns::{NetnsRef, in_netns_async},
    },
};

/// The route, and how the kernel comes to it.
#[derive(Clone, Debug)]
pub(crate) struct AnswerRoute {
    /// What the kernel says.
    pub(crate) lookup: Lookup,
    /// The policy rule that leads to its table, if it is a table of its own.
    pub(crate) rule: Option<Rule>,
    /// A number in front of that rule that no other one has.
    pub(crate) free_in_front: Option<u32>,
    /// Where a command about it belongs.
    pub(crate) site: Site,
}

impl AnswerRoute {
    /// Reads it in a namespace, within the limit.
    ///
    /// # Errors
    ///
    /// The kernel cannot be asked.
    pub(crate) async fn read(netns: u32, key: RouteKey, limit: Duration) -> Result<Self> {
        let ask = move |_| Ok(Lookup::read(&Rtnetlink::open()?, key)?);
        let lookup = in_netns_async(&NetnsRef::Inode(netns), limit, ask).await?;
        let world = World::recent_async(Part::all(), limit).await;
        Ok(Self::of(lookup, &world, netns))
    }

    fn of(lookup: Lookup, world: &Arc<World>, netns: u32) -> Self {
        let rule = lookup.choosing_rule(world, netns).cloned();
        let rules = world.namespace(netns).and_then(|one| one.rules.as_deref());
        let is_free = |number: &u32| {
            let mut taken = rules.into_iter().flatten();
            !taken.any(|rule| rule.priority == *number)
        };
        let free_in_front = rule
            .as_ref()
            .and_then(|rule| (1..rule.priority).rev().find(is_free));
        Self {
            lookup,
            rule,
            free_in_front,
            site: world.site(netns),
        }
    }
}
