//! What is proposed lets the flow pass, and nothing else.

use super::*;

/// The lines that apply it.
fn lines(name: &str, packet: &HookPacket) -> Vec<String> {
    let all = fixes(&case(name), packet).into_iter();
    all.map(|(line, _)| line).collect()
}

#[track_caller]
fn remarks(name: &str, packet: &HookPacket) -> Vec<String> {
    let ruleset = case(name);
    let suspects = suspects(&ruleset, packet);
    ruleset.mend(&suspects, packet).remarks
}

fn ping() -> HookPacket {
    let packet = forwarded(0);
    HookPacket {
        proto: 1,
        tcp_flags: None,
        icmp: Some((8, 0)),
        ends: Ends {
            sport: None,
            dport: None,
            ..packet.ends
        },
        ..packet
    }
}

#[test]
fn the_protocol_is_always_asked_for() {
    assert_eq!(
        lines("11a", &ping()),
        [
            "iptables-nft -t filter -I FORWARD 2 -s 10.30.1.2 -d 10.30.2.2 -p icmp --icmp-type 8 -j \
          ACCEPT"
        ]
    );
    let gre = HookPacket {
        proto: 47,
        icmp: None,
        ..ping()
    };
    let found = lines("mend-any", &gre);
    assert!(found[0].contains("ip saddr 10.30.1.2 ip daddr 10.30.2.2 meta l4proto 47 accept"));
    // A fragment without ports would let through all of them.
    let fragment = HookPacket {
        is_later_fragment: true,
        ..forwarded(80)
    };
    assert_eq!(lines("mend-any", &fragment), [""; 0]);
}

#[test]
fn a_rule_stands_where_the_packet_comes_by() {
    let found = lines("11b", &forwarded(80));
    assert!(
        found[0].contains("nft insert rule inet fw forward position 5 "),
        "{found:?}"
    );
    assert_eq!(
        lines("11c", &forwarded(80)),
        [
            "iptables-nft -t filter -I FORWARD 3 -s 10.30.1.2 -d 10.30.2.2 -p tcp --dport 80 -j ACCEPT"
        ]
    );
    // A map that sends all new connections away, and a return for some only.
    let found = lines("mend-diverted", &forwarded(80));
    assert!(
        found[0].contains("nft insert rule inet t forward position 6 "),
        "{found:?}"
    );
    let found = lines("mend-diverted", &forwarded(7001));
    assert!(
        found[0].contains("nft insert rule inet t forward position 4 "),
        "{found:?}"
    );
}

#[test]
fn a_second_drop_is_not_kept_back() {
    let found = lines("11f", &forwarded(80));
    assert!(
        found[0].starts_with("nft insert rule inet first forward position 2 "),
        "{found:?}"
    );
    // Both directions of the second one.
    assert!(
        found[1].starts_with("nft add rule inet second forward "),
        "{found:?}"
    );
    let found = lines("7e", &delivered(8080));
    assert!(found[0].contains("inet ban early"), "{found:?}");
    assert!(found[1].contains("inet ban host"), "{found:?}");
    let said = remarks("mend-agents", &forwarded(80));
    assert!(
        said.iter()
            .any(|said| said.contains("behind it") && said.contains("KUBE-FIREWALL")),
        "{said:?}"
    );
}

#[test]
fn answers_need_their_own_rule() {
    let found = lines("11g", &forwarded(80));
    assert_eq!(found.len(), 2);
    assert!(
        found[1].contains(
            "nft add rule inet fw forward ip saddr 10.30.2.2 ip daddr 10.30.1.2 tcp sport 80 ct \
             state established accept"
        ),
        "{found:?}"
    );
    let host = lines("mend-host", &delivered(80));
    assert_eq!(host.len(), 2);
    assert!(
        host[1].contains(" out ") && host[1].contains("sport 80"),
        "{host:?}"
    );
}

#[test]
fn what_fits_no_connection_is_not_let_in() {
    let packet = unsolicited(forwarded(80));
    assert_eq!(lines("11e", &packet), [""; 0]);
    assert_eq!(lines("2", &unsolicited(delivered(8080))), [""; 0]);
    // Nor by the policy behind a ruleset that has nothing about it.
    assert_eq!(lines("11f", &unsolicited(forwarded(81))), [""; 0]);
}

#[test]
fn forged_senders_are_not_let_in() {
    let spoofed = HookPacket {
        host: Arc::new(Host {
            reverse_path: Some(false),
            ..(*node()).clone()
        }),
        ..forwarded(80)
    };
    let found = lines("6a", &spoofed);
    assert!(
        found.iter().all(|line| !line.starts_with("nft")),
        "{found:?}"
    );
    assert!(found[0].contains("route"), "{found:?}");
    assert_eq!(lines("mend-spoof", &forwarded(80)), [""; 0]);
    assert_eq!(
        lines(
            "mac-sets",
            &HookPacket {
                src_mac: Some([2, 0x30, 0, 0, 0, 9]),
                ..forwarded(80)
            }
        ),
        [""; 0]
    );
}

#[test]
fn interface_and_mark_of_the_rule_are_kept() {
    let marked = HookPacket {
        mark: Some(0x12),
        ..forwarded(80)
    };
    let found = lines("mend-kept", &marked);
    assert!(
        found[0].contains("iifname va ip saddr 10.30.1.2 ip daddr 10.30.2.2 tcp dport 80 meta mark and 0xf == 0x2 accept"),
        "{found:?}"
    );
    let unknown = HookPacket {
        input: Device::Unknown,
        ..marked
    };
    assert!(
        lines("mend-kept", &unknown)
            .iter()
            .all(|line| line.contains("iifname"))
    );
}

#[test]
fn names_that_nft_would_execute_make_no_command() {
    let mut ruleset = case("11f");
    let evil = "ok accept; add table inet pasted; #";
    ruleset.tables[0].chains[0].name = evil.to_owned();
    let packet = forwarded(80);
    assert_eq!(fixes(&ruleset, &packet), []);
    let mut ruleset = case("6a");
    ruleset.tables[0].name = "x\"; flush ruleset".to_owned();
    assert_eq!(fixes(&ruleset, &packet), []);
}

#[test]
fn each_undo_finds_its_own_rule_only() {
    let undo = |port: u16| fixes(&case("11g"), &forwarded(port)).remove(0).1.unwrap();
    assert_ne!(undo(80), undo(81));
    assert!(undo(80).contains("whydrop-tcp-80-"));
}
