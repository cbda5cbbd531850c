//! Packets for which no rule is proposed that lets them pass.

use super::{Mending, bridged};
use crate::{
    model::Fix,
    node::ruleset::{
        Ruleset,
        condition::{Condition, Field},
        model::Statement,
        packet::{Device, HookPacket},
        suspects::Suspect,
    },
};

/// What to do instead of letting the packet pass.
pub(super) fn of(ruleset: &Ruleset, suspect: &Suspect, packet: &HookPacket) -> Option<Mending> {
    let said = |remark: &str| {
        Some(Mending {
            fixes: Vec::new(),
            remarks: vec![remark.to_owned()],
        })
    };
    // Of ICMP errors without an entry, conntrack counts none, so nothing shows whether it is in use.
    let is_tracked = packet.proto != 6 || !packet.host.tracks_nothing;
    if packet.is_invalid() && is_tracked {
        return said(
            "no rule is proposed: conntrack has no entry for the packet, so find out why first",
        );
    }
    let chain = &ruleset.tables[suspect.at.table].chains[suspect.at.chain];
    let rule = suspect.at.rule.map(|rule| &chain.rules[rule]);
    let statements = rule.map_or(&[][..], |rule| &rule.statements);
    let asks_for_way_back = statements.iter().any(asks_for_way_back);
    if packet.is_bridged() {
        // A bridge needs no route back.
        if asks_for_way_back {
            return Some(bridged::past_iptables(ruleset, packet).unwrap_or_default());
        }
    } else if asks_for_way_back || packet.host.reverse_path == Some(false) {
        return Some(way_back(packet));
    }
    let is_named = [
        rule.and_then(|rule| rule.comment.as_deref()),
        Some(&*chain.name),
    ]
    .into_iter()
    .flatten()
    .any(|text| text.to_ascii_lowercase().contains("spoof"));
    if is_named || statements.iter().any(asks_for_sender) {
        return said("no rule is proposed: this one is there against forged senders");
    }
    None
}

/// The packet's source is not routed back through the interface that it came in through.
fn way_back(packet: &HookPacket) -> Mending {
    let src = packet.ends.src;
    let by = match &packet.input {
        Device::Named(name) => format!(" by {name}"),
        Device::None | Device::Unknown => String::new(),
    };
    match packet.host.reverse_path {
        Some(false) => Mending {
            fixes: vec![Fix::advice(format!(
                "if {src} is to be reached{by}, add a route to it; no rule is proposed for a sender \
                 that is not routed back through the interface it came in through"
            ))],
            remarks: vec![format!(
                "{src} is not routed back{by}, where the packet came in"
            )],
        },
        _ => Mending::default(),
    }
}

fn asks_for_way_back(statement: &Statement) -> bool {
    asks(statement, |field| field == Field::ReversePath)
}

fn asks_for_sender(statement: &Statement) -> bool {
    asks(statement, |field| {
        matches!(field, Field::SourceMac | Field::InputPort)
    })
}

fn asks(statement: &Statement, is: impl Fn(Field) -> bool) -> bool {
    match statement {
        Statement::Match(Condition::In { key, .. }) => key.iter().any(|field| is(*field)),
        Statement::VerdictMap { key, .. } => key.iter().any(|field| is(*field)),
        _ => false,
    }
}
