//! How each drop reason is treated, for the test that none is forgotten.

use std::collections::BTreeSet;

pub(crate) use super::drops::unjudged::UNJUDGED;
use super::drops::{Concern, rules, tests::facts, unjudged::NO_PACKET};
use crate::{
    decode::{drop::DropFacts, noise},
    model::{Packet, Protocol},
};
use tracer_common::packet::Tcp;

/// What becomes of drops with a reason, in whatever function.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Treatment {
    /// A rule judges them.
    Judged,
    /// Healthy traffic makes them.
    Harmless,
    /// No rule judges them, on purpose.
    Unjudged,
    /// No packet of IP has this reason.
    NoPacket,
}

/// How drops with a reason are treated.
pub(crate) fn treatments(reason: &str) -> BTreeSet<Treatment> {
    let drops = drops(reason);
    let is_judged =
        |drop: &DropFacts| rules().any(|rule| (rule.applies.concerns)(drop) != Concern::No);
    let is = [
        (drops.iter().any(is_judged), Treatment::Judged),
        (
            drops.iter().any(|drop| noise::explain(drop).is_some()),
            Treatment::Harmless,
        ),
        (
            UNJUDGED.iter().any(|(name, _)| *name == reason),
            Treatment::Unjudged,
        ),
        (NO_PACKET.contains(&reason), Treatment::NoPacket),
    ];
    is.into_iter()
        .filter_map(|(applies, treatment)| applies.then_some(treatment))
        .collect()
}

/// Packets of several kinds, dropped in a function that no rule knows.
fn drops(reason: &str) -> Vec<DropFacts> {
    let of_tcp = |flags: u8| {
        let mut facts = facts(reason, "some_function");
        facts.key.tcp_flags = flags;
        facts
    };
    let mut datagram = of_tcp(0);
    datagram.flow.proto = Protocol::Udp;
    let mut tunneled = of_tcp(Tcp::SYN);
    tunneled.outer = Some(datagram.flow);
    let mut large = of_tcp(Tcp::ACK);
    large.mtu = Some(1500);
    large.packet = Some(Packet {
        len: 3000,
        tcp_flags: None,
        seq: None,
        gso_size: None,
        icmp: None,
        echo: None,
    });
    let kinds = [Tcp::SYN, Tcp::SYN | Tcp::ACK, Tcp::ACK, Tcp::RST];
    kinds
        .map(of_tcp)
        .into_iter()
        .chain([datagram, tunneled, large])
        .collect()
}
