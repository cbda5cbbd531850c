//! What the model of the node makes of a packet, and what the attempt's verdict makes of that.

use std::sync::Arc;

use super::*;
use crate::{
    model::{Confidence, Hook, Point, Verdict},
    node::{
        query::SilenceFacts,
        way::{
            Act, Because, Counted, DroppedBy, End, Refused, Start, Step, Unanswered, Walked, Way,
        },
        world::LinkId,
    },
};

/// A namespace that is not watched.
const ELSEWHERE: u32 = 7;
const NIC_LINK: LinkId = LinkId {
    netns: HOST,
    ifindex: NIC,
};
const VETH_LINK: LinkId = LinkId {
    netns: HOST,
    ifindex: VETH,
};

fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.walks = true;
    rig
}

fn dropped_by(rule: &str) -> DroppedBy {
    DroppedBy {
        text: rule.to_owned(),
        by_policy: false,
        counter: None,
    }
}

/// The SYN comes in and is not seen again.
fn syn_in(rig: &mut Rig) {
    let opens = Part::Opens(AttemptKey::Tcp(ISN), None);
    rig.see(VETH, Direction::In, flow(), opens);
}

/// How often packets have ended where this one does: as often as it was seen, less those that the counter
/// missed since the first look.
fn counted(rig: &Rig) -> Option<Counted> {
    rig.counted.map(|value| Counted {
        netns: ELSEWHERE,
        because: "a rule".to_owned(),
        counter: "its counter".to_owned(),
        value,
    })
}

/// The verdict of a rule that nothing is seen of, if its counter moves so far while the SYN is sent again.
fn verdict_by_counter(moved: u64) -> Verdict {
    let mut rig = rig();
    rig.counted = Some(7);
    syn_in(&mut rig);
    rig.pass(TIMEOUT / 2);
    let walked = Walked {
        counted: counted(&rig),
        ..Walked::default()
    };
    rig.answer(Some(Answer::Silence(Box::new(SilenceFacts {
        walked: Some(walked),
        ..SilenceFacts::default()
    }))));
    rig.pass(TIMEOUT / 2 - TICK);
    syn_in(&mut rig);
    rig.counted = Some(7 + moved);
    let by_rule = Because::Rule(Hook::Input, dropped_by("rule 1 of chain INPUT"));
    verdict(&mut rig, dropped(ELSEWHERE, by_rule))
}

#[test]
fn a_counter_that_moves_with_the_packet_confirms_the_model() {
    let verdict = verdict_by_counter(1);
    assert_eq!(
        (verdict.point, verdict.confidence),
        (Point::Firewall, Confidence::Confirmed)
    );
}

#[test]
fn a_counter_that_others_move_too_confirms_nothing() {
    let verdict = verdict_by_counter(2);
    assert_eq!(
        (verdict.point, verdict.confidence),
        (Point::Firewall, Confidence::Likely)
    );
}

#[test]
fn a_counter_that_stands_still_refutes_the_model() {
    let verdict = verdict_by_counter(0);
    assert_eq!(verdict.point, Point::Unknown);
    assert!(verdict.why.contains("moved by 0"), "{}", verdict.why);
}

/// The verdict once the node has found that the packet comes in by the veth and ends like this.
fn verdict(rig: &mut Rig, end: End) -> Verdict {
    rig.pass(TIMEOUT + 2 * TICK);
    let Some((_, Query::Silence(query))) = rig.asked.last() else {
        panic!("{:?}", rig.asked);
    };
    let (start, packet) = query.walk.as_ref().expect("a walk");
    assert_eq!(*start, Start::In(VETH_LINK));
    assert_eq!(packet.flow, (&flow()).into());
    let steps = vec![Step {
        netns: HOST,
        act: Act::CameIn(VETH_LINK),
    }];
    let walked = Walked {
        world: Arc::default(),
        ways: vec![Way { steps, end }],
        way_back: None,
        counted: counted(rig),
    };
    rig.answer(Some(Answer::Silence(Box::new(SilenceFacts {
        walked: Some(walked),
        ..SilenceFacts::default()
    }))));
    rig.attempts[0].verdict.clone().expect("a verdict")
}

