//! Drops on the path: missing routes, dead neighbors, source checks. The verdict names which.
//!
//! These faults strike whatever passes, so each family gets a lab of its own.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use whydrop_tests::{
    expected::{ExpectedDrop, ExpectedVerdict},
    fault::{Chain, nft},
    lab::{
        Family, Host,
        topology::{NodeLab, RouterLab},
    },
    scenario::{End, Scenario, Traffic},
};

fn route_verdict() -> ExpectedVerdict {
    ExpectedVerdict::new("route", "confirmed")
}

/// Replaces the router's route to the server by one of another kind, or just removes it.
fn rerouted(family: Family, kind: Option<&str>, end: End, expected: &ExpectedDrop) -> Result<()> {
    let lab = RouterLab::build()?;
    let (flag, subnet) = (family.flag(), lab.server_subnet(family));
    let judged = match kind {
        Some(kind) => route_verdict().why(kind).why(&subnet).fix("ip route del"),
        None => route_verdict().why(format!("no route to {}", lab.server.address(family))),
    };
    Scenario::new(&lab, &lab.client, &lab.server, family)
        .fault(|| {
            let delete = format!("ip {flag} route delete {subnet} dev right");
            lab.router.run(&delete)?;
            if let Some(kind) = kind {
                let add = format!("ip {flag} route add {kind} {subnet}");
                lab.router.run(&add)?;
            }
            Ok(())
        })
        .ends(end)
        .drops(&expected.clone().at(&lab.router, "left").judged(judged))
}

/// Routes that discard packets.
fn discarded(family: Family) -> ExpectedDrop {
    ExpectedDrop::new("IP_INNOROUTES", family.pick("ip_error", "ip6_pkt_discard"))
}

#[test]
fn no_route() -> Result<()> {
    Family::each(|family| {
        let end = End::Unreachable(libc::ENETUNREACH);
        rerouted(family, None, end, &discarded(family))
    })
}

#[test]
fn blackhole() -> Result<()> {
    Family::each(|family| {
        let function = family.pick("ip_error", "dst_discard_out");
        let expected = ExpectedDrop::new("NOT_SPECIFIED", function);
        rerouted(family, Some("blackhole"), End::Silent, &expected)
    })
}

/// The same for a pod: with `bridge-nf-call-iptables` the packet has come through netfilter hooks
/// of the bridge, which are still on the stack, but none of them has dropped it.
#[test]
fn blackhole_behind_a_bridge() -> Result<()> {
    Family::each(|family| {
        let lab = NodeLab::build()?;
        let (flag, address) = (family.flag(), lab.outside.address(family));
        let function = family.pick("ip_error", "dst_discard_out");
        Scenario::new(&lab, &lab.pod_a, &lab.outside, family)
            .fault(|| {
                let add = format!("ip {flag} route add blackhole {address}");
                lab.node.run(&add).map(drop)
            })
            .drops(
                &ExpectedDrop::new("NOT_SPECIFIED", function)
                    .at(&lab.node, "cni0")
                    .judged(
                        route_verdict()
                            .why(format!("blackhole {address}"))
                            .fix(family.pick("ip route del", "ip -6 route del")),
                    ),
            )
    })
}

#[test]
fn unreachable() -> Result<()> {
    let expected = ExpectedDrop::new("NOT_SPECIFIED", "ip_error");
    let end = End::Unreachable(libc::EHOSTUNREACH);
    rerouted(Family::V4, Some("unreachable"), end, &expected)?;
    let end = End::Unreachable(libc::ENETUNREACH);
    rerouted(Family::V6, Some("unreachable"), end, &discarded(Family::V6))
}

#[test]
fn prohibit() -> Result<()> {
    let expected = ExpectedDrop::new("NOT_SPECIFIED", "ip_error");
    let end = End::Unreachable(libc::EHOSTUNREACH);
    rerouted(Family::V4, Some("prohibit"), end, &expected)?;
    let end = End::Unreachable(libc::EACCES);
    let expected = ExpectedDrop::new("IP_INNOROUTES", "ip6_pkt_prohibit");
    rerouted(Family::V6, Some("prohibit"), end, &expected)
}

#[test]
fn forwarding_off() -> Result<()> {
    Family::each(|family| {
        let lab = RouterLab::build()?;
        let key = family.pick("ipv4/ip_forward", "ipv6/conf/all/forwarding");
        let function = family.pick("ip_error", "ip6_forward");
        Scenario::new(&lab, &lab.client, &lab.server, family)
            .fault(|| lab.router.sysctl(key, "0"))
            .drops(
                &ExpectedDrop::new("IP_INADDRERRORS", function)
                    .at(&lab.router, "left")
                    .judged(
                        route_verdict()
                            .why("does not forward")
                            .fix(format!("net.{}=1", key.replace('/', "."))),
                    ),
            )
    })
}

