//! Rules on either side of the hook's own NAT.

use super::*;

/// The node's own connection to a virtual address, in OUTPUT, as the drop shows it.
fn own(shown: Ends, reply: Ends, progress: Progress) -> HookPacket {
    let original = ends("10.30.2.1", 40000, "10.30.50.1", 443);
    let entry = Entry {
        original,
        reply: Some(reply),
        is_reply: false,
    };
    HookPacket {
        hook: Some(Hook::Output),
        input: Device::None,
        ends: shown,
        entry: Some(entry),
        nat: Translation::of_drop(Some(Hook::Output), shown, Some(entry), Some(progress)),
        ..forwarded(80)
    }
}

const FRESH: Progress = Progress {
    is_confirmed: false,
    source_done: false,
    destination_done: false,
};
const DESTINATION_DONE: Progress = Progress {
    destination_done: true,
    ..FRESH
};

#[test]
fn behind_dnat_the_rule_in_front_of_it_is_cleared() {
    let ruleset = case("1a");
    let shown = ends("10.30.2.1", 40000, "10.30.2.2", 80);
    let packet = own(shown, shown.reversed(), DESTINATION_DONE);
    names(&ruleset, &packet, "late", "maintenance");
    // Nothing but the entry's tuples is known.
    let entry = packet.entry;
    let nat = Translation::of_drop(Some(Hook::Output), shown, entry, None);
    names(
        &ruleset,
        &HookPacket { nat, ..packet },
        "late",
        "maintenance",
    );
}

#[test]
fn in_front_of_dnat_the_rule_behind_it_is_cleared() {
    let ruleset = case("1a");
    // The node speaks to the backend itself: the early rule drops that.
    let shown = ends("10.30.2.1", 40000, "10.30.2.2", 80);
    let entry = Entry {
        original: shown,
        reply: Some(shown.reversed()),
        is_reply: false,
    };
    let packet = HookPacket {
        entry: Some(entry),
        nat: Translation::of_drop(Some(Hook::Output), shown, Some(entry), Some(FRESH)),
        ..own(shown, shown.reversed(), FRESH)
    };
    // An entry means that it was past raw already, where conntrack is behind; so no rule is left
    // that drops in front of NAT.
    clears(&ruleset, &packet);
    let untracked = HookPacket {
        entry: None,
        tracked: Tracked::Nothing,
        nat: Translation::of_drop(Some(Hook::Output), shown, None, None),
        ..packet
    };
    let found = suspects(&ruleset, &untracked);
    assert_eq!(found.rules[0].chain, "early");
    assert!(!found.certain);
}

#[test]
fn where_only_one_side_of_nat_is_known_both_rules_are_left() {
    let ruleset = case("1a");
    let shown = ends("10.30.2.1", 40000, "10.30.2.2", 80);
    let packet = HookPacket {
        entry: None,
        tracked: Tracked::Unknown,
        nat: Translation::of_drop(Some(Hook::Output), shown, None, None),
        ..own(shown, shown.reversed(), FRESH)
    };
    let found = suspects(&ruleset, &packet);
    let chains: Vec<_> = found.rules.iter().map(|rule| &rule.chain).collect();
    assert_eq!(chains, ["early", "late"]);
    assert!(!found.certain);
}

#[test]
fn an_answer_is_translated_back_in_front_of_the_rule() {
    let ruleset = case("1b");
    let entry = Entry {
        original: ends("10.30.1.2", 40000, "10.30.2.2", 80),
        reply: Some(ends("10.30.2.2", 80, "10.30.2.1", 40000)),
        is_reply: true,
    };
    let shown = ends("10.30.2.2", 80, "10.30.1.2", 40000);
    let progress = Progress {
        is_confirmed: true,
        source_done: true,
        destination_done: true,
    };
    let packet = HookPacket {
        hook: Some(Hook::Prerouting),
        input: device("vb"),
        output: Device::None,
        ends: shown,
        tcp_flags: Some(0x12),
        tracked: Tracked::Established,
        entry: Some(entry),
        nat: Translation::of_drop(Some(Hook::Prerouting), shown, Some(entry), Some(progress)),
        ..forwarded(80)
    };
    names(&ruleset, &packet, "late", "no web answers");
    // Dropped in front of NAT, it shows the translated address.
    let shown = ends("10.30.2.2", 80, "10.30.2.1", 40000);
    let early = HookPacket {
        ends: shown,
        nat: Translation::of_drop(Some(Hook::Prerouting), shown, Some(entry), Some(progress)),
        ..packet
    };
    clears(&ruleset, &early);
}

#[test]
fn a_source_is_translated_behind_postrouting_rules() {
    let ruleset = case("nat-both-sides");
    let original = ends("10.30.1.2", 40000, "10.30.2.2", 80);
    let shown = ends("10.30.2.1", 40000, "10.30.2.2", 80);
    let entry = Entry {
        original,
        reply: Some(shown.reversed()),
        is_reply: false,
    };
    let progress = Progress {
        is_confirmed: false,
        source_done: true,
        destination_done: true,
    };
    let packet = HookPacket {
        hook: Some(Hook::Postrouting),
        ends: shown,
        entry: Some(entry),
        nat: Translation::of_drop(Some(Hook::Postrouting), shown, Some(entry), Some(progress)),
        ..forwarded(80)
    };
    names(&ruleset, &packet, "last", "translated");
    let nat = Translation::of_drop(
        Some(Hook::Postrouting),
        original,
        Some(Entry {
            reply: Some(original.reversed()),
            ..entry
        }),
        Some(Progress {
            source_done: false,
            ..progress
        }),
    );
    let before = HookPacket {
        ends: original,
        nat,
        ..packet
    };
    clears(&ruleset, &before);
}

#[test]
fn a_source_is_translated_behind_input_rules() {
    let ruleset = case("nat-input");
    let packet = |source: &str, port: u16, source_done: bool| {
        let original = ends("10.30.1.2", 40000, "10.30.1.1", port);
        let shown = ends(source, 40000, "10.30.1.1", port);
        let entry = Entry {
            original,
            reply: Some(shown.reversed()),
            is_reply: false,
        };
        let progress = Progress {
            source_done,
            ..DESTINATION_DONE
        };
        HookPacket {
            ends: shown,
            entry: Some(entry),
            nat: Translation::of_drop(Some(Hook::Input), shown, Some(entry), Some(progress)),
            ..delivered(port)
        }
    };
    names(
        &ruleset,
        &packet("10.30.1.2", 80, false),
        "sources",
        "clients",
    );
    names(
        &ruleset,
        &packet("10.30.9.9", 81, true),
        "late",
        "translated clients",
    );
    clears(&ruleset, &packet("10.30.1.2", 81, false));
    clears(&ruleset, &packet("10.30.9.9", 80, true));
}
