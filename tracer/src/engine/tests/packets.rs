//! Interfaces, packets and drops that tests have in common.

use super::*;

pub(super) fn interface(ifindex: u32, is_uplink: bool) -> Interface {
    Interface {
        netns: HOST,
        link: Link {
            ifindex,
            name: ifname(ifindex),
            ..Link::default()
        },
        addresses: Vec::new(),
        is_uplink,
    }
}

pub(super) fn ifname(ifindex: u32) -> String {
    format!("eth{ifindex}")
}

pub(super) fn place(ifindex: u32, dir: Direction) -> Place {
    Place {
        netns: HOST,
        ifindex,
        ifname: ifname(ifindex),
        mtu: 1500,
        dir,
    }
}

/// From the client to the server.
pub(super) fn flow() -> Tuple {
    Tuple {
        src: Address::v4([10, 0, 0, 1]),
        dst: Address::v4([192, 0, 2, 2]),
        sport: 40_000,
        dport: 80,
        proto: protocol::TCP,
        flags: Tuple::HAS_PORTS,
        reserved: [0; 2],
    }
}

/// The client sends a full segment again.
pub(super) fn retransmission(at: Nanos) -> RetransmitEvent {
    RetransmitEvent {
        kind: kind::RETRANSMIT,
        at,
        flow: flow(),
        netns: HOST,
        seq: ISN + 1,
        len: 1_460,
        mss: 1_460,
        state: 1,
        reserved: 0,
    }
}

/// A drop of a packet that belongs to no attempt. Drops are alike if `reason` is the same number.
pub(super) fn drop_of(reason: u32, name: &str) -> DropFacts {
    let kind = DropKind {
        key: DropKey {
            flow: flow(),
            reason,
            netns: HOST,
            ..DropKey::default()
        },
        reason: name.into(),
        function: Some("kfree".to_owned()),
    };
    kind.facts(SystemTime::UNIX_EPOCH)
}

/// A drop of the client's SYN.
pub(super) fn syn_drop(reason: u32, name: &str) -> DropFacts {
    DropFacts {
        tcp: Some(Tcp {
            seq: ISN,
            ack: 0,
            flags: Tcp::SYN,
            payload: 0,
        }),
        ..drop_of(reason, name)
    }
}

/// A drop of the client's first segment behind the handshake.
pub(super) fn ack_drop(reason: u32, name: &str) -> DropFacts {
    DropFacts {
        tcp: Some(Tcp {
            seq: ISN + 1,
            ack: 1,
            flags: Tcp::ACK,
            payload: 5,
        }),
        ..drop_of(reason, name)
    }
}
