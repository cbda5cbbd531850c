//! Two pods behind a bridge, one of which asks for an address.

use super::*;
use crate::{
    model::{Apply, Undo},
    net::{Ipv4Settings, PortState, tests::rule},
    node::world::{
        Kind,
        build::{Build, id},
    },
};

/// Pod 2 asks for the address of pod 3.
const HELD: &str = "10.0.1.3";

fn pods() -> Build {
    let mut build = Build::two_pods();
    for netns in 1..=3 {
        let of_ipv6 = crate::net::Rule {
            is_ipv4: false,
            ..rule(255)
        };
        build.rules(netns, &[rule(255), of_ipv6]);
    }
    build
}

fn question(address: &str, dst: &str) -> Unanswered<'static> {
    Unanswered {
        address: address.parse().unwrap(),
        from: Some((id(2, 2), "eth0")),
        dst: dst.parse().unwrap(),
        src: "10.0.1.2".parse().unwrap(),
        by: None,
    }
}

/// What explains it that pod 2 gets no answer for an address on its link.
fn explained(build: &Build, address: &str) -> Explanation {
    question(address, address).explain(Some(&build.world))
}

/// What is to be done, and what takes it back.
fn shown(fixes: &[Fix]) -> Vec<String> {
    let shown = fixes.iter().map(|fix| {
        let apply = match &fix.apply {
            Apply::Command(command) => command.to_string(),
            Apply::Advice(advice) => advice.clone(),
            other => format!("{other:?}"),
        };
        match &fix.undo {
            Some(Undo::Command(undo)) => format!("{apply} (undo: {undo})"),
            _ => apply,
        }
    });
    shown.collect()
}

/// An address that pod 3 has on another link, and `arp_ignore` at the one that is asked.
fn on_loopback(address: &str, own: u32, all: u64) -> Build {
    let mut build = pods();
    build.link(id(3, 1), "lo", Kind::Loopback);
    build.address(id(3, 1), address);
    build.at(id(3, 2)).ipv4 = Some(Ipv4Settings {
        arp_ignore: own,
        ..Ipv4Settings::default()
    });
    build.settings(3).arp_ignore = Some(all);
    build
}

#[test]
fn what_should_have_answered_is_not_explained() {
    let found = explained(&pods(), HELD);
    assert_eq!((found.point, found.confidence), (Point::Unknown, Possible));
    assert_eq!(
        found.why,
        "10.0.1.3 is an address of eth0 of network namespace n3, and did not answer (ARP or ND)"
    );
    assert!(found.fix.is_empty());
}

#[test]
fn what_is_in_the_way_is_named_and_removed() {
    let mut build = pods();
    for port in [2, 3] {
        build.port(id(1, port), 1).isolated = true;
    }
    let found = explained(&build, HELD);
    assert_eq!((found.point, found.confidence), (Point::Endpoint, Likely));
    assert!(found.why.ends_with("are both isolated"), "{}", found.why);
    assert!(shown(&found.fix)[0].contains("isolated off"));

    let mut build = pods();
    build.port(id(1, 3), 1).state = PortState::Blocking;
    let found = explained(&build, HELD);
    assert!(found.why.contains("in STP state"), "{}", found.why);
    assert!(found.fix.is_empty());

    // A link of the namespace that asks can be set up there; another one's owner has taken it down.
    let mut build = pods();
    build.at(id(2, 2)).up = false;
    assert!(shown(&explained(&build, HELD).fix)[0].contains("up"));
    let mut build = pods();
    build.at(id(3, 2)).up = false;
    let found = explained(&build, HELD);
    assert!(found.why.contains("is down"), "{}", found.why);
    assert!(found.fix.is_empty());

    let mut build = pods();
    build.at(id(1, 3)).port = None;
    build.at(id(1, 3)).master = None;
    let found = explained(&build, HELD);
    assert!(found.why.contains("a port of no bridge"), "{}", found.why);
    assert!(shown(&found.fix)[0].contains("master"));
}

#[test]
fn an_address_that_is_not_in_use_is_not_answered_for() {
    let mut build = pods();
    let flags = build.address(id(3, 2), "fd00::3");
    (flags.tentative, flags.dadfailed) = (true, true);
    let found = question("fd00::3", "fd00::3").explain(Some(&build.world));
    assert_eq!((found.point, found.confidence), (Point::Endpoint, Likely));
}

