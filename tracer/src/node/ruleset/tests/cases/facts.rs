//! What is known of the packet and of the host, and has to be used.

use super::*;
use crate::node::ruleset::packet::Ports;

fn udp(packet: HookPacket) -> HookPacket {
    HookPacket {
        proto: 17,
        tcp_flags: None,
        ..packet
    }
}

#[test]
fn a_bare_port_in_an_ipset_is_of_any_protocol() {
    let ruleset = case("4");
    names(&ruleset, &udp(delivered(30123)), "INPUT", "-p udp");
    clears(&ruleset, &udp(delivered(30124)));
    clears(&ruleset, &delivered(30123));
}

#[test]
fn a_port_is_asked_for_without_a_protocol() {
    let ruleset = case("bare-ports");
    // By the source's port.
    for packet in [forwarded(80), udp(forwarded(80))] {
        let from = |sport| HookPacket {
            ends: ends("10.30.1.2", sport, "10.30.2.2", 80),
            ..packet.clone()
        };
        names(
            &ruleset,
            &from(30123),
            "FORWARD",
            "--match-set open-ports src",
        );
        clears(&ruleset, &from(30124));
    }
    // By nft, of any protocol that has ports there.
    for packet in [delivered(30123), udp(delivered(30123))] {
        names(&ruleset, &packet, "incoming", "th dport @open_ports");
    }
    for packet in [delivered(30124), udp(delivered(30124))] {
        clears(&ruleset, &packet);
    }
}

#[test]
fn ipsets_of_every_kind() {
    let ruleset = case("ipsets");
    names(&ruleset, &udp(forwarded(53)), "FORWARD", "by-port");
    clears(&ruleset, &forwarded(53));
    names(&ruleset, &forwarded(81), "FORWARD", "by-net");
    let other = HookPacket {
        ends: ends("10.30.9.9", 40000, "10.30.2.2", 82),
        ..forwarded(82)
    };
    names(&ruleset, &other, "FORWARD", "masked");
    let excepted = HookPacket {
        ends: ends("10.30.9.130", 40000, "10.30.2.2", 83),
        ..forwarded(83)
    };
    clears(&ruleset, &excepted);
    let back_in = HookPacket {
        ends: ends("10.30.9.131", 40000, "10.30.2.2", 83),
        ..excepted
    };
    names(&ruleset, &back_in, "FORWARD", "holes");
    names(&ruleset, &forwarded(84), "FORWARD", "by-iface");
    let elsewhere = HookPacket {
        input: device("vb"),
        ..forwarded(84)
    };
    clears(&ruleset, &elsewhere);
}

#[test]
fn an_interface_on_the_other_side_is_known() {
    let ruleset = case("6a");
    names(
        &ruleset,
        &forwarded(80),
        "forward",
        "no web to the backends",
    );
    // Also where only the names of those that exist are known: `ppp0` is not among them.
    let unknown = HookPacket {
        output: Device::Unknown,
        ..forwarded(80)
    };
    names(&ruleset, &unknown, "forward", "no web to the backends");
    let nothing_known = HookPacket {
        host: Arc::default(),
        ..unknown
    };
    assert_eq!(suspects(&ruleset, &nothing_known).rules.len(), 3);
    names(&case("6b"), &forwarded(80), "FWDO_dmz", "host-prohibited");
    names(&case("6c"), &forwarded(80), "STAGE-2", "-o vb");
    let own = HookPacket {
        hook: Some(Hook::Output),
        input: Device::None,
        ..forwarded(80)
    };
    names(&case("6d"), &own, "out", "oifname \"vb\"");
    let leaving = HookPacket {
        hook: Some(Hook::Postrouting),
        ..forwarded(80)
    };
    names(&case("6e"), &leaving, "post", "oifname \"vb\"");
}

#[test]
fn interfaces_in_sets_and_by_prefix() {
    let ruleset = case("interfaces");
    names(&ruleset, &forwarded(80), "forward", "@inside . ");
    names(&ruleset, &forwarded(81), "forward", "oifname \"v*\"");
    clears(&ruleset, &forwarded(82));
    let own = HookPacket {
        hook: Some(Hook::Output),
        input: Device::None,
        ..forwarded(83)
    };
    names(&ruleset, &own, "out", "iifname != \"lo\"");
}

