//! A neighbor that does not answer ARP, and why: another namespace of this node has the address, or
//! this very one, or the question itself is at fault.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

/// Never of an address that is held on this node.
const GONE: [&str; 2] = ["no host answers for", "is gone"];

/// A pod at a bridge of the node, which another pod comes to by a route.
fn bridged() -> Result<Stage> {
    let stage = Stage::new(["a", "b", "node"])?;
    stage.ip(
        "node",
        "link add cni0 type bridge; link set cni0 up; addr add 10.20.1.1/24 dev cni0",
    )?;
    stage.veth(("b", "eth0"), ("node", "vb"))?;
    stage.ip("node", "link set vb master cni0")?;
    stage.ip(
        "b",
        "addr add 10.20.1.3/24 dev eth0; route add default via 10.20.1.1",
    )?;
    stage.veth(("a", "eth0"), ("node", "va"))?;
    stage.ip("node", "addr add 10.20.2.1/24 dev va")?;
    stage.ip(
        "a",
        "addr add 10.20.2.2/24 dev eth0; route add default via 10.20.2.1",
    )?;
    stage.sysctl("node", "net.ipv4.ip_forward=1")?;
    stage.serve("b", "10.20.1.3:8080")?;
    Ok(stage)
}

fn dial(stage: &Stage, is_answered: bool) -> Result<Report> {
    dial_to(stage, ["node", "a", "b"], "10.20.1.3:8080", is_answered)
}

