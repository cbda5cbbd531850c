//! A packet that a proxy was to take, and that comes to this host's own sockets instead.

use super::{Concern, Finding, closed_port};
use crate::{
    decode::drop::DropFacts,
    model::{Confidence::Likely, Fix, Point, address},
    node::facts::NodeFacts,
};

/// A mark leads packets for others in, as those that a proxy is to take.
pub(super) fn may_be_proxied(facts: &DropFacts) -> Concern {
    Concern::maybe(closed_port::is_first(facts) != Concern::No && facts.mark != 0 && facts.iif != 0)
}

/// nft's `tproxy` gives a packet the proxy's socket, or ends its rule: what was marked comes in all the
/// same, and finds no socket of its own destination.
pub(super) fn untaken_by_proxy(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let (netns, world) = facts.netns.zip(node.world.as_deref())?;
    let dst = facts.flow.dst;
    (world.is_local(netns, dst) == Some(false)).then_some(())?;
    let proxy = node.proxies.first()?;
    let proxy_at = address((proxy.address.unwrap_or(dst), Some(proxy.port)));
    let rule = proxy.rule.describe();
    let (what, fix) = match proxy.is_opaque {
        true => (
            "whose socket is not transparent (IP_TRANSPARENT)",
            "let the proxy set IP_TRANSPARENT on its listening socket",
        ),
        false => ("where no socket listens", "start the proxy"),
    };
    let why = format!(
        "a rule sends it to the proxy at {proxy_at} (tproxy), {what}, and its mark {:#x} brings it in \
         here, where no socket is for {dst}: {rule}",
        facts.mark
    );
    let mut finding = Finding::new(Point::Firewall, Likely, why).about(&[&rule]);
    finding.fact(format!("{dst} is no address of this namespace"));
    finding
        .fact("where nft's tproxy finds no socket, it ends its rule, and what the mark does stays");
    finding
        .fix
        .push(Fix::advice(format!("{fix}, or remove the rule")));
    Some(finding)
}

pub(super) fn proxies_are_there(facts: &DropFacts, node: &NodeFacts) -> Option<String> {
    let (netns, world) = facts.netns.zip(node.world.as_deref())?;
    if world.is_local(netns, facts.flow.dst) == Some(true) {
        return Some(format!(
            "{} is an address of this namespace",
            facts.flow.dst
        ));
    }
    let are_alive = node.proxies.is_empty() && node.gaps.is_empty();
    are_alive.then(|| "no rule sends it to a proxy that is not there".to_owned())
}