#[test]
fn hops_used_up() -> Result<()> {
    Family::each(|family| {
        let lab = RouterLab::build()?;
        let key = family.pick("ipv4/ip_default_ttl", "ipv6/conf/eth0/hop_limit");
        let (function, ifname) = family.pick(("ip_forward", "left"), ("ip6_forward", "left"));
        Scenario::new(&lab, &lab.client, &lab.server, family)
            .fault(|| lab.client.sysctl(key, "1"))
            .ends(End::Unreachable(libc::EHOSTUNREACH))
            .drops(
                &ExpectedDrop::new("IP_INHDR", function)
                    .at(&lab.router, ifname)
                    .judged(ExpectedVerdict::any_of(["route"]).why("TTL expired in transit")),
            )
    })
}

/// No host has the address any more, as seen from the host that resolves it: a router, or the client.
fn dead(family: Family, from_router: bool) -> Result<()> {
    let lab = RouterLab::build()?;
    let (asks, ifname, gone): (&Host, _, &Host) = if from_router {
        (&lab.router, "right", &lab.server)
    } else {
        (&lab.client, "eth0", &lab.router)
    };
    let (flag, len) = (family.flag(), family.prefix_len());
    let address = gone.address(family);
    let interface = if from_router { "eth0" } else { "left" };
    // One question instead of three, a second apart.
    let version = family.pick("ipv4", "ipv6");
    asks.sysctl(&format!("{version}/neigh/{ifname}/mcast_solicit"), "1")?;
    let reason = family.pick("NEIGH_FAILED", "NOT_SPECIFIED");
    Scenario::new(&lab, &lab.client, gone, family)
        .fault(|| {
            let delete = format!("ip address delete {address}/{len} dev {interface}");
            gone.run(&delete)?;
            let flush = format!("ip {flag} neighbor flush dev {ifname}");
            asks.run(&flush).map(drop)
        })
        .ends(End::Unreachable(libc::EHOSTUNREACH))
        .drops(
            &ExpectedDrop::new(reason, "neigh_invalidate")
                .at(asks, ifname)
                .judged(
                    ExpectedVerdict::new("endpoint", "likely")
                        .why(format!("no host answers for {address}"))
                        .evidence(format!("dev {ifname}"))
                        .evidence(format!("the neighbor entry: {address} ")),
                ),
        )
}

#[test]
fn dead_neighbor_of_a_router() -> Result<()> {
    Family::each(|family| dead(family, true))
}

#[test]
fn dead_neighbor_of_the_client() -> Result<()> {
    Family::each(|family| dead(family, false))
}

/// More packets than are kept for a neighbor that has not answered yet.
#[test]
fn too_many_wait_for_a_neighbor() -> Result<()> {
    let lab = RouterLab::build()?;
    let address = lab.server.address(Family::V4);
    lab.router.sysctl("ipv4/neigh/right/mcast_solicit", "1")?;
    lab.router
        .sysctl("ipv4/neigh/right/unres_qlen_bytes", "4096")?;
    let endpoint = || ExpectedVerdict::new("endpoint", "likely").evidence("dev right");
    Scenario::new(&lab, &lab.client, &lab.server, Family::V4)
        .traffic(Traffic::Burst(20, 1000))
        .fault(|| {
            let delete = format!("ip address delete {address}/24 dev eth0");
            lab.server.run(&delete)?;
            lab.router.run("ip -4 neighbor flush dev right").map(drop)
        })
        .drops_all(&[
            ExpectedDrop::new("NEIGH_QUEUEFULL", "__neigh_event_send")
                .at(&lab.router, "right")
                .judged(
                    endpoint().evidence("the queue of packets that wait for its answer is full"),
                ),
            ExpectedDrop::new("NEIGH_FAILED", "neigh_invalidate")
                .at(&lab.router, "right")
                .judged(endpoint().why(format!("no host answers for {address}"))),
        ])
}

/// The Service still leads to a pod that is gone.
#[test]
fn stale_backend_of_a_service() -> Result<()> {
    Family::each(|family| {
        let lab = NodeLab::build()?;
        let (flag, len, ip) = (family.flag(), family.prefix_len(), family.pick("ip", "ip6"));
        let service = SocketAddr::new(lab.cluster_ip(family), 80);
        let backend = lab.pod_a.socket(family, Scenario::port(family));
        let rule = format!(
            "{ip} daddr {} tcp dport 80 dnat {ip} to {backend}",
            service.ip()
        );
        nft(&lab.node, Chain::dnat(), &rule)?;
        let version = family.pick("ipv4", "ipv6");
        lab.node
            .sysctl(&format!("{version}/neigh/cni0/mcast_solicit"), "1")?;
        let reason = family.pick("NEIGH_FAILED", "NOT_SPECIFIED");
        Scenario::new(&lab, &lab.outside, &lab.pod_a, family)
            .dial(service)
            .fault(|| {
                let delete = format!("ip address delete {}/{len} dev eth0", backend.ip());
                lab.pod_a.run(&delete)?;
                let flush = format!("ip {flag} neighbor flush dev cni0");
                lab.node.run(&flush).map(drop)
            })
            .ends(End::Unreachable(libc::EHOSTUNREACH))
            .drops(
                &ExpectedDrop::new(reason, "neigh_invalidate")
                    .at(&lab.node, "cni0")
                    .translated(service, backend)
                    .judged(
                        ExpectedVerdict::new("endpoint", "likely")
                            .why(format!("no host answers for {}", backend.ip()))
                            .evidence(format!("the neighbor entry: {} ", backend.ip())),
                    ),
            )
    })
}