fn dial_to<const N: usize>(
    stage: &Stage,
    watched: [&'static str; N],
    to: &str,
    is_answered: bool,
) -> Result<Report> {
    stage.trace(watched, to, |watch| {
        let call = watch.dial("a", to)?;
        match is_answered {
            true => call.ends(End::Answered).map(drop),
            false => watch.until_drop(),
        }
    })
}

#[test]
fn veth_is_a_port_of_no_bridge() -> Result<()> {
    let stage = bridged()?;
    stage.ip("node", "link set vb nomaster")?;
    dial(&stage, false)?.verdict(
        &ExpectedVerdict::any_of(["endpoint", "route"])
            .at_least("likely")
            .why("10.20.1.3 is an address of")
            .names("vb")
            .fix("ip link set dev vb master cni0")
            .never_says(GONE),
    )?;
    Ok(())
}

#[test]
fn link_of_the_holder_is_down() -> Result<()> {
    let stage = bridged()?;
    stage.ip("b", "link set eth0 down")?;
    dial(&stage, false)?.verdict(
        &ExpectedVerdict::any_of(["endpoint", "route"])
            .at_least("likely")
            .why("10.20.1.3 is an address of")
            .never_says(GONE),
    )?;
    Ok(())
}

#[test]
fn ports_are_isolated_from_each_other() -> Result<()> {
    let stage = bridged()?;
    stage.ip("node", "link set va nomaster; addr flush dev va")?;
    stage.ip("node", "link set va master cni0")?;
    stage.ip("a", "addr flush dev eth0; addr add 10.20.1.2/24 dev eth0")?;
    stage.exec(
        "node",
        "bridge link set dev va isolated on; bridge link set dev vb isolated on",
    )?;
    dial(&stage, false)?.verdict(
        &ExpectedVerdict::any_of(["endpoint", "route", "firewall"])
            .at_least("likely")
            .why("isolated")
            .fix("isolated off")
            .never_says(GONE),
    )?;
    Ok(())
}

/// Rules that whydrop does not read are named, and not blamed.
#[test]
fn rules_against_arp_are_not_examined() -> Result<()> {
    let stage = bridged()?;
    stage.ip("node", "link set va nomaster; addr flush dev va")?;
    stage.ip("node", "link set va master cni0")?;
    stage.ip("a", "addr flush dev eth0; addr add 10.20.1.2/24 dev eth0")?;
    stage.exec(
        "node",
        "nft 'add table bridge guard; add chain bridge guard forward { type filter hook forward \
         priority 0; }; add rule bridge guard forward arp daddr ip 10.20.1.3 drop'",
    )?;
    dial(&stage, false)?.verdict(
        &ExpectedVerdict::any_of(["unknown"])
            .why("10.20.1.3 is an address of")
            .evidence("tables of the family arp or bridge, which were not examined")
            .never_says(GONE),
    )?;
    Ok(())
}

/// The holder refuses the question for its source, which it reaches by another link.
#[test]
fn reverse_path_of_the_question() -> Result<()> {
    let stage = Stage::new(["a", "b", "other"])?;
    stage.veth(("a", "eth0"), ("b", "eth0"))?;
    stage.veth(("other", "eth0"), ("b", "eth1"))?;
    stage.ip(
        "a",
        "addr add 10.20.9.9/32 dev eth0; route add 10.20.1.0/24 dev eth0 src 10.20.9.9",
    )?;
    stage.ip(
        "b",
        "addr add 10.20.1.3/24 dev eth0; addr add 10.20.2.1/24 dev eth1; route add 10.20.9.0/24 via \
         10.20.2.2",
    )?;
    stage.ip("other", "addr add 10.20.2.2/24 dev eth0")?;
    stage.sysctl(
        "b",
        "net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.eth0.rp_filter=1",
    )?;
    stage.serve("b", "10.20.1.3:8080")?;
    let report = dial_to(&stage, ["a"], "10.20.1.3:8080", false)?;
    report.verdict(
        &ExpectedVerdict::any_of(["unknown"])
            .why("10.20.1.3 is an address of")
            .evidence("rp_filter is 1 at eth0")
            .evidence("10.20.9.9 is in no subnet of it")
            .never_says(GONE),
    )?;
    Ok(())
}

/// The rule that looks up the table of own addresses is gone: what is for the node is routed out.
#[test]
fn own_address_is_asked_for() -> Result<()> {
    let stage = bridged()?;
    stage.serve("node", "10.20.2.1:8080")?;
    stage.ip("node", "rule del pref 0")?;
    let dial = || {
        stage.trace(["node", "a"], "10.20.2.1:8080", |watch| {
            watch.dial("a", "10.20.2.1:8080")
        })
    };
    dial()?.unanswered()?.verdict(
        &ExpectedVerdict::any_of(["route"])
            .at_least("likely")
            .why("no policy rule looks up the table local")
            .fix("rule add pref 0 lookup local")
            .never_says(GONE),
    )?;
    stage.ip("node", "rule add pref 0 lookup local")?;
    dial()?.silent().map(drop)
}

/// The pod's gateway is answered by proxy ARP, which needs a route.
#[test]
fn proxy_lacks_a_route() -> Result<()> {
    let mut stage = Stage::new(["a", "b", "node"])?;
    for (role, port, address) in [("a", "calia", "10.20.1.2"), ("b", "calib", "10.20.1.3")] {
        stage.veth((role, "eth0"), ("node", port))?;
        stage.ip(
            role,
            &format!(
                "addr add {address}/32 dev eth0; route add 169.254.1.1 dev eth0 scope link; route \
                 add default via 169.254.1.1 dev eth0"
            ),
        )?;
        stage.ip(
            "node",
            &format!("route add {address}/32 dev {port} scope link"),
        )?;
        stage.sysctl(
            "node",
            &format!("net.ipv4.conf.{port}.proxy_arp=1 net.ipv4.neigh.{port}.proxy_delay=0"),
        )?;
    }
    stage.sysctl("node", "net.ipv4.ip_forward=1")?;
    stage.serve("b", "10.20.1.3:8080")?;
    let dial = |stage: &Stage| {
        stage.trace(["node", "a", "b"], "10.20.1.3:8080", |watch| {
            watch.dial("a", "10.20.1.3:8080")
        })
    };
    dial(&stage)?.unanswered()?.verdict(
        &ExpectedVerdict::any_of(["endpoint", "route"])
            .at_least("likely")
            .why("169.254.1.1")
            .fix("169.254.1.1")
            .never_says(GONE),
    )?;
    // With a default route, the node answers for the gateway.
    stage.add("gw")?;
    stage.veth(("gw", "eth0"), ("node", "up"))?;
    stage.ip(
        "node",
        "addr add 10.20.9.1/24 dev up; route add default via 10.20.9.2",
    )?;
    for role in ["a", "b"] {
        stage.ip(role, "neigh flush all")?;
    }
    dial(&stage)?.silent().map(drop)
}

/// The router has a route to the pod, whose address is one of the client's subnet, and no entry for which
/// it would answer (moby/moby#10919).
#[test]
fn router_has_no_proxy_entry() -> Result<()> {
    const SERVER: &str = "[fd20:1::99]:8080";
    let stage = Stage::with_ipv6(["a", "b", "node"])?;
    stage.veth(("a", "eth0"), ("node", "va"))?;
    stage.veth(("b", "eth0"), ("node", "vb"))?;
    stage.ip(
        "node",
        "addr add fd20:1::1/64 dev va nodad; addr add fd20:2::1/64 dev vb nodad; -6 route add \
         fd20:1::99/128 dev vb",
    )?;
    stage.ip("a", "addr add fd20:1::2/64 dev eth0 nodad")?;
    stage.ip(
        "b",
        "addr add fd20:1::99/128 dev eth0 nodad; addr add fd20:2::3/64 dev eth0 nodad; -6 route add \
         default via fd20:2::1",
    )?;
    stage.sysctl(
        "node",
        "net.ipv6.conf.all.forwarding=1 net.ipv6.conf.va.proxy_ndp=1 net.ipv6.neigh.va.proxy_delay=0",
    )?;
    stage.serve("b", SERVER)?;
    let dial = || stage.trace(["node", "a", "b"], SERVER, |watch| watch.dial("a", SERVER));
    dial()?.unanswered()?.verdict(
        &ExpectedVerdict::new("route", "likely")
            .why("no host answers for fd20:1::99")
            .fix("ip -6 neigh add proxy fd20:1::99 dev va"),
    )?;
    stage.ip("node", "-6 neigh add proxy fd20:1::99 dev va")?;
    dial()?.silent()?;
    Ok(())
}

/// The neighbor has the address at another link, and answers only for those of the one that is asked.
#[test]
fn holder_ignores_questions_for_other_links() -> Result<()> {
    let stage = bridged()?;
    stage.ip("b", "addr add 10.20.9.9/32 dev lo")?;
    stage.ip("node", "route add 10.20.9.9/32 dev cni0")?;
    stage.serve("b", "10.20.9.9:8080")?;
    let dial = |is_answered| dial_to(&stage, ["node", "a"], "10.20.9.9:8080", is_answered);
    dial(true)?.silent()?;
    stage.sysctl("b", "net.ipv4.conf.all.arp_ignore=1")?;
    stage.ip("node", "neigh flush dev cni0")?;
    dial(false)?.verdict(
        &ExpectedVerdict::new("endpoint", "likely")
            .why("10.20.9.9 is an address of lo")
            .why("arp_ignore is 1")
            .fix("net.ipv4.conf.all.arp_ignore=0")
            .never_says(GONE),
    )?;
    Ok(())
}

/// The asked link has the address, and a setting lets it answer, or not.
#[test]
fn holder_ignores_all_questions() -> Result<()> {
    let stage = bridged()?;
    for (arp_ignore, is_answered) in [(2, true), (3, true), (4, true), (8, false)] {
        stage.sysctl("b", &format!("net.ipv4.conf.eth0.arp_ignore={arp_ignore}"))?;
        stage.ip("node", "neigh flush dev cni0")?;
        let report = dial(&stage, is_answered)?;
        if is_answered {
            report.silent()?;
            continue;
        }
        report.verdict(
            &ExpectedVerdict::new("endpoint", "likely")
                .why("10.20.1.3 is an address of eth0")
                .why("arp_ignore is 8")
                .fix("net.ipv4.conf.eth0.arp_ignore=0")
                .never_says(GONE),
        )?;
    }
    Ok(())
}

/// Of IPv6, a link answers only for addresses of its own, whatever is set.
#[test]
fn holder_has_the_ipv6_address_at_another_link() -> Result<()> {
    let stage = Stage::with_ipv6(["a", "b", "node"])?;
    stage.veth(("a", "eth0"), ("node", "va"))?;
    stage.veth(("b", "eth0"), ("node", "vb"))?;
    stage.ip(
        "node",
        "addr add fd20:1::1/64 dev va nodad; addr add fd20:2::1/64 dev vb nodad; route add \
         fd20:9::9/128 dev vb",
    )?;
    for (role, net) in [("a", 1), ("b", 2)] {
        stage.ip(
            role,
            &format!(
                "addr add fd20:{net}::2/64 dev eth0 nodad; route add default via fd20:{net}::1"
            ),
        )?;
    }
    stage.ip("b", "addr add fd20:9::9/128 dev lo nodad")?;
    stage.sysctl("node", "net.ipv6.conf.all.forwarding=1")?;
    stage.serve("b", "[::]:8080")?;
    let dial = |is_answered| dial_to(&stage, ["node", "a"], "[fd20:9::9]:8080", is_answered);
    dial(false)?.verdict(
        &ExpectedVerdict::new("endpoint", "likely")
            .why("fd20:9::9 is an address of lo")
            .why("only at the interface that has the address")
            .never_says(GONE),
    )?;
    stage.ip(
        "b",
        "addr del fd20:9::9/128 dev lo; addr add fd20:9::9/128 dev eth0 nodad",
    )?;
    dial(true)?.silent().map(drop)
}

/// A route sends it out through the link of another pod.
#[test]
fn route_leads_to_another_link() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.ip("node", "route add 10.20.2.3/32 dev va")?;
    let report = dial_to(&stage, ["node"], "10.20.2.3:8080", false)?;
    report.verdict(
        &ExpectedVerdict::new("route", "likely")
            .why("at va; it is an address of")
            .fix("10.20.2.3")
            .never_says(["no network namespace of this node has"]),
    )?;
    Ok(())
}