#[test]
fn all_holders_are_named() {
    let mut build = pods();
    build.pair((id(1, 4), "vc"), (id(4, 2), "eth0"));
    build.port(id(1, 4), 1);
    build.address(id(4, 2), HELD);
    let found = explained(&build, HELD);
    let both = "the address is held more than once: eth0 of network namespace n3; eth0 of network \
                namespace n4";
    assert_eq!(found.evidence, [both]);
    assert!(explained(&pods(), HELD).evidence.is_empty());
}

#[test]
fn a_holder_without_the_table_local_answers_for_nothing() {
    let mut build = pods();
    build.rules(3, &[rule(254)]);
    let found = explained(&build, HELD);
    assert_eq!((found.point, found.confidence), (Point::Route, Likely));
    assert!(shown(&found.fix)[0].contains("lookup local"));
    // As is one that asks for its own address.
    build.rules(2, &[rule(254)]);
    let found = explained(&build, "10.0.1.2");
    assert_eq!((found.point, found.confidence), (Point::Route, Confirmed));
    build.rules(2, &[rule(255)]);
    let found = explained(&build, "10.0.1.2");
    assert_eq!((found.point, found.confidence), (Point::Unknown, Possible));
}

#[test]
fn a_loopback_source_is_not_answered() {
    let asked = Unanswered {
        src: "127.0.0.1".parse().unwrap(),
        ..question(HELD, HELD)
    };
    let found = asked.explain(Some(&pods().world));
    assert_eq!((found.point, found.confidence), (Point::Route, Likely));
    assert!(found.why.contains("loopback"), "{}", found.why);
}

#[test]
fn a_setting_keeps_a_link_silent() {
    const VIP: &str = "10.0.9.9";
    let silent = |own, all| explained(&on_loopback(VIP, own, all), VIP);
    for (own, all, sentence) in [
        (
            1,
            0,
            "arp_ignore is 1 there, so it answers only for addresses of that interface",
        ),
        (
            0,
            2,
            "arp_ignore is 2 there, so it answers only for addresses of that interface",
        ),
        (8, 1, "arp_ignore is 8 there, so it answers for no address"),
    ] {
        let found = silent(own, all);
        assert_eq!((found.point, found.confidence), (Point::Endpoint, Likely));
        assert!(found.why.contains(sentence), "{}", found.why);
    }
    // The address does not have scope host; from 4 on, the kernel knows only 8.
    for own in [0, 3, 4] {
        let found = silent(own, 0);
        assert_eq!((found.point, found.confidence), (Point::Unknown, Possible));
        assert!(found.fix.is_empty());
    }
    let mut of_host = on_loopback(VIP, 3, 0);
    of_host.scope(3, libc::RT_SCOPE_HOST);
    let found = explained(&of_host, VIP);
    assert!(found.why.ends_with("for no address of scope host"));
}

#[test]
fn each_setting_that_counts_is_reset() {
    const VIP: &str = "10.0.9.9";
    let fixes = |own, all| shown(&explained(&on_loopback(VIP, own, all), VIP).fix);
    let [only] = &fixes(1, 0)[..] else {
        panic!("{:?}", fixes(1, 0));
    };
    assert!(only.contains("conf.eth0.arp_ignore=0"), "{only}");
    assert!(only.contains("conf.eth0.arp_ignore=1"), "{only}");
    let both = fixes(8, 1).join("\n");
    assert!(both.contains("conf.eth0.arp_ignore=8") && both.contains("conf.all.arp_ignore=1"));
}

