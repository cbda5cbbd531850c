//! Path MTU discovery: what works is no failure, what repeats is one.

use super::*;
use crate::{
    decode::sighting::Rejection,
    model::{Confidence, Packet, TcpFlags},
};

/// A drop of the client's segment with this number: the next hop takes less.
fn too_large(seq: u32) -> DropFacts {
    let tcp = Tcp {
        seq,
        ack: 1,
        flags: Tcp::ACK,
        payload: 1_448,
    };
    DropFacts {
        tcp: Some(tcp),
        packet: Some(Packet {
            len: 1_500,
            tcp_flags: Some(TcpFlags::new(tcp.flags)),
            seq: Some(seq),
            gso_size: None,
            icmp: None,
            echo: None,
        }),
        mtu: Some(1_300),
        ..drop_of(1, "PKT_TOO_BIG")
    }
}

fn rejection() -> Rejection {
    Rejection {
        from: "10.0.0.254".parse().unwrap(),
        v6: false,
        icmp: [3, 4],
        quoted: flow(),
        carrier: None,
    }
}

impl Rig {
    /// The router sends an ICMP message to the client, by its pod's interface.
    fn notify(&mut self) {
        let message = Part::Rejects(None, rejection());
        let icmp = Tuple {
            proto: protocol::ICMP,
            src: Address::v4([10, 0, 0, 254]),
            dst: flow().src,
            ..Tuple::default()
        };
        self.see(VETH, Direction::Out, icmp, message);
    }
}

#[test]
fn a_sender_that_learns_makes_noise_only() {
    let mut rig = Rig::new();
    rig.notify();
    rig.drop(too_large(ISN + 1));
    // What was under way is dropped, too.
    for _ in 0..9 {
        rig.count(&too_large(ISN + 2));
    }
    rig.drop(too_large(ISN + 2));
    rig.pass(3_000 * MILLISECOND);
    assert_eq!(rig.shown(), [0_u64; 0]);
    let summary = rig.finish();
    assert_eq!((summary.drops, summary.noise), (0, 11));
    assert!(summary.verdict.is_none());
}

/// The message may have passed where no probe is, or have been made where the sender is.
#[test]
fn a_sender_that_was_seen_to_learn_makes_noise_only() {
    let mut rig = Rig::new();
    rig.drop(too_large(ISN + 1));
    rig.feed(Input::Event(Event::Retransmit(RetransmitEvent {
        mss: 1_248,
        ..retransmission(rig.now)
    })));
    rig.pass(3_000 * MILLISECOND);
    assert_eq!(rig.shown(), [0_u64; 0]);
    let summary = rig.finish();
    assert_eq!((summary.drops, summary.noise), (0, 1));
}

#[test]
fn a_sender_that_sends_the_same_again_has_not_learned() {
    let mut rig = Rig::new();
    rig.drop(too_large(ISN + 1));
    rig.feed(Input::Event(Event::Retransmit(retransmission(rig.now))));
    rig.drop(too_large(ISN + 1));
    rig.answer(None);
    assert_eq!(rig.shown(), [1]);
    assert_eq!(rig.drops[0].verdict.confidence, Confidence::Confirmed);
}

#[test]
fn a_segment_that_is_dropped_again_is_reported() {
    let mut rig = Rig::new();
    rig.notify();
    rig.drop(too_large(ISN + 1));
    rig.pass(200 * MILLISECOND);
    assert_eq!(rig.shown(), [0_u64; 0]);
    rig.drop(too_large(ISN + 1));
    rig.answer(None);
    assert_eq!(rig.shown(), [1]);
    let summary = rig.finish();
    assert_eq!((summary.drops, summary.noise), (2, 0));
}

#[test]
fn a_segment_that_is_dropped_again_much_later_is_reported() {
    let mut rig = Rig::new();
    rig.notify();
    rig.drop(too_large(ISN + 1));
    rig.pass(2_000 * MILLISECOND);
    rig.drop(too_large(ISN + 1));
    rig.answer(None);
    assert_eq!(rig.shown(), [1]);
}

#[test]
fn without_a_message_it_is_reported_after_a_second() {
    let mut rig = Rig::new();
    rig.drop(too_large(ISN + 1));
    rig.pass(900 * MILLISECOND);
    assert!(rig.asked.is_empty());
    rig.pass(2 * TICK);
    rig.answer(None);
    assert_eq!(rig.shown(), [1]);
    assert_eq!(rig.drops[0].verdict.confidence, Confidence::Possible);
}

#[test]
fn a_dropped_message_did_not_reach_the_sender() {
    let mut rig = Rig::new();
    rig.notify();
    rig.drop(too_large(ISN + 1));
    let mut lost = drop_of(2, "NETFILTER_DROP");
    lost.flow.proto = crate::model::Protocol::Icmp;
    lost.quoted = Some((&flow()).into());
    lost.quoted_tuple = Some(flow());
    lost.packet = Some(Packet {
        len: 576,
        tcp_flags: None,
        seq: None,
        gso_size: None,
        icmp: Some((3, 4)),
        echo: None,
    });
    rig.drop(lost);
    rig.answer(None);
    assert_eq!(rig.shown(), [1]);
    rig.pass(1_100 * MILLISECOND);
    rig.answer(None);
    assert_eq!(rig.shown(), [1, 1]);
}

#[test]
fn what_waits_at_the_end_is_reported() {
    let mut rig = Rig::new();
    rig.drop(too_large(ISN + 1));
    let summary = rig.finish();
    assert_eq!((summary.drops, summary.shown), (1, 1));
}

#[test]
fn a_half_closed_connection_stalls_too() {
    for state in [4, 8, 9] {
        let mut rig = Rig::new();
        rig.syn();
        rig.syn_ack();
        for _ in 0..4 {
            rig.feed(Input::Event(Event::Retransmit(RetransmitEvent {
                state,
                ..retransmission(rig.now)
            })));
            rig.pass(200 * MILLISECOND);
        }
        assert_eq!(rig.outcomes(), [Outcome::Answered, Outcome::Stalled]);
    }
}