/// The node believes that the pod still has the address, and the pod has it no more.
#[test]
fn pod_without_the_address() -> Result<()> {
    Family::each(|family| {
        let lab = NodeLab::build()?;
        let (address, len) = (lab.pod_a.address(family), family.prefix_len());
        let function = family.pick("ip_error", "ip6_forward");
        Scenario::new(&lab, &lab.outside, &lab.pod_a, family)
            .fault(|| {
                let mac = hardware_address(&lab.pod_a)?;
                lab.node.run(&format!(
                    "ip neighbor replace {address} lladdr {mac} dev cni0 nud permanent"
                ))?;
                // One that forwards sends it back to the node.
                lab.pod_a.sysctl("ipv4/ip_forward", "0")?;
                let delete = format!("ip address delete {address}/{len} dev eth0");
                lab.pod_a.run(&delete).map(drop)
            })
            .drops(
                &ExpectedDrop::new("IP_INADDRERRORS", function)
                    .at(&lab.pod_a, "eth0")
                    .judged(
                        ExpectedVerdict::new("endpoint", "likely")
                            .why(format!("{address} is not an address of the namespace")),
                    ),
            )
    })
}

/// The address has moved to another machine, and the sender's neighbor entry has not.
#[test]
fn stale_neighbor_entry() -> Result<()> {
    Family::each(|family| {
        let lab = RouterLab::build()?;
        let address = lab.server.address(family);
        let function = family.pick("ip_rcv_core", "ip6_rcv_core");
        Scenario::new(&lab, &lab.client, &lab.server, family)
            .fault(|| {
                let stale = "lladdr 02:00:00:00:00:66 dev right nud permanent";
                let replace = format!("ip neighbor replace {address} {stale}");
                lab.router.run(&replace).map(drop)
            })
            .drops(
                &ExpectedDrop::new("OTHERHOST", function)
                    .at(&lab.server, "eth0")
                    .judged(
                        ExpectedVerdict::new("endpoint", "likely")
                            .why("a stale neighbor entry")
                            .fix("ip netns exec ")
                            .fix("ip neighbor del ")
                            .fix(" dev right"),
                    ),
            )
    })
}

/// A packet that comes from where the router does not expect it.
fn source_check(
    source: impl Fn(&RouterLab) -> Result<IpAddr>,
    fault: impl Fn(&RouterLab, IpAddr) -> Result<()>,
    reason: &'static str,
    judged: impl Fn(IpAddr) -> ExpectedVerdict,
) -> Result<()> {
    let lab = RouterLab::build()?;
    let source = source(&lab)?;
    Scenario::new(&lab, &lab.client, &lab.server, Family::V4)
        .from(source)
        .fault(|| fault(&lab, source))
        .drops(
            &ExpectedDrop::new(reason, "ip_rcv_finish_core")
                .at(&lab.router, "left")
                .judged(judged(source)),
        )
}

/// The route back is there, but it goes another way.
#[test]
fn strict_reverse_path() -> Result<()> {
    source_check(
        |lab| lab.foreign_address(Family::V4),
        |lab, source| {
            let add = format!("ip route add {source} dev right");
            lab.router.run(&add)?;
            lab.router.sysctl("ipv4/conf/left/rp_filter", "1")
        },
        "IP_RPFILTER",
        |source| {
            ExpectedVerdict::new("rpfilter", "confirmed")
                .why(source.to_string())
                .evidence(format!(
                    "src {source} came in through left, but the route back leaves through right"
                ))
                .fix("sysctl -w net.ipv4.conf.left.rp_filter=2")
        },
    )
}

/// There is no route back at all, which the loose check wants to see.
#[test]
fn loose_reverse_path() -> Result<()> {
    source_check(
        |lab| lab.foreign_address(Family::V4),
        |lab, _| lab.router.sysctl("ipv4/conf/left/rp_filter", "2"),
        "IP_RPFILTER",
        |source| {
            ExpectedVerdict::new("rpfilter", "confirmed")
                .why(source.to_string())
                .evidence("no route")
        },
    )
}

/// The client claims to be the router itself.
#[test]
fn martian_with_ones_own_address() -> Result<()> {
    source_check(
        |lab| {
            let own = lab.router_address(Family::V4);
            lab.client.run(&format!("ip address add {own} dev lo"))?;
            Ok(own)
        },
        |_, _| Ok(()),
        "IP_LOCAL_SOURCE",
        |source| {
            ExpectedVerdict::new("rpfilter", "confirmed")
                .why("martian")
                .why(source.to_string())
        },
    )
}

fn hardware_address(host: &Host) -> Result<String> {
    let link = host.run("ip -oneline link show dev eth0")?;
    let mut words = link.split_whitespace();
    words.find(|word| *word == "link/ether");
    Ok(words.next().unwrap_or_default().to_owned())
}
