//! The ports of a rule against the destination of a flow.

use super::{
    Flow,
    matching::{Detail, Match},
    peer::{Party, Peer},
};
use crate::cluster::{
    objects::Pod,
    policy::{PortRule, PortSpec, Protocol},
};

/// Whether the ports of a rule admit the flow's.
pub(super) fn ask(flow: &Flow<'_>, rules: &[PortRule], detail: Detail) -> Match {
    if rules.is_empty() {
        return Match::Yes;
    }
    let mut unknown = None;
    let mut otherwise = false;
    for rule in rules {
        if rule.protocol != flow.protocol {
            // The right port of the wrong protocol is worth a word of its own.
            otherwise |= rule.port.is_some() && admits(flow, rule) == Some(true);
            continue;
        }
        match admits(flow, rule) {
            Some(true) => return Match::Yes,
            Some(false) => {}
            None => unknown = unknown.or(rule.port.as_ref()),
        }
    }
    let protocol = flow.protocol;
    match (unknown, flow.port) {
        (Some(spec @ PortSpec::Named(_)), Some(_)) => {
            Match::Unknown(format!("which port {} calls {spec} is unknown", flow.dst))
        }
        (Some(spec), _) => Match::Unknown(format!("it depends on the port: {spec} is admitted")),
        (None, Some(port)) if otherwise => {
            let others = rules.iter().filter(|rule| admits(flow, rule) == Some(true));
            let other = others
                .map(|rule| rule.protocol)
                .next()
                .unwrap_or(Protocol::Tcp);
            detail.miss(4, || {
                format!("{other} {port} is admitted, {protocol} {port} is not")
            })
        }
        (None, port) => detail.miss(3, || miss(flow, rules, port)),
    }
}

/// Whether the port fits, whatever the protocol; `None` if undecidable.
fn admits(flow: &Flow<'_>, rule: &PortRule) -> Option<bool> {
    match (&rule.port, flow.port) {
        (None, _) => Some(true),
        (Some(PortSpec::Range(first, last)), Some(port)) => Some((*first..=*last).contains(&port)),
        (Some(PortSpec::Range(..)), None) => None,
        (Some(PortSpec::Named(name)), port) => named(&flow.dst, name, rule.protocol, port),
    }
}

/// Whether the destination calls the port so.
fn named(dst: &Peer<'_>, name: &str, protocol: Protocol, port: Option<u16>) -> Option<bool> {
    let calls = |pod: &Pod| ports_named(pod, name, protocol).any(|n| port.is_none_or(|p| p == n));
    match &dst.party {
        Party::Pod(pod) => match (calls(pod), port) {
            (false, _) => Some(false),
            (true, Some(_)) => Some(true),
            (true, None) => None,
        },
        Party::Host { pods, .. } if pods.iter().any(|pod| calls(pod)) => None,
        Party::Host { .. } | Party::Outside => Some(false),
        Party::Service(_) | Party::Unknown(_) => None,
    }
}

fn ports_named<'p>(
    pod: &'p Pod,
    name: &'p str,
    protocol: Protocol,
) -> impl Iterator<Item = u16> + 'p {
    pod.ports
        .iter()
        .filter(move |port| port.name == name && port.protocol == protocol)
        .map(|port| port.port)
}

fn miss(flow: &Flow<'_>, rules: &[PortRule], port: Option<u16>) -> String {
    let protocol = flow.protocol;
    let same: Vec<&PortRule> = rules
        .iter()
        .filter(|rule| rule.protocol == protocol)
        .collect();
    if same.is_empty() {
        let mut others: Vec<&str> = rules.iter().map(|rule| rule.protocol.name()).collect();
        others.dedup();
        return format!(
            "only {} is admitted, {protocol} is not",
            others.join(" and ")
        );
    }
    let specs: Vec<String> = same
        .iter()
        .filter_map(|rule| rule.port.as_ref())
        .map(|spec| describe(flow, spec))
        .collect();
    match port {
        Some(port) => format!("port {port} is not among {}", specs.join(", ")),
        None => format!("only {protocol} {} is admitted", specs.join(", ")),
    }
}

/// A port of a rule, and for a name what the destination makes of it.
fn describe(flow: &Flow<'_>, spec: &PortSpec) -> String {
    let PortSpec::Named(name) = spec else {
        return spec.to_string();
    };
    let Party::Pod(pod) = &flow.dst.party else {
        return format!("{name} (a name, which only pods give to ports)");
    };
    let ports: Vec<String> = ports_named(pod, name, flow.protocol)
        .map(|port| port.to_string())
        .collect();
    if ports.is_empty() {
        let protocol = flow.protocol;
        format!("{name} (no {protocol} port of {} has that name)", pod.id)
    } else {
        format!("{name} ({} on {})", ports.join(", "), pod.id)
    }
}
