//! Rulesets from the field in small: for each, the packet, and the rule that dropped it according to
//! the kernel's own trace.

use std::{fs, path::Path, sync::Arc};

use super::{super::*, *};
use crate::node::ruleset::{
    host::{Host, Kind, Local},
    packet::{Entry, Header, Translation},
    translation::Progress,
};

/// A ruleset as it was recorded.
fn case(name: &str) -> Ruleset {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/ruleset/cases");
    let read = |kind: &str| fs::read_to_string(folder.join(format!("{name}.{kind}")));
    let text = |kind: &str| read(kind).unwrap_or_default();
    // No packet was sent through these rules: what has counted nothing says nothing.
    let iptables = text("iptables").replace("[0:0] -A", "-A");
    Ruleset::from_texts(&read("json").unwrap(), &iptables, &text("ipset")).unwrap()
}

/// A host with the interfaces `va` to the client and `vb` to the server.
fn node() -> Arc<Host> {
    let local = |address: &str| Local {
        address: address.parse().unwrap(),
        bits: 32,
        kind: Kind::Local,
    };
    Arc::new(Host {
        devices: ["lo", "va", "vb"].map(str::to_owned).to_vec(),
        addresses: vec![local("10.30.1.1"), local("10.30.2.1")],
        has_all_addresses: true,
        reverse_path: Some(true),
        ..Host::default()
    })
}

fn device(name: &str) -> Device {
    Device::Named(name.to_owned())
}

fn ends(src: &str, sport: u16, dst: &str, dport: u16) -> Ends {
    Ends {
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
        sport: Some(sport),
        dport: Some(dport),
    }
}

/// The SYN of the client to the server, at FORWARD of the node between them.
fn forwarded(dport: u16) -> HookPacket {
    let packet = syn("10.30.1.2", "10.30.2.2", dport);
    HookPacket {
        input: device("va"),
        output: device("vb"),
        header: Some(header(6, 64, 60)),
        len: Some(60),
        host: node(),
        ..packet
    }
}

/// The SYN of the client to the node itself.
fn delivered(dport: u16) -> HookPacket {
    HookPacket {
        hook: Some(Hook::Input),
        output: Device::None,
        ends: ends("10.30.1.2", 40000, "10.30.1.1", dport),
        ..forwarded(dport)
    }
}

/// A SYN-ACK without a SYN.
fn unsolicited(to: HookPacket) -> HookPacket {
    HookPacket {
        tcp_flags: Some(0x12),
        tracked: Tracked::Nothing,
        ..to
    }
}

/// An IPv4 header, and as much of what follows as a TCP header has.
fn header(proto: u8, ttl: u8, len: u16) -> Arc<Header> {
    let mut bytes = vec![0; 40];
    bytes[0] = 0x45;
    bytes[2..4].copy_from_slice(&len.to_be_bytes());
    bytes[6] = 0x40;
    bytes[8] = ttl;
    bytes[9] = proto;
    Arc::new(Header {
        bytes,
        transport_at: 20,
    })
}

/// Everything that could have dropped it, after a look at the counters.
fn suspects(ruleset: &Ruleset, packet: &HookPacket) -> Suspects {
    let mut suspects = ruleset.suspects(packet, Hint::Nft);
    suspects.narrow_by_counters(ruleset);
    suspects
}

/// The one rule that could have dropped it.
#[track_caller]
fn convicted(ruleset: &Ruleset, packet: &HookPacket) -> Suspect {
    let found = suspects(ruleset, packet);
    let all: Vec<_> = found.rules.iter().map(Suspect::describe).collect();
    assert!(found.certain, "{all:#?}");
    found.rules[0].clone()
}

/// The chain and the text of the one rule.
#[track_caller]
fn names(ruleset: &Ruleset, packet: &HookPacket, chain: &str, text: &str) -> Suspect {
    let rule = convicted(ruleset, packet);
    assert_eq!(rule.chain, chain, "{}", rule.describe());
    assert!(rule.text.contains(text), "{}", rule.describe());
    rule
}

#[track_caller]
fn clears(ruleset: &Ruleset, packet: &HookPacket) {
    let found = suspects(ruleset, packet);
    let all: Vec<_> = found.rules.iter().map(Suspect::describe).collect();
    assert!(found.rules.is_empty() && found.complete, "{all:#?}");
}

mod facts;
mod known;
mod mends;
mod nat;
mod owners;
mod pass;