fn rule_of(verdict: &Verdict) -> Option<&str> {
    verdict.rule.as_ref().map(|rule| rule.as_str())
}

fn dropped(netns: u32, because: Because) -> End {
    End::Dropped {
        netns,
        link: None,
        because,
    }
}

#[test]
fn a_model_that_agrees_is_evidence_that_it_left_the_node() {
    let mut rig = rig();
    rig.syn();
    let leaves = End::Leaves {
        by: NIC_LINK,
        to: flow().dst.into(),
    };
    let verdict = verdict(&mut rig, leaves);
    assert_eq!(rule_of(&verdict), Some("off-node"));
    let agrees =
        |fact: &String| fact.starts_with("by the routes and rules of this node, it leaves");
    assert!(verdict.evidence.iter().any(agrees), "{verdict:?}");
}

#[test]
fn a_model_that_ends_on_the_node_forbids_to_call_it_off_node() {
    let mut rig = rig();
    rig.syn();
    let delivered = End::Delivered {
        netns: ELSEWHERE,
        link: None,
        mark: Some(0),
    };
    let verdict = verdict(&mut rig, delivered);
    assert_eq!(rule_of(&verdict), Some("way-contradicted"));
    assert_eq!(verdict.point, Point::Unknown);
    assert!(verdict.why.contains("eth3") && verdict.why.contains("delivered"));
}

#[test]
fn a_drop_by_the_model_where_nothing_is_watched_explains_the_silence() {
    let mut rig = rig();
    syn_in(&mut rig);
    let by_rule = Because::Rule(Hook::Input, dropped_by("rule 1 of chain INPUT"));
    let verdict = verdict(&mut rig, dropped(ELSEWHERE, by_rule));
    assert_eq!(rule_of(&verdict), Some("way"));
    assert_eq!(
        (verdict.point, verdict.confidence),
        (Point::Firewall, Confidence::Likely)
    );
}

#[test]
fn a_drop_by_the_model_that_would_have_been_seen_explains_nothing() {
    let mut rig = rig();
    syn_in(&mut rig);
    let by_rule = Because::Rule(Hook::Forward, dropped_by("rule 1 of chain FORWARD"));
    let verdict = verdict(&mut rig, dropped(HOST, by_rule));
    assert_eq!(rule_of(&verdict), Some("gap"));
    let said = |fact: &String| fact.contains("FORWARD drops it");
    assert!(verdict.evidence.iter().any(said), "{verdict:?}");
}

#[test]
fn a_packet_that_waits_for_a_refused_question_is_the_rule_s() {
    let mut rig = rig();
    syn_in(&mut rig);
    let unanswered = Unanswered {
        hop: flow().dst.into(),
        is_gateway: false,
        from: NIC_LINK,
        asks_as: None,
        state: None,
        holders: Vec::new(),
        proxy: None,
        refused: Some(Refused {
            netns: HOST,
            hook: Hook::Forward,
            by: dropped_by("rule 2 of chain FORWARD"),
            is_answer: false,
        }),
        program: None,
    };
    let waits = dropped(HOST, Because::Unanswered(Box::new(unanswered)));
    let verdict = verdict(&mut rig, waits);
    assert_eq!(verdict.point, Point::Firewall);
    assert!(verdict.why.contains("rule 2 of chain FORWARD"));
}

#[test]
fn a_storm_of_silent_attempts_does_not_read_the_node_for_each() {
    let mut rig = rig();
    for number in 0..12 {
        let opens = Part::Opens(AttemptKey::Tcp(ISN + number), None);
        let client = Tuple {
            sport: 40_000 + u16::try_from(number).unwrap(),
            ..flow()
        };
        rig.see(VETH, Direction::In, client, opens);
        let opens = Part::Opens(AttemptKey::Tcp(ISN + number), None);
        rig.see(NIC, Direction::Out, client, opens);
    }
    rig.pass(TIMEOUT + TICK);
    let walks = |(_, query): &&(QueryId, Query)| match query {
        Query::Silence(query) => query.walk.is_some(),
        _ => false,
    };
    assert_eq!(rig.asked.iter().filter(walks).count(), 8);
}
