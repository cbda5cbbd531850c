//! Netfilter drops that no rule made: what the kernel itself does for NAT, marks and TPROXY.

use super::{Concern, Finding, is_netfilter, place};
use crate::{
    decode::drop::DropFacts,
    model::{
        Confidence::{Likely, Possible},
        Fix, Flow, Hook, Point, address,
        shell::Command,
    },
    node::{change, facts::NodeFacts, ruleset::Suspects},
    verdict::policy_rule,
};

/// Whether the whole ruleset was read, and no rule of it could have dropped the packet.
pub(super) fn no_rule_can(node: &NodeFacts) -> bool {
    node.suspects.as_ref().is_some_and(is_acquitted)
}

fn is_acquitted(suspects: &Suspects) -> bool {
    suspects.complete && suspects.rules.is_empty()
}

/// Where destination and mark can still change after the first routing decision, the kernel routes
/// the packet once more, and drops it here if that fails.
pub(super) fn may_be_rerouted(facts: &DropFacts) -> Concern {
    Concern::maybe(is_netfilter(facts) && facts.hook == Some(Hook::Output))
}

/// What OUTPUT has made of the packet cannot be routed.
pub(super) fn unroutable_translation(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    no_rule_can(node).then_some(())?;
    let lookup = node.around.route.as_ref()?;
    lookup.answer.is_err().then_some(())?;
    let Flow { src, dst, .. } = facts.flow;
    let from_loopback = src.is_loopback() && !dst.is_loopback();
    let is_translated = facts.original_dst.is_some();
    (is_translated || facts.mark != 0 || from_loopback).then_some(())?;
    let changed = match (&facts.original_dst, facts.mark) {
        (Some(original), _) => {
            format!("NAT in OUTPUT leads {} to {dst}", address(*original))
        }
        (None, 0) => format!("OUTPUT leads it to {dst}"),
        (None, mark) => format!("OUTPUT gives it the mark {mark:#x}"),
    };
    let world = facts.netns.zip(node.world.as_deref());
    let is_off = || {
        let (netns, world) = world?;
        Some(world.namespace(netns)?.settings?.route_localnet? == 0)
    };
    let lacks_localnet = from_loopback && is_off() == Some(true);
    let why = if lacks_localnet {
        format!("{changed}, and from {src} no route leads there: route_localnet is 0")
    } else {
        format!("{changed}, and no route leads there: {lookup}")
    };
    let mut finding = Finding::new(Point::Route, Likely, why).about(&[&src, &dst]);
    finding.fact("no rule at this hook could have dropped it");
    if lacks_localnet {
        finding.fact(format!("the kernel says now, from {src}: {lookup}"));
        let fix = change::sysctl("net/ipv4/conf/all/route_localnet", 0, 1);
        finding.fix.push(fix.noting(
            "its source must be translated, too, when it leaves through another interface",
        ));
    } else if let Some(route) = lookup.culprit() {
        finding.fact(format!("the route {route} refuses it"));
    } else if let Some(rule) = world.and_then(|(netns, world)| lookup.refusing_rule(world, netns)) {
        finding.fact(format!("the policy rule `{rule}` refuses it"));
        finding.fix.push(policy_rule::removal(rule));
    }
    if facts.mark != 0 {
        let show = Command::new("ip route get")
            .arg(dst)
            .words("mark")
            .arg(format!("{:#x}", facts.mark));
        finding.fact(format!("`{show}` shows it"));
    }
    Some(finding)
}

/// A route leads on.
pub(super) fn is_routable(facts: &DropFacts, node: &NodeFacts) -> Option<String> {
    let route = node.around.route.as_ref()?.answer.as_ref().ok()?;
    Some(format!("a route leads to {}: {route}", facts.flow.dst))
}

pub(super) fn may_be_proxied(facts: &DropFacts) -> Concern {
    Concern::maybe(is_netfilter(facts) && facts.hook == Some(Hook::Prerouting))
}

/// `TPROXY` drops what no socket of the proxy takes.
pub(super) fn dead_proxy(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    no_rule_can(node).then_some(())?;
    let proxy = node.proxies.first()?;
    let proxy_at = address((proxy.address.unwrap_or(facts.flow.dst), Some(proxy.port)));
    let rule = proxy.rule.describe();
    let (what, fix) = match proxy.is_opaque {
        true => (
            "whose socket is not transparent (IP_TRANSPARENT)",
            "let the proxy set IP_TRANSPARENT on its listening socket",
        ),
        false => ("where no socket listens", "start the proxy"),
    };
    let why = format!("a rule sends it to the proxy at {proxy_at} (TPROXY), {what}: {rule}");
    let mut finding = Finding::new(Point::Firewall, Likely, why).about(&[&rule]);
    finding.fact("no rule that drops could have met it");
    finding
        .fix
        .push(Fix::advice(format!("{fix}, or remove the rule")));
    Some(finding)
}

pub(super) fn proxies_are_alive(_: &DropFacts, node: &NodeFacts) -> Option<String> {
    (no_rule_can(node) && node.proxies.is_empty())
        .then(|| "no rule sends it to a proxy that is not there".to_owned())
}

/// No rule that was read could have dropped it, and nothing else explains it.
pub(super) fn unexplained(facts: &DropFacts, node: &NodeFacts, hook: &str) -> Finding {
    let programs = node.netfilter_programs.iter();
    let programs: Vec<_> = programs
        .map(|program| format!("{} (program {})", program.name, program.id))
        .collect();
    if programs.is_empty() {
        let why = format!(
            "netfilter dropped it{hook}{}, and no rule that is there now could have done so",
            place(facts)
        );
        let mut finding =
            Finding::new(Point::Unknown, Possible, why).about(&[&hook, &place(facts)]);
        finding.fact("the ruleset may have changed since, or a module of the kernel dropped it");
        return finding;
    }
    let why = format!(
        "a BPF program at the netfilter hooks may have dropped it{hook}{}: {}",
        place(facts),
        programs.join(", ")
    );
    let mut finding = Finding::new(Point::Firewall, Possible, why).about(&[&hook, &place(facts)]);
    finding.fact("no rule that is there now could have dropped it");
    finding
}
