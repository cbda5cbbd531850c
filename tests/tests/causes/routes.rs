//! A route that is not there, or one that catches what has lost its own, or a way back that policy
//! rules lead elsewhere.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

/// Two pods with a route each, and the blackhole that a routing daemon sets for their block
/// (projectcalico/calico#2612).
fn block(is_whole: bool) -> Result<Report> {
    let stage = Stage::new(["p", "q", "node"])?;
    for (role, port, address) in [("p", "calip", "10.20.1.2"), ("q", "caliq", "10.20.1.3")] {
        stage.veth((role, "eth0"), ("node", port))?;
        stage.ip(
            role,
            &format!(
                "addr add {address}/32 dev eth0; route add 169.254.1.1 dev eth0 scope link; route \
                 add default via 169.254.1.1 dev eth0; neigh add 169.254.1.1 lladdr \
                 02:00:00:00:00:11 dev eth0"
            ),
        )?;
        stage.ip(
            "node",
            &format!(
                "link set {port} address 02:00:00:00:00:11; route add {address}/32 dev {port} \
                 scope link"
            ),
        )?;
    }
    stage.ip(
        "node",
        "addr add 10.20.10.5/24 dev lo; route add blackhole 10.20.1.0/26 proto bird",
    )?;
    if !is_whole {
        stage.ip("node", "route del 10.20.1.3/32 dev caliq")?;
    }
    stage.sysctl("node", "net.ipv4.ip_forward=1")?;
    stage.serve("q", "10.20.1.3:8080")?;
    let end = if is_whole { End::Answered } else { End::Silent };
    stage.trace(["node", "p"], "10.20.1.3:8080", |watch| {
        watch.dial("p", "10.20.1.3:8080")?.ends(end)
    })
}

#[test]
fn pod_has_lost_its_route() -> Result<()> {
    block(false)?.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("route", "confirmed")
            .why("10.20.1.3 has no route of its own")
            .evidence("normal")
            .fix("ip route add 10.20.1.3 dev caliq scope link")
            .never_says(["ip route del blackhole"]),
    )?;
    Ok(())
}

/// No pod is behind it: the daemon's route still is not the thing to delete.
#[test]
fn block_of_a_daemon_without_the_pod() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.ip(
        "node",
        "route add blackhole 10.20.7.0/26 proto bird; addr del 10.20.2.1/24 dev vb",
    )?;
    let report = stage.trace(["node", "a"], "10.20.7.7:8080", |watch| {
        watch.dial("a", "10.20.7.7:8080")?.ends(End::Silent)
    })?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("route", "confirmed")
            .why("blackhole 10.20.7.0/26")
            .fix("do not delete the block's"),
    )?;
    Ok(())
}

/// A person's blackhole is deleted, and comes back with all of its attributes.
#[test]
fn blackhole_of_a_person() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.ip("node", "route add blackhole 10.20.7.0/26 metric 77")?;
    let report = stage.trace(["node", "a"], "10.20.7.7:8080", |watch| {
        watch.dial("a", "10.20.7.7:8080")?.ends(End::Silent)
    })?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("route", "confirmed")
            .why("blackhole 10.20.7.0/26")
            .fix("ip route add blackhole 10.20.7.0/26 metric 77"),
    )?;
    Ok(())
}

/// A refusal for all that no other route takes, as some distributions have it.
fn last_resort(has_default: bool, end: End) -> Result<Report> {
    let stage = Stage::routed_pods()?;
    stage.ip("node", "route add unreachable default metric 4278198272")?;
    stage.ip("b", "addr add 10.20.7.7/32 dev lo")?;
    if has_default {
        stage.ip("node", "route add default via 10.20.2.3")?;
    }
    stage.serve("b", "10.20.7.7:8080")?;
    stage.trace(["node", "a"], "10.20.7.7:8080", |watch| {
        watch.dial("a", "10.20.7.7:8080")?.ends(end)
    })
}

