//! What kube-router and kube-proxy drop, by the rulesets of a real cluster.

use super::{super::*, *};
use crate::model::PolicyDirection;

fn only(suspects: &Suspects) -> &Suspect {
    let all: Vec<_> = suspects.rules.iter().map(Suspect::describe).collect();
    assert!(suspects.certain, "{all:#?}");
    &suspects.rules[0]
}

#[test]
fn everything_recorded_is_understood() {
    for (name, ruleset) in [
        ("n1", n1()),
        ("n1 iptables", n1_by_iptables()),
        ("n2", n2()),
    ] {
        assert_eq!(ruleset.gaps, [""; 0], "{name}");
    }
}

#[test]
fn kube_router_by_nftables() {
    // The policy admits 10.244.2.2 to port 8080, and nothing else.
    let ruleset = n1();
    let packet = syn("10.244.2.3", "10.244.1.2", 8080);
    let suspects = ruleset.suspects(&packet, Hint::Nft);
    let rule = only(&suspects);
    assert_eq!(
        rule.describe(),
        "rule handle 381 of chain KUBE-POD-FW-A4PCJ4B547ZC23LP in table ip \
         kube-router-filter-ipv4: `meta mark & 0x00010000 == 0x00000000 counter reject comment \"prod/server \
         reject\"`"
    );
    assert_eq!(rule.owner, Owner::KubeRouter);
    assert_eq!(rule.meaning, Meaning::PolicyEnforcement);
    assert_eq!(rule.pod.as_deref(), Some("prod/server"));
    assert_eq!(fixes(&ruleset, &packet), []);
    let other_port = syn("10.244.2.2", "10.244.1.2", 9090);
    only(&ruleset.suspects(&other_port, Hint::Nft));
    let admitted = syn("10.244.2.2", "10.244.1.2", 8080);
    assert!(ruleset.suspects(&admitted, Hint::Nft).rules.is_empty());
    let elsewhere = syn("10.244.2.3", "10.244.1.9", 8080);
    assert!(ruleset.suspects(&elsewhere, Hint::Nft).rules.is_empty());
}

#[test]
fn kube_router_by_iptables() {
    let ruleset = n1_by_iptables();
    let packet = HookPacket {
        mark: Some(0x20000),
        ..syn("10.244.2.3", "10.244.1.2", 8080)
    };
    let suspects = ruleset.suspects(&packet, Hint::Nft);
    let rule = only(&suspects);
    assert_eq!(
        rule.describe(),
        "rule 7 of chain KUBE-POD-FW-TDFRLRE4QCQVYMIA in table filter (iptables-nft): `-A \
         KUBE-POD-FW-TDFRLRE4QCQVYMIA -m comment --comment \"prod/server reject\" -m mark ! \
         --mark 0x10000/0x10000 -j REJECT --reject-with icmp-port-unreachable`"
    );
    assert_eq!(rule.meaning, Meaning::PolicyEnforcement);
    assert_eq!(rule.pod.as_deref(), Some("prod/server"));
    let admitted = syn("10.244.2.2", "10.244.1.2", 8080);
    assert!(ruleset.suspects(&admitted, Hint::Nft).rules.is_empty());
}

#[test]
fn without_conntracks_word_an_invalid_packet_is_possible() {
    let packet = HookPacket {
        tracked: Tracked::Unknown,
        ..syn("10.244.2.3", "10.244.1.2", 8080)
    };
    let suspects = n1().suspects(&packet, Hint::Nft);
    assert!(!suspects.certain);
    let meanings: Vec<_> = suspects.rules.iter().map(|rule| rule.meaning).collect();
    assert!(meanings.contains(&Meaning::Invalid), "{meanings:?}");
    assert!(meanings.contains(&Meaning::PolicyEnforcement));
}

#[test]
fn kube_proxy_by_iptables_has_no_endpoints() {
    for ruleset in [n1(), n1_by_iptables()] {
        let suspects = ruleset.suspects(&syn("10.244.1.9", "10.96.146.90", 80), Hint::Nft);
        let rule = only(&suspects);
        assert_eq!(rule.owner, Owner::KubeProxy);
        assert_eq!(rule.meaning, Meaning::NoEndpoints);
        assert_eq!(rule.service.as_deref(), Some("prod/empty"));
        assert_eq!(rule.chain, "KUBE-SERVICES");
    }
}

