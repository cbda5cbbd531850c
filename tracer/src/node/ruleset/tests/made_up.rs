//! Rules as they come, walked through.

use super::{super::*, *};
use crate::node::ruleset::{
    iptables,
    model::{Backend, Family},
};

fn legacy(text: &str) -> Ruleset {
    Ruleset {
        tables: iptables::parse(text, Backend::Legacy, Family::Ip),
        nft_read: true,
        legacy_read: true,
        ..Ruleset::default()
    }
}

fn found(ruleset: &Ruleset, packet: &HookPacket) -> Vec<usize> {
    let suspects = ruleset.suspects(packet, Hint::Any);
    let numbers = suspects.rules.iter().map(|rule| rule.number.unwrap_or(0));
    numbers.collect()
}

const HOST: &str = "*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [7:700]
:mine - [0:0]
[0:0] -A FORWARD -i cali+ -p tcp -m tcp --dport 22 -j DROP
[1:60] -A FORWARD -s 10.0.0.0/8 -d 192.0.2.7/32 -p tcp -m multiport --dports 80,443,8000:8100 -j mine
[1:60] -A FORWARD -p udp -j ACCEPT
[1:60] -A FORWARD -m time --timestart 09:00:00 --timestop 17:00:00 -j ACCEPT
[1:60] -A mine -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m comment --comment \"no \\\"new\\\" ones\" -j REJECT --reject-with tcp-reset
[1:60] -A mine -j RETURN
COMMIT
";

#[test]
fn one_rule_or_the_policy() {
    let ruleset = legacy(HOST);
    let packet = syn("10.1.2.3", "192.0.2.7", 8050);
    let suspects = ruleset.suspects(&packet, Hint::Legacy);
    assert!(suspects.certain);
    let rule = &suspects.rules[0];
    assert_eq!(
        rule.describe(),
        "rule 1 of chain mine in table filter (iptables-legacy): `-A mine -p tcp -m tcp \
         --tcp-flags FIN,SYN,RST,ACK SYN -m comment --comment \"no \\\"new\\\" ones\" -j REJECT \
         --reject-with tcp-reset`"
    );
    let (apply, _) = fixes(&ruleset, &packet).remove(0);
    assert_eq!(
        apply,
        "iptables-legacy -t filter -I mine 1 -s 10.1.2.3 -d 192.0.2.7 -p tcp --dport 8050 -j \
         ACCEPT"
    );
    let elsewhere = syn("10.1.2.3", "192.0.2.8", 8050);
    let suspects = ruleset.suspects(&elsewhere, Hint::Legacy);
    assert_eq!(
        suspects.rules[0].describe(),
        "the drop policy of chain FORWARD in table filter (iptables-legacy)"
    );
    let (_, undo) = fixes(&ruleset, &elsewhere).remove(0);
    assert_eq!(
        undo.unwrap(),
        "iptables-legacy -t filter -D FORWARD -s 10.1.2.3 -d 192.0.2.8 -p tcp --dport 8050 -j \
         ACCEPT"
    );
    let udp = HookPacket {
        proto: 17,
        ..elsewhere
    };
    assert!(found(&ruleset, &udp).is_empty());
}

#[test]
fn interfaces_may_be_unknown() {
    let ruleset = legacy(HOST);
    let on = |iifname: Option<&str>| HookPacket {
        input: iifname.map(str::to_owned).into(),
        ..syn("10.1.2.3", "192.0.2.8", 22)
    };
    assert_eq!(found(&ruleset, &on(Some("cali123"))), [1]);
    assert_eq!(found(&ruleset, &on(Some("eth0"))), [0]);
    let mut suspects = ruleset.suspects(&on(None), Hint::Any);
    assert_eq!(suspects.rules.len(), 2);
    suspects.narrow_by_counters(&ruleset);
    assert!(suspects.certain);
    assert_eq!(suspects.rules[0].number, None);
}

#[test]
fn counters_that_moved_come_first() {
    let text = "*filter
:FORWARD ACCEPT [0:0]
[5:0] -A FORWARD -m string --algo bm --string \"x\" -j DROP
[5:0] -A FORWARD -m string --algo bm --string \"y\" -j DROP
COMMIT
";
    let packet = syn("10.1.2.3", "192.0.2.8", 22);
    let before = legacy(text);
    let after = legacy(&text.replacen(
        "[5:0] -A FORWARD -m string --algo bm --string \"y\"",
        "[6:0] -A FORWARD -m string --algo bm --string \"y\"",
        1,
    ));
    let counted = |ruleset: &Ruleset| {
        let mut suspects = ruleset.suspects(&packet, Hint::Legacy);
        suspects.narrow_by_counters(ruleset);
        suspects
    };
    let (earlier, mut suspects) = (counted(&before), counted(&after));
    assert_eq!(suspects.rules.len(), 2);
    assert!(suspects.are_open());
    suspects.narrow_since(&earlier);
    assert!(suspects.certain);
    assert_eq!(suspects.rules[0].number, Some(2));
}

