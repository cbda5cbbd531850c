//! Counters, maps and marks.

use super::*;

#[test]
fn a_counter_behind_the_verdict_acquits_nothing() {
    let rule = names(
        &case("2"),
        &unsolicited(delivered(8080)),
        "incoming",
        "ct state vmap",
    );
    assert_eq!(rule.meaning, Meaning::Invalid);
    let ruleset = case("counter-places");
    let rule = names(&ruleset, &forwarded(80), "forward", "drops all");
    assert_eq!(rule.counter, None);
    names(&ruleset, &forwarded(81), "never", "does not count");
    names(&ruleset, &forwarded(82), "mapped", "fell through");
    clears(&ruleset, &forwarded(83));
}

#[test]
fn a_map_of_states_knows_the_packets_state() {
    let ruleset = case("3a");
    names(&ruleset, &delivered(8080), "incoming", "policy drop");
    let invalid = unsolicited(delivered(8080));
    let rule = names(&ruleset, &invalid, "incoming", "ct state vmap");
    assert_eq!(rule.meaning, Meaning::Invalid);
    assert_eq!(fixes(&ruleset, &invalid), []);
}

#[test]
fn a_named_map_of_states_and_maps_of_ports() {
    let ruleset = case("state-maps");
    let unmarked = |port| {
        let found = suspects(&ruleset, &forwarded(port));
        let texts = found.rules.into_iter().map(|rule| rule.text);
        texts
            .filter(|text| !text.contains("ct mark"))
            .collect::<Vec<_>>()
    };
    assert_eq!(unmarked(95), ["tcp dport 95 drop comment \"ninety-five\""]);
    assert_eq!(unmarked(96), ["policy drop"]);
    assert!(unmarked(80)[0].starts_with("tcp dport vmap"));
    let invalid = unsolicited(forwarded(80));
    names(&ruleset, &invalid, "forward", "policy drop");
    let untracked = HookPacket {
        tracked: Tracked::Untracked,
        ..forwarded(80)
    };
    names(&ruleset, &untracked, "forward", "ct state vmap @states");
}

#[test]
fn a_map_of_marks_knows_the_packets_mark() {
    let ruleset = case("3c");
    let marked = |mark| HookPacket {
        mark: Some(mark),
        ..forwarded(80)
    };
    names(&ruleset, &marked(2), "guests", "ct mark");
    names(&ruleset, &marked(1), "fw", "meta mark vmap");
    clears(&ruleset, &marked(3));
}

#[test]
fn marks_are_followed_through_both_marks() {
    let ruleset = case("marks");
    let marked = |mark, port| HookPacket {
        mark: Some(mark),
        ..forwarded(port)
    };
    names(&ruleset, &marked(0x102, 80), "two", "second zone");
    names(&ruleset, &marked(0x100, 443), "fw", "saved mark");
    // The first chain sets the bit on what comes by `va`, so no packet can show it unset.
    clears(&ruleset, &marked(0, 80));
    let other = HookPacket {
        input: device("vc"),
        ..marked(0, 80)
    };
    names(&ruleset, &other, "fw", "not from va");
}