#[test]
fn only_the_last_resort_is_left() -> Result<()> {
    last_resort(false, End::Failed(libc::EHOSTUNREACH))?
        .outcome("rejected")?
        .verdict(
            &ExpectedVerdict::new("route", "confirmed")
                .evidence("the last resort")
                .fix("add the route to 10.20.7.7 that is missing")
                .never_says(["ip route del unreachable"]),
        )?;
    Ok(())
}

#[test]
fn last_resort_behind_a_default_route() -> Result<()> {
    last_resort(true, End::Answered)?.silent().map(drop)
}

/// A `throw` ends the search in its table: the wider route there is not used.
fn thrown(end: End) -> Result<Report> {
    let stage = Stage::routed_pods()?;
    stage.ip(
        "node",
        "addr del 10.20.2.1/24 dev vb; addr add 10.20.2.1/32 dev vb; route add 10.20.0.0/16 dev vb",
    )?;
    stage.serve("b", "10.20.2.3:8080")?;
    if end != End::Answered {
        stage.ip("node", "route add throw 10.20.2.0/24")?;
    }
    stage.trace(["node", "a"], "10.20.2.3:8080", |watch| {
        watch.dial("a", "10.20.2.3:8080")?.ends(end)
    })
}

#[test]
fn search_is_ended_by_a_throw() -> Result<()> {
    let report = thrown(End::Failed(libc::ENETUNREACH))?;
    report.outcome("rejected")?.verdict(
        &ExpectedVerdict::new("route", "confirmed")
            .why("the route throw 10.20.2.0/24 ends the search in table main")
            .fix("ip route del throw 10.20.2.0/24"),
    )?;
    Ok(())
}

#[test]
fn wider_route_is_used_without_a_throw() -> Result<()> {
    thrown(End::Answered)?.silent().map(drop)
}

/// Router advertisements are ignored once the node forwards (k3s-io/k3s#5019).
fn advertised(has_route: bool) -> Result<Report> {
    let stage = Stage::with_ipv6(["p", "node", "rt"])?;
    stage.veth(("p", "eth0"), ("node", "v"))?;
    stage.veth(("node", "eth0"), ("rt", "n0"))?;
    stage.ip(
        "node",
        "addr add fd20:1::1/64 dev v nodad; addr add fd20:9::5/64 dev eth0 nodad",
    )?;
    stage.ip(
        "p",
        "addr add fd20:1::2/64 dev eth0 nodad; route add default via fd20:1::1",
    )?;
    stage.ip(
        "rt",
        "addr add fd20:9::1/64 dev n0 nodad; addr add fd20:8::9/128 dev lo; route add fd20:1::/64 \
         via fd20:9::5",
    )?;
    stage.sysctl("node", "net.ipv6.conf.all.forwarding=1")?;
    if has_route {
        stage.ip("node", "route add default via fd20:9::1")?;
    }
    stage.serve("rt", "[fd20:8::9]:8080")?;
    stage.trace(["node", "p"], "[fd20:8::9]:8080", |watch| {
        watch.dial("p", "[fd20:8::9]:8080")
    })
}

#[test]
fn advertisements_are_ignored() -> Result<()> {
    advertised(false)?.verdict(
        &ExpectedVerdict::new("route", "confirmed")
            .why("no route to fd20:8::9")
            .evidence("accept_ra is 1")
            .fix("net.ipv6.conf.eth0.accept_ra=2"),
    )?;
    Ok(())
}

