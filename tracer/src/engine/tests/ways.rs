//! What the model of the node makes of a packet, and what the attempt's verdict makes of that.

use std::sync::Arc;

use super::*;
use crate::{
    model::{Confidence, Hook, Point, Verdict},
    node::{
        query::SilenceFacts,
        way::{
            Act, Because, Counted, DroppedBy, End, Others, Refused, Start, Step, Unanswered,
            Walked, Way,
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
        rejects: false,
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
fn counted(rig: &Rig, others: Others) -> Option<Counted> {
    rig.counted.map(|value| Counted {
        others,
        netns: ELSEWHERE,
        because: "a rule".to_owned(),
        counter: "its counter".to_owned(),
        value,
    })
}

/// The verdict of a rule that nothing is seen of, if its counter moves so far while the SYN is sent again.
fn verdict_by_counter(moved: u64) -> Verdict {
    verdict_by(moved, [Others::Rule; 2])
}

/// The same, for a counter that others move too, or may.
fn verdict_by(moved: u64, others: [Others; 2]) -> Verdict {
    let mut rig = rig();
    rig.counted = Some(7);
    syn_in(&mut rig);
    rig.pass(TIMEOUT / 2);
    let walked = Walked {
        counted: counted(&rig, others[0]),
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
    verdict_of(&mut rig, dropped(ELSEWHERE, by_rule), others[1])
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

#[test]
fn a_namespace_s_counter_confirms_only_where_no_other_packet_came_in() {
    let confidence = |moved, others| verdict_by(moved, others).confidence;
    let arrivals = |then, now| [Others::Arrivals(then), Others::Arrivals(now)];
    assert_eq!(confidence(1, arrivals(40, 41)), Confidence::Confirmed);
    assert_eq!(confidence(1, arrivals(40, 43)), Confidence::Likely);
    assert_eq!(confidence(1, [Others::Uncounted; 2]), Confidence::Likely);
    assert_eq!(confidence(2, arrivals(40, 41)), Confidence::Likely);
    let refuted = verdict_by(0, arrivals(40, 43));
    assert_eq!(refuted.point, Point::Unknown);
}

/// The verdict once the node has found that the packet comes in through the veth and ends like this.
fn verdict(rig: &mut Rig, end: End) -> Verdict {
    verdict_of(rig, end, Others::Rule)
}

fn verdict_of(rig: &mut Rig, end: End, others: Others) -> Verdict {
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
        counted: counted(rig, others),
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

/// A drop of the SYN that no rule for drops explains, at this hook.
fn unexplained_drop(hook: Option<Hook>) -> DropFacts {
    let mut facts = syn_drop(99, "NOT_SPECIFIED");
    facts.netns = Some(HOST);
    facts.hook = hook;
    facts.function = Some("some_module_hook".to_owned());
    facts
}

#[test]
fn a_drop_that_was_seen_where_the_model_ends_confirms_it() {
    let verdict_with = |seen: Option<DropFacts>| {
        let mut rig = rig();
        syn_in(&mut rig);
        if let Some(drop) = seen {
            rig.drop(drop);
        }
        let by_rule = Because::Rule(Hook::Forward, dropped_by("rule 1 of chain FORWARD"));
        verdict(&mut rig, dropped(HOST, by_rule))
    };
    let agrees = verdict_with(Some(unexplained_drop(Some(Hook::Forward))));
    assert_eq!(rule_of(&agrees), Some("way"));
    assert_eq!(
        (agrees.point, agrees.confidence),
        (Point::Firewall, Confidence::Confirmed)
    );
    // At another hook, or nowhere, it was not what the model says.
    for seen in [
        Some(unexplained_drop(Some(Hook::Input))),
        Some(unexplained_drop(None)),
        None,
    ] {
        let other = verdict_with(seen);
        assert_ne!(rule_of(&other), Some("way"), "{other:?}");
        assert_ne!(other.confidence, Confidence::Confirmed, "{other:?}");
    }
}

/// A Neighbor Solicitation for this address, dropped at this hook.
fn lost_solicitation(target: std::net::Ipv6Addr, hook: Hook) -> DropFacts {
    let mut bytes = vec![0x60, 0, 0, 0, 0, 24, 58, 255];
    bytes.extend("fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    bytes.extend(
        "ff02::1:ff00:9"
            .parse::<std::net::Ipv6Addr>()
            .unwrap()
            .octets(),
    );
    bytes.extend([135, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(target.octets());
    let mut facts = drop_of(7, "NETFILTER_DROP");
    facts.key.flow = Tuple {
        proto: protocol::ICMPV6,
        ..Tuple::default()
    };
    facts.flow = (&facts.key.flow).into();
    // Behind the SYN, whatever the rig's clock says.
    facts.at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(u32::MAX.into());
    facts.netns = Some(HOST);
    facts.hook = Some(hook);
    facts.wire = Some(Arc::new(crate::decode::drop::Wire {
        bytes,
        ..crate::decode::drop::Wire::default()
    }));
    facts
}

#[test]
fn a_question_that_was_seen_to_be_dropped_confirms_the_rule_that_drops_it() {
    let hop: std::net::Ipv6Addr = "fd00::9".parse().unwrap();
    let verdict_with = |lost: Option<DropFacts>| {
        let mut rig = rig();
        syn_in(&mut rig);
        if let Some(lost) = lost {
            rig.drop(lost);
            // What the node says of that drop does not matter.
            while !rig.asked.is_empty() {
                rig.answer(None);
            }
        }
        let waits = refused_question(hop.into());
        verdict(&mut rig, dropped(HOST, waits))
    };
    let seen = verdict_with(Some(lost_solicitation(hop, Hook::Forward)));
    assert_eq!(
        (seen.point, seen.confidence),
        (Point::Firewall, Confidence::Confirmed)
    );
    let other = "fd00::8".parse().unwrap();
    for lost in [
        None,
        Some(lost_solicitation(other, Hook::Forward)),
        Some(lost_solicitation(hop, Hook::Input)),
    ] {
        let verdict = verdict_with(lost);
        assert_eq!(verdict.confidence, Confidence::Likely, "{verdict:?}");
    }
}

/// A rule drops the question for this next hop.
fn refused_question(hop: std::net::IpAddr) -> Because {
    let unanswered = Unanswered {
        hop,
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
        misdirected: None,
        lacks_source: false,
    };
    Because::Unanswered(Box::new(unanswered))
}

#[test]
fn a_packet_that_waits_for_a_refused_question_is_the_rule_s() {
    let mut rig = rig();
    syn_in(&mut rig);
    let waits = dropped(HOST, refused_question(flow().dst.into()));
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
