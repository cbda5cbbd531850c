//! How much work a drop is: looked at once, judged once, when it is known what the node says.

use super::*;
use crate::engine::work::Work;

fn work(noise_checks: u64, judgements: u64, name_lookups: u64) -> Work {
    Work {
        noise_checks,
        judgements,
        name_lookups,
        owner_lookups: 0,
    }
}

fn drops(rig: &Rig) -> Work {
    let [drops, _] = rig.engine.work();
    drops
}

fn attempts(rig: &Rig) -> Work {
    let [_, attempts] = rig.engine.work();
    Work {
        owner_lookups: 0,
        ..attempts
    }
}

fn owner_lookups(rig: &Rig) -> u64 {
    let [_, attempts] = rig.engine.work();
    attempts.owner_lookups
}

#[test]
fn a_shown_drop_is_judged_once_with_the_nodes_facts() {
    let mut rig = Rig::new();
    rig.drop(drop_of(1, "NETFILTER_DROP"));
    assert_eq!(drops(&rig), work(1, 0, 0), "it waits for the node");
    rig.answer(Some(Answer::Drop(Box::default())));
    assert_eq!(rig.shown(), [1]);
    // What the node says may make it noise after all.
    assert_eq!(drops(&rig), work(2, 1, 2));
}

#[test]
fn a_drop_that_the_node_says_nothing_of_is_judged_once() {
    let mut rig = Rig::new();
    rig.drop(drop_of(1, "TCP_CSUM"));
    assert_eq!(rig.shown(), [1]);
    assert_eq!(drops(&rig), work(1, 1, 2));
}

#[test]
fn its_record_and_its_attempt_share_the_verdict() {
    let mut rig = Rig::new();
    rig.syn();
    rig.drop(syn_drop(1, "NETFILTER_DROP"));
    rig.answer(Some(Answer::Drop(Box::default())));
    assert_eq!(drops(&rig), work(2, 1, 2));
    // The next one is its attempt's at once, and shown a second later.
    rig.drop(syn_drop(1, "NETFILTER_DROP"));
    assert_eq!(drops(&rig), work(4, 2, 4));
    rig.pass(1_100 * MILLISECOND);
    assert_eq!(rig.shown(), [1, 1]);
    assert_eq!(drops(&rig).judgements, 2);
    assert_eq!(rig.outcomes(), [Outcome::Unanswered]);
    // The attempt takes its drop's verdict, and only looks up its own ends.
    assert_eq!(attempts(&rig), work(0, 1, 2));
}

#[test]
fn a_drop_whose_verdict_is_not_wanted_is_not_judged() {
    let mut rig = Rig::new();
    rig.drop(drop_of(1, "TCP_CSUM"));
    for _ in 0..9 {
        rig.drop(drop_of(1, "TCP_CSUM"));
    }
    // What healthy traffic drops too.
    rig.drop(drop_of(2, "TCP_OLD_DATA"));
    assert_eq!(drops(&rig), work(11, 1, 2));
    rig.pass(1_100 * MILLISECOND);
    assert_eq!(rig.shown(), [1, 9]);
    assert_eq!(drops(&rig), work(11, 2, 4));
}

#[test]
fn alike_drops_ask_the_node_once() {
    let mut rig = Rig::new();
    for reason in 1..=3 {
        rig.drop(drop_of(reason, "NETFILTER_DROP"));
    }
    rig.answer(Some(Answer::Drop(Box::default())));
    assert_eq!(rig.shown(), [1, 1, 1]);
    rig.drop(drop_of(4, "NETFILTER_DROP"));
    assert_eq!(rig.shown(), [1, 1, 1, 1], "the answer still holds");
    rig.pass(10_000 * MILLISECOND);
    rig.drop(drop_of(5, "NETFILTER_DROP"));
    assert_eq!(rig.asked.len(), 1, "rules may have changed since");
}

#[test]
fn an_attempt_is_judged_once_for_each_outcome() {
    let mut rig = Rig::new();
    rig.syn();
    assert_eq!(attempts(&rig), work(0, 0, 0), "nothing is known yet");
    rig.syn_ack();
    rig.pass(5_000 * MILLISECOND);
    assert_eq!(rig.outcomes(), [Outcome::Answered]);
    assert_eq!(attempts(&rig), work(0, 1, 2));
}

#[test]
fn the_attempt_of_a_drop_is_looked_up_when_it_comes_and_when_it_is_judged() {
    let mut rig = Rig::new();
    rig.syn();
    rig.drop(syn_drop(1, "NETFILTER_DROP"));
    assert_eq!(owner_lookups(&rig), 1, "it waits for the node");
    rig.answer(Some(Answer::Drop(Box::default())));
    assert_eq!(owner_lookups(&rig), 2);
    // One that begins its attempt.
    let mut own = syn_drop(2, "TCP_CSUM");
    own.iif = 0;
    own.key.flow.sport += 1;
    rig.drop(own);
    assert_eq!(owner_lookups(&rig), 4);
    // One that is of no attempt.
    rig.drop(drop_of(3, "TCP_CSUM"));
    assert_eq!(owner_lookups(&rig), 5);
}
