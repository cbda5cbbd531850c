//! What left through a WireGuard device: nothing of it is seen below.

use std::sync::Arc;

use super::*;
use crate::{
    model::{Hook, Point, Verdict},
    node::{
        query::SilenceFacts,
        way::{Because, DroppedBy, End, Walked, Way},
        wireguard::{Encrypted, tests::peer},
    },
};

/// The verdict, with the last handshake so many seconds ago, and encrypted packets that end like this.
fn verdict(handshake: Option<u64>, end: Option<End>) -> Verdict {
    let mut rig = Rig::new();
    rig.walks = true;
    rig.syn();
    rig.pass(TIMEOUT + 2 * TICK);
    let walked = end.map(|end| Walked {
        world: Arc::default(),
        ways: vec![Way {
            steps: Vec::new(),
            end,
        }],
        ..Walked::default()
    });
    rig.answer(Some(Answer::Silence(Box::new(SilenceFacts {
        encrypted: Some(Encrypted {
            peer: peer(handshake),
            walked,
        }),
        ..SilenceFacts::default()
    }))));
    rig.attempts[0].verdict.clone().expect("a verdict")
}

fn dropped() -> End {
    let by = DroppedBy {
        text: "rule 1 of chain OUTPUT".to_owned(),
        by_policy: false,
        rejects: false,
        counter: None,
    };
    End::Dropped {
        netns: HOST,
        link: None,
        because: Because::Rule(Hook::Output, by),
    }
}

fn undecided() -> End {
    End::Undecided {
        netns: HOST,
        want: "a set".to_owned(),
    }
}

fn fixes(verdict: &Verdict) -> String {
    verdict.fix.iter().map(crate::model::Fix::text).collect()
}

#[test]
fn a_rule_against_the_encrypted_packets_is_named() {
    for handshake in [None, Some(5)] {
        let verdict = verdict(handshake, Some(dropped()));
        assert_eq!(verdict.point, Point::Overlay);
        let expected = "udp from 192.0.2.1:51820 to 192.0.2.2:51820 is dropped: OUTPUT drops it: \
                        rule 1 of chain OUTPUT";
        assert!(verdict.why.ends_with(expected), "{}", verdict.why);
    }
}

#[test]
fn a_peer_that_answers_no_handshake_is_named() {
    for (handshake, said) in [
        (None, "no handshake has succeeded"),
        (Some(400), "400 seconds ago"),
    ] {
        for end in [None, Some(undecided())] {
            let verdict = verdict(handshake, end);
            assert_eq!(verdict.point, Point::Overlay);
            assert!(verdict.why.contains("192.0.2.2:51820 does not answer"));
            assert!(verdict.why.contains(said), "{}", verdict.why);
            let opens = "let through udp from 192.0.2.1 to 192.0.2.2 port 51820";
            assert!(fixes(&verdict).contains(opens));
        }
    }
}

/// The keys hold, so that the tunnel works or did a moment ago.
#[test]
fn behind_a_tunnel_that_works_it_is_off_this_node() {
    let verdict = verdict(Some(30), None);
    assert_eq!(verdict.point, Point::OffNode);
    assert!(verdict.why.contains("WireGuard peer at 192.0.2.2:51820"));
    assert!(fixes(&verdict).contains("to 192.0.2.2 port 51820"));
}