#[test]
fn an_address_is_of_the_type_that_its_hook_and_routes_say() {
    names(&case("7a"), &delivered(8080), "INPUT", "policy drop");
    names(&case("7b"), &delivered(80), "incoming", "tcp dport 80");
    // Where nothing is known of the host, the hook says it: TCP reaches a local address only.
    let unknown = HookPacket {
        host: Arc::default(),
        ..delivered(80)
    };
    names(&case("7b"), &unknown, "incoming", "tcp dport 80");
    let ruleset = case("address-types");
    names(
        &ruleset,
        &forwarded(80),
        "forward",
        "fib saddr type != local",
    );
    let broadcast = HookPacket {
        ends: ends("10.30.1.2", 40000, "255.255.255.255", 67),
        ..udp(delivered(67))
    };
    names(&ruleset, &broadcast, "incoming", "fib daddr type broadcast");
    let multicast = HookPacket {
        ends: ends("10.30.1.2", 40000, "224.0.0.251", 5353),
        ..udp(delivered(5353))
    };
    names(&ruleset, &multicast, "incoming", "pkttype multicast");
    clears(&ruleset, &delivered(80));
}

#[test]
fn headers_are_read() {
    let ruleset = case("7c");
    names(&ruleset, &forwarded(80), "forward", "tcp dport 80");
    let low = HookPacket {
        header: Some(header(6, 2, 60)),
        ..forwarded(81)
    };
    names(&ruleset, &low, "forward", "ip ttl");
    let long = HookPacket {
        header: Some(header(6, 64, 1400)),
        ..forwarded(81)
    };
    names(&ruleset, &long, "forward", "ip length");
    let unread = HookPacket {
        header: None,
        ..forwarded(80)
    };
    assert_eq!(suspects(&ruleset, &unread).rules.len(), 4);
}

#[test]
fn headers_are_read_by_iptables_matches() {
    let ruleset = case("header-matches");
    let with = |ttl, len: u16, port| HookPacket {
        header: Some(header(6, ttl, len)),
        len: Some(len.into()),
        ..forwarded(port)
    };
    names(&ruleset, &with(1, 60, 80), "FORWARD", "ttl");
    names(&ruleset, &with(64, 1300, 80), "FORWARD", "length");
    names(&ruleset, &with(64, 60, 81), "FORWARD", "--dport 81");
    clears(&ruleset, &with(64, 60, 82));
    let mut header = (*header(6, 64, 60)).clone();
    header.bytes[1] = 46 << 2;
    let expedited = HookPacket {
        header: Some(Arc::new(header)),
        ..forwarded(443)
    };
    names(&case("header-fields"), &expedited, "forward", "ip dscp ef");
    clears(&case("header-fields"), &forwarded(443));
}

#[test]
fn a_packet_has_no_fields_of_another_protocol() {
    names(&case("7d"), &forwarded(80), "forward", "tcp dport 80");
    let ruleset = case("foreign-fields");
    names(&ruleset, &forwarded(80), "forward", "tcp dport 80");
    let ping = HookPacket {
        proto: 1,
        tcp_flags: None,
        icmp: Some((8, 0)),
        ends: Ends {
            sport: None,
            dport: None,
            ..forwarded(0).ends
        },
        header: Some(header(1, 64, 84)),
        ..forwarded(0)
    };
    names(&ruleset, &ping, "forward", "icmp type echo-request");
}

