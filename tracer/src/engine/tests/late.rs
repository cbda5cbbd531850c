//! Drops that were judged before the rules of their namespace were read.

use super::*;
use crate::{
    engine::SECOND,
    model::Point,
    node::{
        facts::NodeFacts,
        ruleset::{Hint, HookPacket, Ruleset, packet::Ends},
    },
};

/// While the rules are still being read.
fn unread() -> NodeFacts {
    NodeFacts {
        lacks_rules: true,
        generation: Some(7),
        ..NodeFacts::default()
    }
}

/// What the node says once it has read the one rule there is.
fn read() -> NodeFacts {
    let json = r#"{"nftables": [
        {"table": {"family": "inet", "name": "t"}},
        {"chain": {"family": "inet", "table": "t", "name": "f", "type": "filter",
          "hook": "forward", "prio": 0, "policy": "accept"}},
        {"rule": {"family": "inet", "table": "t", "chain": "f", "handle": 4,
          "expr": [{"drop": null}]}}]}"#;
    let ruleset = Ruleset::from_texts(json, "", "").expect("a ruleset");
    let ends = Ends {
        src: [10, 0, 0, 1].into(),
        dst: [192, 0, 2, 2].into(),
        sport: Some(40_000),
        dport: Some(80),
    };
    let packet = HookPacket {
        hook: Some(crate::model::Hook::Forward),
        ..HookPacket::new(ends, protocol::TCP)
    };
    NodeFacts {
        suspects: Some(ruleset.suspects(&packet, Hint::Any)),
        generation: Some(7),
        ..NodeFacts::default()
    }
}

/// What the node is asked of late drops, and how many of them there are.
fn asked(rig: &mut Rig) -> (QueryId, usize, Option<u32>) {
    match rig.asked.remove(0) {
        (id, Query::Rules { drops, generation }) => (id, drops.len(), generation),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_record_without_the_rules_is_corrected_once() {
    let mut rig = Rig::new();
    rig.syn();
    rig.drop(syn_drop(1, "NETFILTER_DROP"));
    rig.answer(Some(Answer::Drop(Box::new(unread()))));
    assert_eq!(rig.shown(), [1]);
    assert!(!rig.drops[0].verdict.why.contains("handle"));
    rig.pass(TICK);
    let (id, drops, generation) = asked(&mut rig);
    assert_eq!((drops, generation), (1, Some(7)));
    rig.pass(TIMEOUT);
    assert_eq!(rig.outcomes(), [Outcome::Unanswered]);
    rig.feed(Input::Answer(id, Some(Answer::Rules(vec![read()]))));
    let corrected = &rig.drops[1];
    assert!(
        corrected.verdict.why.contains("rule handle 4"),
        "{corrected:?}"
    );
    assert_eq!(
        (corrected.count, corrected.corrects),
        (0, Some(Point::Firewall))
    );
    // The attempt's verdict is that of its drop.
    let attempt = rig.attempts.last().expect("an attempt");
    assert_eq!(attempt.corrects, Some(Outcome::Unanswered));
    rig.pass(2 * SECOND);
    assert!(rig.asked.is_empty());
    let summary = rig.finish();
    assert_eq!((summary.drops, summary.shown), (1, 1));
    let verdicts = summary.verdicts.iter();
    let verdicts: Vec<_> = verdicts.map(|known| (known.count, &known.why)).collect();
    assert_eq!(verdicts.len(), 1, "{verdicts:?}");
    assert!(verdicts[0].0 == 1 && verdicts[0].1.contains("rule handle 4"));
}

#[test]
fn rules_that_say_no_more_correct_nothing() {
    let mut rig = Rig::new();
    rig.drop(drop_of(1, "NETFILTER_DROP"));
    rig.answer(Some(Answer::Drop(Box::new(unread()))));
    rig.pass(TICK);
    let (id, ..) = asked(&mut rig);
    rig.feed(Input::Answer(id, Some(Answer::Rules(vec![unread()]))));
    assert_eq!(rig.shown(), [1]);
}

/// Silence is no verdict on an attempt whose drop was seen, however long the node takes to say more.
#[test]
fn an_attempt_waits_for_the_verdict_on_its_drop() {
    let mut rig = Rig::new();
    rig.syn();
    rig.drop(syn_drop(1, "NETFILTER_DROP"));
    rig.pass(3 * TIMEOUT);
    assert_eq!(rig.outcomes(), []);
    rig.answer(Some(Answer::Drop(Box::new(read()))));
    rig.pass(2 * TICK);
    assert_eq!(rig.outcomes(), [Outcome::Unanswered]);
    let verdict = rig.attempts[0].verdict.as_ref().expect("a verdict");
    assert_eq!(verdict.point, Point::Firewall);
    assert_eq!(rig.attempts[0].corrects, None);
}

/// However many flows there are, one question about a namespace is open, and no record waits for it.
#[test]
fn while_rules_are_read_records_come_at_once() {
    const FLOWS: u32 = 100;
    let mut rig = Rig::new();
    rig.drop(drop_of(1, "NETFILTER_DROP"));
    rig.answer(Some(Answer::Drop(Box::new(unread()))));
    for flow in 2..=FLOWS {
        let mut facts = drop_of(flow, "NETFILTER_DROP");
        facts.flow.src = std::net::Ipv4Addr::from(flow).into();
        rig.drop(facts);
    }
    assert_eq!(rig.shown().len(), FLOWS as usize);
    let mut corrected = 0;
    for _ in 0..10 {
        rig.pass(SECOND);
        if rig.asked.is_empty() {
            break;
        }
        assert_eq!(rig.asked.len(), 1);
        let (id, drops, _) = asked(&mut rig);
        corrected += drops;
        let facts = (0..drops).map(|_| read()).collect();
        rig.feed(Input::Answer(id, Some(Answer::Rules(facts))));
    }
    assert_eq!(corrected, FLOWS as usize);
    let corrections = rig.drops.iter().filter(|drop| drop.corrects.is_some());
    assert_eq!(corrections.count(), FLOWS as usize);
}

/// Rules that could not be read after all are no reason to take a verdict back.
#[test]
fn an_answer_without_rules_corrects_nothing() {
    let mut rig = Rig::new();
    rig.drop(drop_of(1, "NETFILTER_DROP"));
    let before = NodeFacts {
        suspects: read().suspects,
        ..unread()
    };
    rig.answer(Some(Answer::Drop(Box::new(before))));
    assert!(rig.drops[0].verdict.why.contains("handle"));
    rig.pass(TICK);
    if !rig.asked.is_empty() {
        let (id, ..) = asked(&mut rig);
        let failed = NodeFacts::default();
        rig.feed(Input::Answer(id, Some(Answer::Rules(vec![failed]))));
    }
    assert_eq!(rig.shown(), [1]);
}
