//! The policy rule (`ip rule`) that refuses a packet: no route does, and the kernel does not say
//! which rule it was.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Finding;
use crate::{
    decode::drop::DropFacts,
    model::{Fix, shell::Command},
    net::{Rule, RuleAction},
    node::facts::NodeFacts,
};

/// Names the rule in a finding about a packet that is refused, or has no route.
pub(super) fn refused_by(finding: &mut Finding, facts: &DropFacts, node: &NodeFacts) {
    let rules = facts.netns.zip(node.world.as_deref());
    let rules = rules.and_then(|(netns, world)| world.namespace(netns)?.rules.as_deref());
    let input = node.around.incoming.as_ref();
    let input = input.map(|link| link.name.as_str());
    let Some(rule) = rules.and_then(|rules| refusing(rules, facts, input)) else {
        return;
    };
    finding.why = format!(
        "the policy rule `{rule}` refuses what goes to {}",
        facts.flow.dst
    );
    finding.subject = rule.to_string();
    // As it was printed, without the number in front.
    let printed = rule.to_string();
    let selector = printed.split_once(": ").map_or("", |(_, rest)| rest);
    let ip = match rule.is_ipv4 {
        true => "ip rule",
        false => "ip -6 rule",
    };
    let change = |verb: &'static str| {
        let command = Command::new(ip).arg(verb).words("pref").arg(rule.priority);
        selector.split(' ').fold(command, Command::arg)
    };
    let fix = Fix::change(change("del"), change("add"));
    finding
        .fix
        .push(fix.noting("or a rule with a smaller number that looks up a table with a route"));
}

/// The first rule that refuses the packet. The kernel comes to it only if no rule in front leads to a
/// route.
fn refusing<'a>(rules: &'a [Rule], facts: &DropFacts, input: Option<&str>) -> Option<&'a Rule> {
    let is_ipv4 = facts.flow.dst.is_ipv4();
    let refuses = |rule: &&Rule| {
        let refuses = matches!(
            rule.action,
            RuleAction::Blackhole | RuleAction::Unreachable | RuleAction::Prohibit
        );
        refuses && rule.is_ipv4 == is_ipv4
    };
    let mut matching = rules
        .iter()
        .filter(refuses)
        .filter(|rule| catches(rule, facts, input) != Some(false));
    let first = matching.next()?;
    (catches(first, facts, input) == Some(true)).then_some(first)
}

/// Whether a rule is for the packet; `None` where it asks for what is not known.
fn catches(rule: &Rule, facts: &DropFacts, input: Option<&str>) -> Option<bool> {
    if rule.asks_more || rule.tos != 0 || rule.uids.is_some() || rule.output.is_some() {
        return None;
    }
    let is_in = |network: Option<IpNet>, address: IpAddr| {
        network.is_none_or(|network| network.contains(&address))
    };
    let is_port = |range: Option<(u16, u16)>, port: Option<u16>| match (range, port) {
        (None, _) => true,
        (Some((first, last)), Some(port)) => (first..=last).contains(&port),
        (Some(_), None) => false,
    };
    let flow = facts.flow;
    let fits = is_in(rule.from, flow.src)
        && is_in(rule.to, flow.dst)
        && rule
            .mark
            .is_none_or(|(mark, mask)| facts.mark & mask == mark)
        && rule.proto.is_none_or(|proto| proto == flow.proto.number())
        && is_port(rule.sport, flow.sport)
        && is_port(rule.dport, flow.dport)
        && rule
            .input
            .as_deref()
            .is_none_or(|name| name == input.unwrap_or("lo"));
    Some(fits != rule.inverted)
}

#[cfg(test)]
mod tests {
    use super::super::tests::facts;
    use super::*;

    fn rule(action: RuleAction) -> Rule {
        Rule {
            is_ipv4: true,
            priority: 100,
            from: None,
            to: None,
            input: None,
            output: None,
            mark: None,
            tos: 0,
            proto: None,
            sport: None,
            dport: None,
            uids: None,
            suppressed_prefix_len: None,
            asks_more: false,
            inverted: false,
            action,
        }
    }

    #[test]
    fn only_a_rule_that_surely_catches_the_packet_is_named() {
        let mut facts = facts("NOT_SPECIFIED", "ip_error");
        facts.flow.src = [10, 0, 0, 1].into();
        facts.flow.dst = [10, 0, 0, 2].into();
        let source = IpNet::from(facts.flow.src);
        let prohibit = |from| Rule {
            from,
            ..rule(RuleAction::Prohibit)
        };
        let other: IpNet = "192.0.2.0/24".parse().unwrap();
        let unknown = Rule {
            tos: 8,
            ..prohibit(None)
        };
        let named = |rules: &[Rule]| refusing(rules, &facts, Some("eth0")).is_some();
        assert!(named(&[
            rule(RuleAction::Lookup(254)),
            prohibit(Some(source))
        ]));
        assert!(!named(&[prohibit(Some(other))]));
        assert!(!named(&[unknown, prohibit(Some(source))]));
        let inverted = Rule {
            inverted: true,
            ..prohibit(Some(other))
        };
        assert!(named(&[inverted]));
        let by_mark = Rule {
            mark: Some((7, u32::MAX)),
            ..prohibit(None)
        };
        assert!(!named(&[by_mark]));
    }
}