#[test]
fn ports_are_not_looked_for_in_later_fragments() {
    let ruleset = legacy(
        "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -p tcp -m tcp ! --dport 22 -j DROP\n-A FORWARD -f -j \
         DROP\nCOMMIT\n",
    );
    let fragment = HookPacket {
        ends: Ends {
            sport: None,
            dport: None,
            ..syn("10.1.2.3", "192.0.2.8", 0).ends
        },
        is_later_fragment: true,
        ..syn("10.1.2.3", "192.0.2.8", 0)
    };
    assert_eq!(found(&ruleset, &fragment), [2]);
    assert_eq!(found(&ruleset, &syn("10.1.2.3", "192.0.2.8", 23)), [1]);
}

#[test]
fn a_table_asks_for_its_own_family() {
    let ruleset = legacy("*filter\n:FORWARD DROP [0:0]\nCOMMIT\n");
    assert!(found(&ruleset, &syn("2001:db8::1", "2001:db8::2", 80)).is_empty());
}

#[test]
fn dockers_policy_is_dockers() {
    let ruleset = legacy(
        "*filter\n:FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\nCOMMIT\n",
    );
    let packet = syn("10.1.2.3", "192.0.2.8", 23);
    let suspects = ruleset.suspects(&packet, Hint::Legacy);
    assert_eq!(suspects.rules[0].owner, Owner::Docker);
    assert!(suspects.certain);
    // Docker leaves the chain's other rules alone, so that a rule of the user's stays.
    let fixes = fixes(&ruleset, &packet);
    let [(rule, Some(_)), ..] = fixes.as_slice() else {
        panic!("{fixes:?}");
    };
    assert!(rule.contains("-A FORWARD -s 10.1.2.3 -d 192.0.2.8 -p tcp --dport 23 -j ACCEPT"));
}

#[test]
fn loops_and_missing_chains_end() {
    let ruleset = legacy(
        "*filter\n:FORWARD ACCEPT [0:0]\n:a - [0:0]\n-A FORWARD -j a\n-A a -j a\n-A a -j a\n-A a -j \
         nowhere\nCOMMIT\n",
    );
    let suspects = ruleset.suspects(&syn("10.1.2.3", "192.0.2.8", 23), Hint::Legacy);
    assert!(suspects.rules.is_empty() && !suspects.complete);
}

#[test]
fn the_zone_is_that_of_the_last_rule_in_front_of_conntrack() {
    let zoned = |rules: &str| {
        let text = format!("*raw\n:PREROUTING ACCEPT [0:0]\n{rules}\nCOMMIT\n");
        Ruleset {
            has_zones: true,
            ..legacy(&text)
        }
    };
    let packet = HookPacket {
        hook: Some(Hook::Prerouting),
        input: Device::Named("va".to_owned()),
        ..syn("10.1.2.3", "192.0.2.7", 80)
    };
    let zone = |rules: &str| zoned(rules).zone(&packet);
    assert_eq!(zone(""), Some(0));
    assert_eq!(zone("-A PREROUTING -i va -j CT --zone 7"), Some(7));
    assert_eq!(zone("-A PREROUTING -i vb -j CT --zone 7"), Some(0));
    assert_eq!(
        zone("-A PREROUTING -j CT --zone 7\n-A PREROUTING -i va -j CT --zone 8"),
        Some(8)
    );
    // A choice that depends on what is not known, and one of a single direction.
    assert_eq!(
        zone("-A PREROUTING -m time --timestart 09:00:00 -j CT --zone 7"),
        None
    );
    assert_eq!(zone("-A PREROUTING -j CT --zone mark"), None);
    assert_eq!(zone("-A PREROUTING -j CT --zone-orig 7"), None);
}

/// As felix writes them with flow logs: what denies has a log rule in front of it.
const CALICO: &str = "*filter
:FORWARD ACCEPT [0:0]
:cali-tw-cali1 - [0:0]
:cali-pi-_deny - [0:0]
[0:0] -A FORWARD -o cali1 -j cali-tw-cali1
[0:0] -A cali-tw-cali1 -j cali-pi-_deny
[0:0] -A cali-tw-cali1 -m comment --comment \"cali:end\" -m mark --mark 0x0/0x20000 -j NFLOG --nflog-prefix \"DPI|default\" --nflog-group 1
[0:0] -A cali-tw-cali1 -m comment --comment \"cali:drop\" -m mark --mark 0x0/0x20000 -j DROP
[0:0] -A cali-pi-_deny -p tcp -m tcp --dport 22 -j NFLOG --nflog-prefix \"DPI0|default.no-ssh\" --nflog-group 1
[0:0] -A cali-pi-_deny -p tcp -m tcp --dport 22 -j DROP
COMMIT
";