/// An ARP request from `127.0.0.1`, sent unchanged: no host answers it.
#[test]
fn asked_from_a_loopback_address() -> Result<()> {
    let stage = bridged()?;
    stage.sysctl("node", "net.ipv4.conf.all.route_localnet=1")?;
    stage.exec(
        "node",
        "iptables -t nat -A OUTPUT -p tcp --dport 30080 -m addrtype --dst-type LOCAL -j DNAT \
         --to-destination 10.20.1.3:8080",
    )?;
    let report = stage.trace(["node", "b"], "127.0.0.1:30080", |watch| {
        watch.dial("node", "127.0.0.1:30080")?;
        watch.until_drop()
    })?;
    report.verdict(
        &ExpectedVerdict::any_of(["route"])
            .at_least("likely")
            .why("127.0.0.1")
            .fix("masquerade")
            .never_says(GONE),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    dial(&bridged()?, true)?.silent().map(drop)
}

/// Two hosts of one link have the address, and the one that answered first does not listen.
#[test]
fn address_of_two_hosts() -> Result<()> {
    let mut stage = bridged()?;
    stage.add("twin")?;
    stage.veth(("twin", "eth0"), ("node", "vt"))?;
    stage.ip("node", "link set vt master cni0")?;
    stage.ip(
        "twin",
        "addr add 10.20.1.3/24 dev eth0; route add default via 10.20.1.1",
    )?;
    let mac = stage.exec("twin", "cat /sys/class/net/eth0/address")?;
    let mac = mac.trim();
    stage.ip(
        "node",
        &format!("neigh replace 10.20.1.3 lladdr {mac} dev cni0"),
    )?;
    let report = stage.trace(["node", "twin"], "10.20.1.3:8080", |watch| {
        watch.dial("a", "10.20.1.3:8080")?.ends(End::Refused)
    })?;
    report.outcome("refused")?.verdict(
        &ExpectedVerdict::any_of(["socket", "endpoint"])
            .why("10.20.1.3 is an address of")
            .names(stage.name("b")),
    )?;
    Ok(())
}
