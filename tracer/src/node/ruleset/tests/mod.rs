//! Rulesets recorded from a two-node Kubernetes cluster, made-up ones, and the real kernel.

use super::{
    Hint, HookPacket, Ruleset,
    packet::{Device, Ends},
};
use crate::{decode::tracked::Tracked, model::Hook};

mod cases;
mod live;
mod made_up;
mod opaque;
mod parsing;
mod record;
mod recorded;

/// A packet of TCP's that begins a connection, in FORWARD.
fn syn(src: &str, dst: &str, dport: u16) -> HookPacket {
    let ends = Ends {
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
        sport: Some(40000),
        dport: Some(dport),
    };
    HookPacket {
        hook: Some(Hook::Forward),
        tcp_flags: Some(2),
        mark: Some(0),
        tracked: Tracked::New,
        ..HookPacket::new(ends, 6)
    }
}

macro_rules! recording {
    ($name:literal) => {
        include_str!(concat!("../../../../testdata/ruleset/", $name))
    };
}
use recording;

fn n1() -> Ruleset {
    Ruleset::from_texts(recording!("n1-nft.json"), recording!("n1-iptables.txt"), "").unwrap()
}

fn n1_by_iptables() -> Ruleset {
    Ruleset::from_texts(
        recording!("n1-nft-kube-router-iptables.json"),
        recording!("n1-iptables-kube-router.txt"),
        recording!("n1-ipset.txt"),
    )
    .unwrap()
}

fn n2() -> Ruleset {
    Ruleset::from_texts(recording!("n2-nft.json"), recording!("n2-iptables.txt"), "").unwrap()
}

/// The lines that apply what is proposed, and those that take it back.
fn fixes(ruleset: &Ruleset, packet: &HookPacket) -> Vec<(String, Option<String>)> {
    let suspects = ruleset.suspects(packet, Hint::Any);
    let mending = ruleset.mend(&suspects, packet);
    let lines = mending.fixes.iter();
    lines.map(|fix| (fix.line(), fix.undo_line())).collect()
}