#[test]
fn an_element_older_than_the_drop_was_there() {
    let ruleset = case("7e");
    let rule = names(&ruleset, &delivered(8080), "early", "@banned");
    assert_eq!(rule.priority, -5);
    let other = HookPacket {
        ends: ends("10.30.1.3", 40000, "10.30.1.1", 8080),
        ..delivered(8080)
    };
    names(&ruleset, &other, "host", "policy drop");
    let aging = case("aging-sets");
    names(&aging, &delivered(80), "incoming", "@old");
    // An element that has just come may be younger than the drop.
    assert!(!suspects(&aging, &delivered(81)).certain);
    // So may one that rules put in; and one that stays for seconds may have gone.
    assert!(!suspects(&aging, &delivered(82)).certain);
    assert!(!suspects(&aging, &delivered(83)).certain);
    let other = HookPacket {
        ends: ends("10.30.1.3", 40000, "10.30.1.1", 82),
        ..delivered(82)
    };
    names(&aging, &other, "incoming", "policy drop");
}

#[test]
fn exceptions_and_lists_of_sets() {
    names(&case("7f"), &forwarded(80), "FORWARD", "--match-set both");
    let other = HookPacket {
        ends: ends("10.30.0.7", 40000, "10.30.2.2", 80),
        ..forwarded(80)
    };
    names(&case("7f"), &other, "FORWARD", "--match-set lan");
}

fn bridged(mac: u8) -> HookPacket {
    HookPacket {
        ends: ends("10.30.2.9", 40000, "10.30.2.2", 80),
        input: device("qbr9"),
        output: device("qbr9"),
        ports: Ports::Bridged {
            input: device("port9"),
            output: device("tap9"),
        },
        src_mac: Some([2, 0x30, 0, 0, 0, mac]),
        ..forwarded(80)
    }
}

#[test]
fn bridge_ports_and_mac_addresses() {
    let ruleset = case("7g");
    names(&ruleset, &bridged(9), "pm-none", "-j DROP");
    names(&ruleset, &bridged(8), "pm-spoof9", "wrong MAC address");
    let routed = HookPacket {
        ports: Ports::None,
        ..bridged(9)
    };
    clears(&ruleset, &routed);
    let by_set = case("mac-sets");
    names(
        &by_set,
        &bridged(9),
        "forward",
        "ether saddr 02:30:00:00:00:09",
    );
    clears(&by_set, &bridged(7));
}

#[test]
fn in_front_of_conntrack_nothing_is_invalid() {
    let ruleset = case("7h");
    let spoofed = |reverse_path| HookPacket {
        hook: Some(Hook::Prerouting),
        output: Device::None,
        ends: ends("10.30.77.7", 40000, "10.30.2.2", 80),
        tracked: Tracked::Nothing,
        host: Arc::new(Host {
            reverse_path,
            ..(*node()).clone()
        }),
        ..forwarded(80)
    };
    names(&ruleset, &spoofed(Some(false)), "spoof", "fib saddr");
    names(&ruleset, &spoofed(Some(true)), "broken", "ct state invalid");
    assert_eq!(suspects(&ruleset, &spoofed(None)).rules.len(), 2);
    let early = case("early-states");
    names(&early, &spoofed(Some(true)), "raw", "ct state invalid");
    let untracked = HookPacket {
        tracked: Tracked::Untracked,
        ends: ends("10.30.1.2", 40000, "10.30.2.2", 8080),
        ..spoofed(Some(true))
    };
    names(&early, &untracked, "later", "ct state untracked");
}

#[test]
fn a_rule_of_which_all_is_known_comes_first() {
    let found = suspects(&case("9"), &forwarded(80));
    let numbers: Vec<_> = found.rules.iter().filter_map(|rule| rule.number).collect();
    assert_eq!(numbers[0], 5);
    assert_eq!(numbers.len(), 5);
    assert!(!found.certain);
    let found = suspects(&case("open-conditions"), &forwarded(80));
    let numbers: Vec<_> = found.rules.iter().filter_map(|rule| rule.number).collect();
    assert_eq!(numbers, [3, 2, 1]);
    let found = suspects(&case("open-conditions-nft"), &forwarded(80));
    let texts: Vec<_> = found.rules.iter().map(|rule| rule.text.as_str()).collect();
    let [plain, _, _] = texts.as_slice() else {
        panic!("{texts:?}");
    };
    assert!(plain.contains("tcp dport 80"), "{texts:?}");
    assert!(!found.certain);
}
