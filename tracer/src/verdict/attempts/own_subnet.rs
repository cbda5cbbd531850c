//! A source that only this node knows how to reach: what leaves it untranslated may get no answer.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Case;
use crate::{attempt::Step, model::Fix};

/// The source of what left, and the network behind this node that it is of.
pub(super) struct OwnSubnet {
    src: IpAddr,
    dst: IpAddr,
    subnet: IpNet,
    /// The interface that leads to that network, a bridge of containers for example.
    behind: String,
    /// The interface that it left through.
    left_by: String,
}

impl OwnSubnet {
    /// `None` if its source was translated, is an address of the namespace that it left, or is of the
    /// network that it left into.
    pub(super) fn of(case: &Case<'_>, last: &Step) -> Option<Self> {
        let src = IpAddr::from(last.flow.src);
        let is_whole = last.outer.is_none() && case.attempt.flow.src == last.flow.src;
        is_whole.then_some(())?;
        let world = case.around.world.as_deref()?;
        let namespace = world.namespace(last.place.netns)?;
        (world.is_local(last.place.netns, src) == Some(false)).then_some(())?;
        let near = || {
            namespace
                .addresses
                .iter()
                .filter(|held| held.is_in_subnet_with(src))
        };
        let is_of_uplink = near().any(|held| held.ifindex == last.place.ifindex);
        (!is_of_uplink).then_some(())?;
        let held = near().next()?;
        Some(Self {
            src,
            dst: last.flow.dst.into(),
            subnet: held.subnet()?.trunc(),
            behind: namespace.links.get(&held.ifindex)?.name.clone(),
            left_by: last.place.ifname.clone(),
        })
    }

    pub(super) fn in_words(&self) -> String {
        let Self {
            src,
            subnet,
            behind,
            ..
        } = self;
        format!(
            "its source is {src} still, which is behind {behind}: no rule has masqueraded it, so the \
             answer needs a route to {subnet} by this node"
        )
    }

    /// What brings answers back. A private network may well have that route, as those of a cluster do.
    pub(super) fn repair(&self) -> Option<Fix> {
        let Self {
            subnet, left_by, ..
        } = self;
        let is_private = match self.dst {
            IpAddr::V4(dst) => dst.is_private(),
            IpAddr::V6(dst) => dst.is_unique_local(),
        };
        let advice = Fix::advice(format!(
            "if no router beyond {left_by} has that route: masquerade what {subnet} sends (Docker, Podman \
             and CNI plugins lose their rules to `nft flush ruleset` or a restarted firewall; restart them)"
        ));
        (!is_private).then_some(advice)
    }
}
