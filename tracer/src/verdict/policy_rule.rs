//! A policy rule (`ip rule`) that refuses packets.

use std::net::IpAddr;

use super::rule::Finding;
use crate::{
    model::{Fix, shell::Command},
    net::Rule,
};

/// Names the rule in a finding about a packet that is refused, or has no route.
pub(super) fn blame(finding: &mut Finding, rule: &Rule, dst: IpAddr) {
    finding.why = format!("the policy rule `{rule}` refuses what goes to {dst}");
    finding.subject = rule.to_string();
    finding.fix.push(removal(rule));
}

/// Removes the rule.
pub(super) fn removal(rule: &Rule) -> Fix {
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
    Fix::change(change("del"), change("add"))
        .noting("or a rule with a smaller number that looks up a table with a route")
}