/// The way back to a client is another one for the pod than for the node
/// (aws/amazon-vpc-cni-k8s#75).
fn secondary([all, eth0]: [u8; 2], end: End) -> Result<Report> {
    let stage = Stage::new(["cl", "rt", "node", "pod"])?;
    stage.veth(("cl", "eth0"), ("rt", "c0"))?;
    stage.veth(("rt", "n0"), ("node", "eth0"))?;
    stage.veth(("rt", "n1"), ("node", "eth1"))?;
    stage.veth(("node", "eni1"), ("pod", "eth0"))?;
    stage.ip(
        "cl",
        "addr add 10.20.50.9/24 dev eth0; route add default via 10.20.50.1",
    )?;
    stage.ip(
        "rt",
        "addr add 10.20.50.1/24 dev c0; addr add 10.20.10.1/24 dev n0; addr add 10.20.11.1/24 dev n1",
    )?;
    stage.ip(
        "node",
        "addr add 10.20.10.5/24 dev eth0; addr add 10.20.11.5/24 dev eth1; route add default via \
         10.20.10.1; route add 10.20.11.77 dev eni1; route add default via 10.20.11.1 dev eth1 \
         table 2; rule add to 10.20.11.77 lookup main prio 512; rule add from 10.20.11.77 lookup 2 \
         prio 1536",
    )?;
    stage.ip(
        "pod",
        "addr add 10.20.11.77/32 dev eth0; route add 169.254.1.1 dev eth0 scope link; route add \
         default via 169.254.1.1 dev eth0",
    )?;
    stage.sysctl("rt", "net.ipv4.ip_forward=1")?;
    stage.sysctl(
        "node",
        &format!(
            "net.ipv4.conf.all.rp_filter={all} net.ipv4.conf.eth0.rp_filter={eth0} \
             net.ipv4.conf.eth1.rp_filter=0 net.ipv4.conf.eni1.rp_filter=0 \
             net.ipv4.conf.eni1.proxy_arp=1 net.ipv4.neigh.eni1.proxy_delay=0 \
             net.ipv4.ip_forward=1"
        ),
    )?;
    stage.exec(
        "node",
        "iptables -t nat -A PREROUTING -p tcp --dport 30080 -m addrtype --dst-type LOCAL -j DNAT \
         --to-destination 10.20.11.77:8080",
    )?;
    stage.serve("pod", "10.20.11.77:8080")?;
    stage.trace(["node", "pod"], "10.20.10.5:30080", |watch| {
        watch.dial("cl", "10.20.10.5:30080")?.ends(end)
    })
}

#[test]
fn way_back_is_by_a_policy_rule() -> Result<()> {
    secondary([0, 1], End::Silent)?
        .outcome("unanswered")?
        .verdict(
            &ExpectedVerdict::new("rpfilter", "confirmed")
                .evidence("leaves through eth1")
                .evidence("from 10.20.11.77")
                .fix("net.ipv4.conf.eth0.rp_filter=2"),
        )?;
    Ok(())
}

/// The larger one of the interface's setting and that of all counts (kubernetes/kubernetes#124587).
#[test]
fn all_interfaces_are_strict() -> Result<()> {
    secondary([1, 0], End::Silent)?
        .outcome("unanswered")?
        .verdict(
            &ExpectedVerdict::new("rpfilter", "confirmed")
                .evidence("leaves through eth1")
                .fix("net.ipv4.conf.eth0.rp_filter=2"),
        )?;
    secondary([1, 2], End::Answered)?.silent().map(drop)
}

#[test]
fn healthy() -> Result<()> {
    block(true)?.silent()?;
    advertised(true)?.silent()?;
    secondary([0, 2], End::Answered)?.silent().map(drop)
}

/// A policy rule refuses it, and no route does.
#[test]
fn policy_rule_refuses() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.serve("b", "10.20.2.3:8080")?;
    let dial = || {
        stage.trace(["node"], "10.20.2.3:8080", |watch| {
            watch.dial("a", "10.20.2.3:8080")
        })
    };
    dial()?.silent()?;
    for (action, priority) in [("prohibit", 40), ("unreachable", 30), ("blackhole", 20)] {
        stage.ip(
            "node",
            &format!("rule add from 10.20.1.2 {action} pref {priority}"),
        )?;
        dial()?.verdict(
            &ExpectedVerdict::new("route", "confirmed")
                .why(format!("`{priority}: from 10.20.1.2/32 {action}`"))
                .fix("ip rule del pref"),
        )?;
    }
    Ok(())
}