#[test]
fn a_setting_keeps_the_holder_itself_silent() {
    let with = |arp_ignore| {
        let mut build = pods();
        build.at(id(3, 2)).ipv4 = Some(Ipv4Settings {
            arp_ignore,
            ..Ipv4Settings::default()
        });
        build
    };
    for answers in [0, 1, 2, 3] {
        assert_eq!(explained(&with(answers), HELD).confidence, Possible);
    }
    let found = explained(&with(8), HELD);
    assert_eq!((found.point, found.confidence), (Point::Endpoint, Likely));
    // From a host of another subnet.
    let mut build = with(2);
    build.address(id(2, 2), "10.0.8.2");
    let from_elsewhere = |src: &str| {
        let asked = Unanswered {
            src: src.parse().unwrap(),
            ..question(HELD, HELD)
        };
        asked.explain(Some(&build.world))
    };
    let found = from_elsewhere("10.0.8.2");
    assert_eq!(found.confidence, Likely);
    assert!(found.why.ends_with("to hosts of the same subnet"));
    // For a packet that is forwarded, it asks with one of its own.
    assert_eq!(from_elsewhere("192.0.2.1").confidence, Possible);
}

#[test]
fn of_ipv6_only_the_link_itself_answers() {
    let mut build = on_loopback("fd00:9::9", 0, 0);
    let found = explained(&build, "fd00:9::9");
    assert_eq!((found.point, found.confidence), (Point::Endpoint, Likely));
    assert!(
        found.why.contains("Neighbor Solicitations"),
        "{}",
        found.why
    );
    build.address(id(3, 2), "fd00:9::9");
    let found = explained(&build, "fd00:9::9");
    assert_eq!((found.point, found.confidence), (Point::Unknown, Possible));
}

#[test]
fn the_route_may_lead_to_the_wrong_link() {
    let mut build = Build::new();
    for pod in [2, 3] {
        build.pair((id(1, pod), "v"), (id(pod, 2), "eth0"));
        build.address(id(pod, 2), &format!("10.0.{pod}.2"));
        build.rules(pod, &[rule(255)]);
    }
    build.rules(1, &[rule(255)]);
    let asked = Unanswered {
        from: Some((id(1, 2), "v")),
        ..question("10.0.3.2", "10.0.3.2")
    };
    let found = asked.explain(Some(&build.world));
    assert_eq!((found.point, found.confidence), (Point::Route, Likely));
    assert!(
        found.why.contains("no bridge or cable leads there"),
        "{}",
        found.why
    );
}

#[test]
fn two_hosts_have_one_mac_address() {
    let mut build = pods();
    let mac = build.at(id(2, 2)).reported.mac.clone();
    build.at(id(3, 2)).reported.mac = mac;
    let found = explained(&build, HELD);
    assert_eq!((found.point, found.confidence), (Point::Endpoint, Likely));
    assert!(found.why.contains("have one MAC address"), "{}", found.why);
    // By its kind, an ipvlan interface has the address of what it is on.
    build.at(id(3, 2)).reported.kind = Kind::Ipvlan;
    assert_eq!(explained(&build, HELD).confidence, Possible);
}

#[test]
fn silence_of_what_is_nowhere_says_that() {
    let found = explained(&pods(), "10.0.1.77");
    assert_eq!((found.point, found.confidence), (Point::Endpoint, Likely));
    assert_eq!(
        found.why,
        "no host answers for 10.0.1.77 (ARP or ND) at eth0"
    );
    assert_eq!(
        found.evidence,
        ["no network namespace of this node has 10.0.1.77"]
    );
    // With a gap, that is not known.
    let mut build = pods();
    build.world.gaps.push("one was not read".to_owned());
    let in_part = explained(&build, "10.0.1.77");
    assert!(in_part.evidence.is_empty());
    assert_eq!(in_part.confidence, Possible);
    let behind = question("10.0.1.77", "192.0.2.1").explain(Some(&pods().world));
    assert!(
        behind.why.starts_with("the gateway 10.0.1.77 does not"),
        "{}",
        behind.why
    );
    let unread = question("10.0.1.77", "10.0.1.77").explain(None);
    assert_eq!((unread.why, unread.confidence), (found.why, Possible));
    assert!(unread.evidence.is_empty());
}

#[test]
fn a_proxy_needs_a_route_of_its_own() {
    let mut build = pods();
    build.at(id(1, 2)).ipv4 = Some(Ipv4Settings {
        proxy_arp: 1,
        ..Ipv4Settings::default()
    });
    let found = explained(&build, "169.254.1.1");
    assert!(found.evidence[0].contains("proxy_arp"), "{found:?}");
    assert!(shown(&found.fix)[0].contains("add a route to 169.254.1.1"));
    assert!(explained(&pods(), "169.254.1.1").fix.is_empty());
}
