//! A conntrack entry that the rules have moved on from, in a sentence.

use super::rule::Finding;
use crate::{
    model::{Confidence::Likely, Fix, Flow, Netns, Point, Protocol, Site, address, shell::Command},
    node::bypass::Bypass,
};

/// The finding, whatever showed the loss.
pub(super) fn finding(bypass: &Bypass) -> Finding {
    let Bypass {
        netns,
        original,
        kept,
        now,
        zone,
    } = bypass;
    let (requested, kept_to, now_to) = (to(original), to(kept), to(now));
    let client = from(original);
    let now_untranslated = now.destination() == original.destination();
    let why = match (bypass.lacks_translation(), now_untranslated) {
        (true, _) => format!(
            "the conntrack entry of {client} was made without a translation of {requested}, and \
             its packets bypass the rule that leads to {now_to} now"
        ),
        (false, true) => format!(
            "the conntrack entry of {client} still translates {requested} to {kept_to}, and no \
             rule does so now"
        ),
        (false, false) => format!(
            "the conntrack entry of {client} still translates {requested} to {kept_to}, and the \
             rules lead to {now_to} now"
        ),
    };
    let mut finding =
        Finding::new(Point::Conntrack, Likely, why).about(&[&original.dst, &kept.dst, &now.dst]);
    finding.fact(format!(
        "conntrack keeps a connection's translation as long as its packets come; it was asked for \
         the entry of {client} to {requested}"
    ));
    let there = Site::Namespace(Netns::Nameless(*netns));
    if *zone != 0 {
        finding.fact(format!("that entry is in zone {zone} of conntrack"));
    }
    let removal = removal(original, *zone).map(|fix| fix.at(there));
    finding.fix.extend(removal);
    finding
}

/// Removes the entries of this destination; each connection gets a new one by the rules of now.
fn removal(original: &Flow, zone: u16) -> Option<Fix> {
    let name = match original.proto {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
        _ => return None,
    };
    let command = Command::new("conntrack -D -p")
        .arg(name)
        .words("--orig-dst")
        .arg(original.dst);
    let command = match original.dport {
        Some(port) => command.words("--orig-port-dst").arg(port),
        None => command,
    };
    let command = match zone {
        0 => command,
        zone => command.words("-w").arg(zone),
    };
    Some(Fix::command(command).noting("what passes by them is translated anew"))
}

fn to(flow: &Flow) -> String {
    address(flow.destination())
}

fn from(flow: &Flow) -> String {
    address(flow.source())
}
