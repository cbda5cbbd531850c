//! Packets that say they belong to an attempt.

use std::net::IpAddr;

use super::*;

/// Data of the client's, further on in the connection, that came in through an interface.
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

/// A dropped query with the attempt's id and question, from this port of the client's.
fn query_drop(sport: u16) -> DropFacts {
    let flow = Tuple { sport, ..query() };
    let mut lost = drop_of(1, "TCP_CSUM");
    lost.key.flow = flow;
    lost.flow = (&flow).into();
    lost.dns = Some((query_key(), false));
    lost
}

fn query() -> Tuple {
    Tuple {
        proto: protocol::UDP,
        dport: 53,
        ..flow()
    }
}

fn query_key() -> AttemptKey {
    AttemptKey::dns(7, "api.example".to_owned())
}

fn opens() -> Part {
    Part::Opens(
        query_key(),
        Some(("api.example".to_owned(), "A".to_owned())),
    )
}

#[test]
fn a_query_of_another_client_decides_nothing() {
    let point = |sport| {
        let mut rig = Rig::new();
        rig.see(VETH, Direction::In, query(), opens());
        rig.see(NIC, Direction::Out, query(), opens());
        rig.drop(query_drop(sport));
        rig.pass(2 * TIMEOUT);
        let verdict = rig.attempts[0].verdict.as_ref().expect("a verdict");
        verdict.point
    };
    assert_eq!(point(query().sport), Point::Checksum);
    assert_ne!(point(query().sport + 1), Point::Checksum);
}

/// Two clients ask the same question by the same id, at the same time.
#[test]
fn the_query_of_another_client_with_the_same_id_is_another_attempt() {
    let mut rig = Rig::new();
    let other = Tuple {
        src: IpAddr::from([10, 244, 7, 7]).into(),
        ..query()
    };
    for client in [query(), other] {
        rig.see(VETH, Direction::In, client, opens());
        rig.see(NIC, Direction::Out, client, opens());
    }
    // Only one of them is answered.
    let answer = || Part::Answers(query_key(), Some("NOERROR".to_owned()));
    rig.see(NIC, Direction::In, other.reversed(), answer());
    rig.see(VETH, Direction::Out, other.reversed(), answer());
    rig.pass(2 * TIMEOUT);
    let mut seen: Vec<_> = rig
        .attempts
        .iter()
        .map(|attempt| (attempt.flow.src, attempt.outcome))
        .collect();
    seen.sort();
    let mut expected = [
        (IpAddr::from(query().src), Outcome::Unanswered),
        (IpAddr::from(other.src), Outcome::Answered),
    ];
    expected.sort();
    assert_eq!(seen, expected);
}

/// Masquerading gives the query another source. Conntrack's entry has the one before.
#[test]
fn a_query_behind_nat_is_still_its_clients() {
    let mut rig = Rig::new();
    let masqueraded = Tuple {
        src: IpAddr::from([192, 0, 2, 1]).into(),
        sport: 61000,
        ..query()
    };
    rig.see(VETH, Direction::In, query(), opens());
    let translated = (masqueraded, Some(query()));
    rig.see_translated(NIC, Direction::Out, translated, opens());
    rig.pass(2 * TIMEOUT);
    assert_eq!(rig.attempts.len(), 1);
    assert_eq!(rig.attempts[0].hops.len(), 2);
}