/// A policy rule that is jumped over, or would refuse in another way, is not what the packet lacks.
#[test]
fn policy_rule_has_no_part_in_it() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.serve("b", "10.20.2.3:8080")?;
    let dial = || {
        stage.trace(["node"], "10.20.2.3:8080", |watch| {
            watch.dial("a", "10.20.2.3:8080")
        })
    };
    let other_cause =
        || ExpectedVerdict::new("route", "confirmed").never_says(["policy rule", "ip rule del"]);
    stage.ip(
        "node",
        "rule add from 10.20.1.2 goto 32766 pref 30; rule add from 10.20.1.2 unreachable pref 40",
    )?;
    dial()?.silent()?;
    stage.ip("node", "route del 10.20.2.0/24 dev vb")?;
    dial()?.verdict(&other_cause().why("no route to 10.20.2.3"))?;
    stage.ip(
        "node",
        "rule del pref 30; rule del pref 40; route add 10.20.2.0/24 dev vb; rule add from \
         10.20.1.2 prohibit pref 32800",
    )?;
    stage.sysctl("node", "net.ipv4.conf.va.forwarding=0")?;
    dial()?.verdict(&other_cause().fix("net.ipv4.conf.va.forwarding=1"))?;
    Ok(())
}

/// A policy rule refuses the packet in a namespace that is not watched.
#[test]
fn policy_rule_refuses_out_of_sight() -> Result<()> {
    let mut stage = Stage::routed_pods()?;
    stage.add("c")?;
    stage.veth(("b", "vc"), ("c", "eth0"))?;
    stage.ip("b", "addr add 10.20.3.1/24 dev vc")?;
    stage.ip(
        "c",
        "addr add 10.20.3.2/24 dev eth0; route add default via 10.20.3.1",
    )?;
    // By a gateway, it would leave what belongs to the node.
    stage.ip("node", "route add 10.20.3.0/24 dev vb")?;
    stage.sysctl(
        "b",
        "net.ipv4.ip_forward=1 net.ipv4.conf.eth0.proxy_arp=1 net.ipv4.neigh.eth0.proxy_delay=0",
    )?;
    stage.serve("c", "10.20.3.2:8080")?;
    let dial = |end| {
        stage.trace(["node"], "10.20.3.2:8080", |watch| {
            watch.dial("a", "10.20.3.2:8080")?.ends(end).map(drop)
        })
    };
    stage.ip("b", "rule add to 10.20.3.2 iif vc blackhole pref 40")?;
    dial(End::Answered)?.silent()?;
    stage.ip("b", "rule add to 10.20.3.2 blackhole pref 50")?;
    dial(End::Silent)?.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("route", "likely")
            .why("`50: from all to 10.20.3.2/32 blackhole`")
            .names(stage.name("b"))
            .fix("ip rule del pref 50 from all to 10.20.3.2/32 blackhole"),
    )?;
    Ok(())
}

/// IPv6 is switched off where the packet arrives.
#[test]
fn ipv6_is_disabled() -> Result<()> {
    let stage = Stage::with_ipv6(["p", "srv"])?;
    stage.veth(("p", "eth0"), ("srv", "eth0"))?;
    stage.ip("p", "addr add fd20:1::1/64 dev eth0 nodad")?;
    stage.ip("srv", "addr add fd20:1::2/64 dev eth0 nodad")?;
    stage.serve("srv", "[::]:8080")?;
    let dial = |is_answered| {
        stage.trace(["srv"], "[fd20:1::2]:8080", |watch| {
            let call = watch.dial("p", "[fd20:1::2]:8080")?;
            match is_answered {
                true => call.ends(End::Answered).map(drop),
                false => watch.until_drop(),
            }
        })
    };
    dial(true)?.silent()?;
    stage.sysctl("srv", "net.ipv6.conf.eth0.disable_ipv6=1")?;
    dial(false)?.verdict(
        &ExpectedVerdict::new("route", "confirmed")
            .why("IPv6 is disabled at eth0")
            .fix("disable_ipv6=0"),
    )?;
    Ok(())
}
