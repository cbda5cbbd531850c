//! Segments that lack the translation which their connection began with.

use super::*;
use crate::{
    decode::untranslated::Untranslated,
    model::Flow,
    node::{facts::NodeFacts, translation::LostTranslation},
};

/// Where the SYN is translated to.
fn translated() -> Tuple {
    Tuple {
        dst: Address::v4([10, 244, 9, 9]),
        ..flow()
    }
}

/// A connection to a Service: its SYN comes in, and leaves with the endpoint's address.
fn connected() -> Rig {
    let mut rig = Rig::new();
    let opens = || Part::Opens(AttemptKey::Tcp(ISN), None);
    rig.see(VETH, Direction::In, flow(), opens());
    rig.see(NIC, Direction::Out, translated(), opens());
    let answers = || Part::Answers(AttemptKey::Tcp(ISN), None);
    rig.see(NIC, Direction::In, translated().reversed(), answers());
    rig.see(VETH, Direction::Out, flow().reversed(), answers());
    assert_eq!(rig.outcomes(), [Outcome::Answered]);
    rig
}

/// Data of the client's that finds no socket, at an address.
fn astray(to: Address, seq: u32) -> DropFacts {
    let astray = Tuple { dst: to, ..flow() };
    let facts = DropFacts {
        flow: Flow::from(&astray),
        tcp: Some(Tcp {
            seq,
            ack: SERVER_ISN + 1,
            flags: Tcp::ACK,
            payload: 5,
        }),
        ..drop_of(1, "NO_SOCKET")
    };
    DropFacts {
        key: DropKey {
            flow: astray,
            ..facts.key
        },
        ..facts
    }
}

/// The translation that the node is asked about, if it is.
fn asked(rig: &Rig) -> Option<Untranslated> {
    rig.asked.iter().find_map(|(_, query)| match query {
        Query::Drop { facts, .. } => facts.untranslated,
        _ => None,
    })
}

const ELSEWHERE: Address = Address::v4([10, 244, 9, 10]);

#[test]
fn data_for_another_endpoint_stalls_a_connection_whose_entry_is_gone() {
    let mut rig = connected();
    rig.drop(astray(ELSEWHERE, ISN + 1));
    let of = asked(&rig).expect("a question");
    assert!(of.by_client);
    let facts = NodeFacts {
        lost_translation: Some(LostTranslation {
            of,
            now: None,
            idle_limit: None,
        }),
        ..NodeFacts::default()
    };
    rig.answer(Some(Answer::Drop(Box::new(facts))));
    assert_eq!(rig.outcomes(), [Outcome::Answered, Outcome::Stalled]);
    let verdict = rig.attempts[1].verdict.as_ref().expect("a verdict");
    assert_eq!(
        (verdict.point, verdict.confidence),
        (Point::Conntrack, Confidence::Confirmed)
    );
    assert!(verdict.why.contains("10.244.9.10"), "{}", verdict.why);
}

#[test]
fn an_entry_that_still_translates_refutes_it() {
    let mut rig = connected();
    rig.drop(astray(ELSEWHERE, ISN + 1));
    rig.answer(Some(Answer::Drop(Box::default())));
    assert_eq!(rig.outcomes(), [Outcome::Answered]);
}

#[test]
fn what_goes_where_the_syn_went_lacks_no_translation() {
    let mut rig = connected();
    rig.drop(astray(translated().dst, ISN + 1));
    assert_eq!(asked(&rig), None);
}

#[test]
fn a_segment_of_another_connection_is_known_by_its_numbers() {
    let mut rig = connected();
    rig.drop(astray(ELSEWHERE, ISN + (1 << 30)));
    assert_eq!(asked(&rig), None);
}
