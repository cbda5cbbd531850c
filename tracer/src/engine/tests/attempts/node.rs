//! What the node is asked before an attempt counts as unanswered.

use super::*;

/// A SYN goes out to a pod of this node.
fn syn_to_pod(rig: &mut Rig) {
    let opens = Part::Opens(AttemptKey::Tcp(ISN), None);
    rig.see(VETH, Direction::Out, flow(), opens);
}

#[test]
fn a_listener_is_read_before_the_timeout_and_after_it() {
    let mut rig = Rig::new();
    syn_to_pod(&mut rig);
    rig.pass(TIMEOUT / 4 + TICK);
    let [(_, Query::ListenerBaseline(location))] = rig.asked.as_slice() else {
        panic!("{:?}", rig.asked);
    };
    assert_eq!(location.netns, ListenerNetns::Behind(None));
    assert_eq!(location.address, "192.0.2.2:80".parse().unwrap());
    let netns = NetnsRef::Inode(7);
    rig.answer(Some(Answer::ListenerBaseline(Some(ListenerBaseline {
        netns: netns.clone(),
        reading: None,
    }))));
    rig.pass(3 * TIMEOUT / 4);
    assert!(rig.asked.is_empty(), "a retransmission is still in flight");
    rig.pass(TICK);
    let [(_, Query::Silence(query))] = rig.asked.as_slice() else {
        panic!("{:?}", rig.asked);
    };
    let Some((_, Some(baseline))) = &query.listener else {
        panic!("{query:?}");
    };
    assert_eq!(baseline.netns, netns);
    assert!(rig.attempts.is_empty());
    rig.answer(Some(Answer::Silence(Box::default())));
    assert_eq!(rig.outcomes(), [Outcome::Unanswered]);
}

#[test]
fn an_answer_that_comes_meanwhile_decides() {
    let mut rig = Rig::new();
    syn_to_pod(&mut rig);
    rig.pass(TIMEOUT / 4 + TICK);
    rig.answer(None);
    rig.pass(TIMEOUT);
    assert_eq!(rig.asked.len(), 1);
    let answers = Part::Answers(AttemptKey::Tcp(ISN), None);
    rig.see(VETH, Direction::In, flow().reversed(), answers);
    rig.answer(Some(Answer::Silence(Box::default())));
    assert_eq!(rig.outcomes(), [Outcome::Answered]);
}

#[test]
fn a_packet_that_came_in_and_did_not_leave_may_wait_for_its_next_hop() {
    let mut rig = Rig::new();
    let opens = Part::Opens(AttemptKey::Tcp(ISN), None);
    rig.see(VETH, Direction::In, flow(), opens);
    rig.pass(TIMEOUT + 2 * TICK);
    let [(_, Query::Silence(query))] = rig.asked.as_slice() else {
        panic!("{:?}", rig.asked);
    };
    let Some((_, packet)) = &query.neighbor else {
        panic!("{query:?}");
    };
    assert_eq!(packet.iif, Some(VETH));
    rig.answer(Some(Answer::Silence(Box::default())));
    assert_eq!(rig.outcomes(), [Outcome::Unanswered]);
}

#[test]
fn what_waits_for_the_node_at_the_end_is_reported() {
    let mut rig = Rig::new();
    syn_to_pod(&mut rig);
    rig.pass(TIMEOUT + 2 * TICK);
    assert!(rig.attempts.is_empty());
    rig.finish();
    assert_eq!(rig.outcomes(), [Outcome::Unanswered]);
}

/// It waits for the drop behind it, while the node is still being asked about the silence before.
#[test]
fn a_refusal_that_waits_for_its_drop_is_no_silence() {
    let mut rig = Rig::new();
    syn_to_pod(&mut rig);
    rig.pass(TIMEOUT / 4 + TICK);
    rig.answer(None);
    rig.pass(TIMEOUT);
    assert_eq!(rig.asked.len(), 1);
    let refuses = Part::Refuses(AttemptKey::Tcp(ISN), 0);
    rig.see(VETH, Direction::In, flow().reversed(), refuses);
    rig.answer(Some(Answer::Silence(Box::default())));
    rig.pass(2 * TIMEOUT);
    assert_eq!(rig.outcomes(), [Outcome::Refused]);
}