#[test]
fn kube_proxy_by_nftables_has_no_endpoints() {
    let suspects = n2().suspects(&syn("10.244.2.9", "10.96.146.90", 80), Hint::Nft);
    let rule = only(&suspects);
    assert_eq!(rule.chain, "reject-chain");
    assert_eq!(rule.meaning, Meaning::NoEndpoints);
    assert_eq!(rule.service.as_deref(), Some("prod/empty"));
}

#[test]
fn kube_proxy_by_nftables_has_no_such_port() {
    let suspects = n2().suspects(&syn("10.244.2.9", "10.96.146.90", 81), Hint::Nft);
    let rule = only(&suspects);
    assert_eq!(rule.meaning, Meaning::NoSuchService);
}

#[test]
fn kube_proxy_drops_what_conntrack_calls_invalid() {
    let packet = HookPacket {
        tracked: Tracked::Nothing,
        tcp_flags: Some(16),
        ..syn("10.244.1.9", "10.88.0.77", 80)
    };
    let suspects = n1().suspects(&packet, Hint::Nft);
    let rule = only(&suspects);
    assert_eq!(rule.owner, Owner::KubeProxy);
    assert_eq!(rule.chain, "KUBE-FORWARD");
    assert_eq!(rule.meaning, Meaning::Invalid);
}

#[test]
fn a_rule_that_counted_nothing_dropped_nothing() {
    let ruleset = n1();
    let packet = syn("10.244.2.3", "10.244.1.2", 8080);
    let mut suspects = ruleset.suspects(&packet, Hint::Nft);
    // The recording was made before the packet: nothing is left, which says that it is no proof.
    suspects.narrow_by_counters(&ruleset);
    assert_eq!(suspects.rules.len(), 1);
    assert!(!suspects.certain);
}

#[test]
fn nothing_is_certain_where_not_all_was_read() {
    let packet = syn("10.244.2.3", "10.244.1.2", 8080);
    let mut ruleset = n1();
    ruleset.legacy_read = false;
    assert!(ruleset.suspects(&packet, Hint::Nft).certain);
    assert!(!ruleset.suspects(&packet, Hint::Any).certain);
}

/// Policies of the second recording: `shop/cart-in` and `shop/cart2-extra` isolate `shop/cart-2`.
fn n2_with_policies() -> Ruleset {
    Ruleset::from_texts(recording!("n2-nft-policies.json"), "", "").unwrap()
}

#[test]
fn kube_routers_jumps_name_the_policies() {
    let ruleset = n2_with_policies();
    let suspects = ruleset.suspects(&syn("10.244.1.7", "10.244.2.3", 9090), Hint::Nft);
    let rule = only(&suspects);
    assert_eq!(rule.pod.as_deref(), Some("shop/cart-2"));
    let named = rule.policies.as_ref().expect("policies");
    assert_eq!(named.direction, PolicyDirection::Ingress);
    assert_eq!(named.names, ["shop/cart-in", "shop/cart2-extra"]);
    // By iptables' rules.
    let suspects = n1_by_iptables().suspects(&syn("10.244.2.3", "10.244.1.2", 8080), Hint::Nft);
    let named = only(&suspects).policies.as_ref().expect("policies");
    assert_eq!(named.direction, PolicyDirection::Ingress);
    // The first is about both directions, and compares no address.
    let names = ["prod/default-deny", "prod/server-allow-ok-8080"];
    assert_eq!(named.names, names);
}

#[test]
fn kube_proxy_by_nftables_drops_where_no_endpoint_is_here() {
    let ruleset = n2_with_policies();
    let suspects = ruleset.suspects(&syn("10.244.2.9", "10.96.2.7", 80), Hint::Nft);
    let rule = only(&suspects);
    assert_eq!(rule.meaning, Meaning::NoLocalEndpoints);
    assert_eq!(rule.service.as_deref(), Some("shop/itplocal:http"));
    let node_port = HookPacket {
        hook: Some(Hook::Input),
        ..syn("10.88.0.1", "10.88.0.12", 30081)
    };
    let suspects = ruleset.suspects(&node_port, Hint::Nft);
    let rule = only(&suspects);
    assert_eq!(rule.meaning, Meaning::NoLocalEndpoints);
    assert_eq!(rule.service.as_deref(), Some("shop/etplocal:http"));
}
