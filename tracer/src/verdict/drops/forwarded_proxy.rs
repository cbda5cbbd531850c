//! `TPROXY` gives a packet the socket of a proxy, and routing has to take it in on this host for that: the
//! kernel drops a packet that has a socket and is forwarded (`ip_forward()`, `ip6_forward()`).

use super::{Concern, Finding};
use crate::{
    decode::drop::DropFacts,
    model::{Confidence::Likely, Fix, Point, address, shell::Command},
    net::{RouteKind, Rule, RuleAction},
    node::facts::NodeFacts,
};

pub(super) fn may_have_a_socket(facts: &DropFacts) -> Concern {
    Concern::maybe(facts.was_refused_by_forwarding())
}

/// A rule sends it to a proxy, and its route leads on.
pub(super) fn forwarded(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let (rule, proxy) = node.proxied.first()?;
    let lookup = node.around.route.as_ref()?;
    let answer = lookup.answer.as_ref().ok()?;
    (answer.kind != RouteKind::Local).then_some(())?;
    let proxy_at = address((
        proxy.address.unwrap_or(facts.flow.dst),
        proxy.port.or(facts.flow.dport),
    ));
    let (what, fix) = match (facts.mark, of_mark(facts, node)) {
        (0, _) => (
            "it has no mark that a policy rule could take in on this host".to_owned(),
            Fix::advice(
                "let the rule set a mark (`--tproxy-mark` of iptables, `meta mark set` of nft), and \
                 add a policy rule that looks up a table with a local route for that mark",
            ),
        ),
        (mark, None) => (
            format!("no policy rule takes in what has the mark {mark:#x}"),
            Fix::advice(format!(
                "add a policy rule for it (`ip rule add fwmark {mark:#x} lookup TABLE`), whose table \
                 has a local route (`ip route add local default dev lo table TABLE`)"
            )),
        ),
        (_, Some((rule, table))) => (
            format!("the policy rule `{rule}` leads to a table without a local route"),
            local_route(rule.is_ipv4, table),
        ),
    };
    let why = format!(
        "a rule sends it to the proxy at {proxy_at} (TPROXY), but {what}: it is forwarded, and not \
         delivered"
    );
    let mut finding = Finding::new(Point::Route, Likely, why).about(&[&proxy_at]);
    finding.fact(format!("the rule: {}", rule.describe()));
    finding.fact(format!("the route: {lookup}"));
    finding.fix.push(fix);
    Some(finding)
}

/// The policy rule for the packet's mark, and its table.
fn of_mark<'a>(facts: &DropFacts, node: &'a NodeFacts) -> Option<(&'a Rule, u32)> {
    let namespace = node.world.as_deref()?.namespace(facts.netns?)?;
    let mut rules = namespace.rules.as_deref()?.iter();
    rules.find_map(|rule| {
        let (value, mask) = rule.mark?;
        let is_for_it = rule.is_ipv4 == facts.flow.dst.is_ipv4()
            && !rule.inverted
            && facts.mark & mask == value;
        match rule.action {
            RuleAction::Lookup(table) if is_for_it => Some((rule, table)),
            _ => None,
        }
    })
}

fn local_route(is_ipv4: bool, table: u32) -> Fix {
    let ip = match is_ipv4 {
        true => "ip route",
        false => "ip -6 route",
    };
    let route = |verb: &'static str| {
        let command = Command::new(ip).arg(verb);
        command.words("local default dev lo table").arg(table)
    };
    Fix::change(route("add"), route("del"))
}

pub(super) fn is_taken_in(_: &DropFacts, node: &NodeFacts) -> Option<String> {
    let answer = node.around.route.as_ref()?.answer.as_ref().ok()?;
    (answer.kind == RouteKind::Local).then(|| format!("its route takes it in: {answer}"))
}
