//! Rulesets recorded from a two-node Kubernetes cluster, made-up ones, and the real kernel.

use super::{HookPacket, Ruleset};
use crate::{decode::tracked::Tracked, model::Hook};

mod live;
mod made_up;
mod parsing;
mod recorded;

/// A packet of TCP's that begins a connection, in FORWARD.
fn syn(src: &str, dst: &str, dport: u16) -> HookPacket {
    HookPacket {
        hook: Some(Hook::Forward),
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
        proto: 6,
        sport: Some(40000),
        dport: Some(dport),
        tcp_flags: Some(2),
        icmp_type: None,
        iifname: None,
        oifname: None,
        mark: Some(0),
        is_later_fragment: false,
        tracked: Tracked::New,
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