#[test]
fn calico_s_log_rules_name_the_decision() {
    let ruleset = legacy(CALICO);
    let decision = |port| {
        let packet = HookPacket {
            output: Some("cali1".to_owned()).into(),
            ..syn("10.1.2.3", "192.0.2.7", port)
        };
        let suspects = ruleset.suspects(&packet, Hint::Legacy);
        suspects.rules[0].decision.clone().unwrap_or_default()
    };
    assert_eq!(
        decision(22),
        "ingress rule 0 of policy default.no-ssh denies it"
    );
    assert_eq!(
        decision(80),
        "no policy of tier default admits it (ingress): its end denies"
    );
}

/// felix drops for its own settings, too.
#[test]
fn not_every_rule_of_calico_s_is_a_policy() {
    let meaning = |chain: &str, comment: &str| {
        let ruleset = legacy(&format!(
            "*filter\n:FORWARD ACCEPT [0:0]\n:{chain} - [0:0]\n-A FORWARD -j {chain}\n-A {chain} -m \
             comment --comment \"cali:x\" -m comment --comment \"{comment}\" -j DROP\nCOMMIT\n"
        ));
        let suspects = ruleset.suspects(&syn("10.1.2.3", "192.0.2.7", 80), Hint::Legacy);
        (suspects.rules[0].owner, suspects.rules[0].meaning)
    };
    let policy = (Owner::Calico, Meaning::PolicyEnforcement);
    for chain in ["cali-tw-cali1", "cali-pi-_deny", "cali-po-_deny"] {
        assert_eq!(meaning(chain, "Drop if no policies passed packet"), policy);
    }
    let encapsulated = "Drop VXLAN encapped packets originating in workloads";
    for (chain, comment) in [
        ("cali-from-wl-dispatch", "Unknown interface"),
        ("cali-to-wl-dispatch-1", "Unknown interface"),
        ("cali-wl-to-host", "Configured DefaultEndpointToHostAction"),
        (
            "cali-INPUT",
            "Drop IPv4 VXLAN packets from non-allowed hosts",
        ),
        ("cali-fw-cali1", encapsulated),
    ] {
        assert_eq!(
            meaning(chain, comment),
            (Owner::Calico, Meaning::Plain),
            "{chain}"
        );
    }
}

/// A workload's chain drops what conntrack calls invalid, which is no policy's doing.
#[test]
fn what_calico_drops_as_invalid_is_conntrack_s() {
    let ruleset = legacy(
        "*filter\n:FORWARD ACCEPT [0:0]\n:cali-tw-cali1 - [0:0]\n\
         -A FORWARD -o cali1 -j cali-tw-cali1\n\
         -A cali-tw-cali1 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
         -A cali-tw-cali1 -m conntrack --ctstate INVALID -j DROP\n\
         -A cali-tw-cali1 -m comment --comment \"cali:end\" -j DROP\nCOMMIT\n",
    );
    let dropped = |tracked| {
        let packet = HookPacket {
            output: Some("cali1".to_owned()).into(),
            tracked,
            tcp_flags: Some(0x10),
            ..syn("10.30.1.2", "10.244.1.4", 8080)
        };
        let suspects = ruleset.suspects(&packet, Hint::Legacy);
        assert!(suspects.certain);
        let rule = &suspects.rules[0];
        (rule.number, rule.owner, rule.meaning)
    };
    let (owner, invalid, policy) = (Owner::Calico, Meaning::Invalid, Meaning::PolicyEnforcement);
    assert_eq!(dropped(Tracked::Nothing), (Some(2), owner, invalid));
    assert_eq!(dropped(Tracked::New), (Some(3), owner, policy));
}

/// Users, too, call their chains `IN_…`: only beside the chains that lead to zones, it is firewalld's.
#[test]
fn a_chain_for_what_comes_in_need_not_be_firewallds() {
    let text = |name: &str| {
        format!(
            "*filter\n:INPUT ACCEPT [0:0]\n:{name} - [0:0]\n:IN_WEB - [0:0]\n-A INPUT -j {name}\n\
             -A {name} -j IN_WEB\n-A IN_WEB -p tcp -m tcp --dport 80 -j DROP\nCOMMIT\n"
        )
    };
    let owner = |name: &str| {
        let packet = HookPacket {
            hook: Some(Hook::Input),
            ..syn("10.1.2.3", "192.0.2.7", 80)
        };
        let suspects = legacy(&text(name)).suspects(&packet, Hint::Any);
        suspects.rules[0].owner
    };
    assert_eq!(owner("mine"), Owner::User);
    assert_eq!(owner("INPUT_ZONES"), Owner::Firewalld);
}
