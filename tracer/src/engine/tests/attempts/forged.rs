//! Packets that say they belong to an attempt.

use super::*;

/// Data of the client's, further on in the connection, that came in by an interface.
fn data_drop(seq: u32, iif: u32) -> DropFacts {
    DropFacts {
        tcp: Some(Tcp {
            seq,
            ack: SERVER_ISN + 1,
            flags: Tcp::ACK,
            payload: 100,
        }),
        iif,
        ..drop_of(1, "TCP_CSUM")
    }
}

/// A connection whose segment is dropped again and again; what it comes to.
fn outcomes_beside(lost: impl Fn() -> DropFacts) -> Vec<Outcome> {
    let mut rig = Rig::new();
    rig.syn();
    rig.syn_ack();
    for at in 0..5 {
        let mut lost = lost();
        lost.at += std::time::Duration::from_millis(at * 200);
        rig.drop(lost);
        rig.pass(200 * MILLISECOND);
    }
    rig.outcomes()
}

#[test]
fn its_own_segments_stall_it() {
    let own = || data_drop(ISN + 5_000, VETH);
    assert_eq!(outcomes_beside(own), [Outcome::Answered, Outcome::Stalled]);
}

#[test]
fn a_segment_off_its_way_does_not() {
    let elsewhere = || data_drop(ISN + 5_000, NIC + 1);
    assert_eq!(outcomes_beside(elsewhere), [Outcome::Answered]);
}

#[test]
fn a_segment_with_a_strange_number_does_not() {
    let strange = || DropFacts {
        tcp: Some(Tcp {
            seq: ISN + (1 << 30),
            ack: SERVER_ISN + (1 << 30),
            flags: Tcp::ACK,
            payload: 100,
        }),
        ..data_drop(0, VETH)
    };
    assert_eq!(outcomes_beside(strange), [Outcome::Answered]);
}

#[test]
fn far_into_an_upload_the_acknowledgement_fits() {
    let late = || data_drop(ISN + (1 << 30), VETH);
    assert_eq!(outcomes_beside(late), [Outcome::Answered, Outcome::Stalled]);
}

#[test]
fn a_segment_in_a_tunnel_of_others_does_not() {
    let tunneled = || DropFacts {
        outer_tuple: Some(Tuple {
            src: Address::v4([10, 50, 3, 2]),
            dport: 4789,
            proto: protocol::UDP,
            ..flow()
        }),
        ..data_drop(ISN + 5_000, VETH)
    };
    assert_eq!(outcomes_beside(tunneled), [Outcome::Answered]);
}
