//! Connections whose conntrack entry could not be made: another one has the tuple.

use tracer_common::event::ct;

use super::{Concern, Finding, is_netfilter, place, unruled::no_rule_can};
use crate::{
    decode::{drop::DropFacts, tracked::Tracked},
    model::{
        Confidence::{Confirmed, Likely},
        Fix, Flow, Hook, Point, Protocol, Site, address,
    },
    net::ConntrackEntry,
    node::facts::NodeFacts,
};

const DNS: u16 = 53;

/// The packet's entry goes into the table behind the last rule of the last hook.
pub(super) fn may_be_uninsertable(facts: &DropFacts) -> Concern {
    let is_last = matches!(facts.hook, Some(Hook::Input | Hook::Postrouting));
    let may_be_first = match &facts.wire {
        Some(wire) if wire.ct & ct::STATUS != 0 => {
            (wire.ct >> ct::STATUS_SHIFT) & ct::CONFIRMED == 0
        }
        _ => true,
    };
    let has_entry = facts.tracked == Tracked::New;
    Concern::maybe(is_netfilter(facts) && is_last && has_entry && may_be_first)
}

/// No entry could be made for the packet, as another one has its tuple.
pub(super) fn tuple_taken(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    no_rule_can(node).then_some(())?;
    let table = node.conntrack.as_ref()?;
    let failed = table.counted("insert_failed");
    // Which packets were counted is not known: a BPF program may have dropped this one.
    let is_only = table.taken.is_some() || node.netfilter_programs.is_empty();
    let is_counted = is_only && failed.is_some_and(|failed| failed > 0);
    (is_counted || table.taken.is_some()).then_some(())?;
    let grown = match (table.moved.is_some(), failed) {
        (true, Some(failed)) => format!(" (insert_failed grew by {failed})"),
        _ => String::new(),
    };
    // Translating the source otherwise would not help: the packets are of one connection.
    let is_own = table
        .taken
        .as_ref()
        .is_some_and(|entry| is_same_connection(facts, entry));
    let taken = match is_own {
        true => "another packet of the same connection has made one at the same time",
        false => "the translated tuple is taken",
    };
    let why = format!(
        "no conntrack entry could be made{}: {taken}{grown}",
        place(facts)
    );
    let confidence = match table.taken {
        Some(_) if is_counted => Confirmed,
        _ => Likely,
    };
    let mut finding = Finding::new(Point::Conntrack, confidence, why).about(&[
        &facts.flow.src,
        &facts.flow.dst,
        &place(facts),
    ]);
    finding.fact("no rule at this hook could have dropped it");
    finding
        .evidence
        .extend(table.taken.as_ref().map(|entry| holder(facts, entry)));
    if let (None, Some(failed)) = (&table.moved, failed) {
        finding.fact(format!(
            "conntrack has failed to insert {} so far (insert_failed)",
            match failed {
                1 => "1 entry".to_owned(),
                several => format!("{several} entries"),
            }
        ));
    }
    finding.fix.push(match is_own {
        true => Fix::advice("send the next packet from another socket, or after the first answer")
            .at(Site::Sender),
        false => Fix::advice(
            "let the rule that translates the source choose ports at random (--random-fully), or \
             give it more ports or more source addresses",
        ),
    });
    if facts.flow.proto == Protocol::Udp && facts.flow.dport == Some(DNS) {
        finding.fix.push(
            Fix::advice(
                "for DNS: NodeLocal DNSCache, or `options single-request-reopen` in resolv.conf",
            )
            .at(Site::Sender),
        );
    }
    Some(finding)
}

/// Whether an entry is of the packet's own connection, translated in another way.
fn is_same_connection(facts: &DropFacts, entry: &ConntrackEntry) -> bool {
    let own = facts.wire.as_ref().and_then(|wire| wire.entry);
    own.is_some_and(|(original, _)| Flow::from(&original) == entry.original)
}

/// Whose entry was there first.
fn holder(facts: &DropFacts, entry: &ConntrackEntry) -> String {
    let ends = |flow: &Flow| {
        format!(
            "{} to {}",
            address(flow.source()),
            address(flow.destination())
        )
    };
    match is_same_connection(facts, entry) {
        true => format!(
            "another packet from {} had made the entry in between, with another translation: its \
             answers come from {}",
            ends(&entry.original),
            address(entry.reply.source())
        ),
        false => format!(
            "the answers of the connection from {} go to {}, too",
            ends(&entry.original),
            address(entry.reply.destination())
        ),
    }
}

pub(super) fn every_insertion_succeeded(_: &DropFacts, node: &NodeFacts) -> Option<String> {
    let table = node.conntrack.as_ref()?;
    let none = table.counted("insert_failed") == Some(0) && table.taken.is_none();
    none.then(|| {
        "conntrack has failed to insert no entry, and the packet's tuple is free".to_owned()
    })
}
