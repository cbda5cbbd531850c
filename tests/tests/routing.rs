//! Drops for want of a way: routes, neighbours, the reverse path.
//!
//! These faults strike whatever passes, so each family gets a lab of its own.

use anyhow::Result;
use whydrop_tests::{
    lab::{
        Family,
        topology::{NodeLab, RouterLab},
    },
    scenario::{End, Expected, Scenario},
};

/// Replaces the router's route to the server by `route`, or just removes it.
fn reroute(lab: &RouterLab, family: Family, route: Option<&str>) -> Result<()> {
    let (flag, subnet) = (family.flag(), lab.server_subnet(family));
    lab.router
        .run(&format!("ip {flag} route delete {subnet} dev right"))?;
    if let Some(route) = route {
        lab.router
            .run(&format!("ip {flag} route add {route} {subnet}"))?;
    }
    Ok(())
}

fn route(family: Family, route: Option<&str>, end: End, expected: &Expected) -> Result<()> {
    let lab = RouterLab::build()?;
    Scenario::new(&lab, &lab.client, &lab.server, family)
        .fault(|| reroute(&lab, family, route))
        .ends(end)
        .drops(&expected.clone().at(&lab.router, "left"))
}

#[test]
fn no_route() -> Result<()> {
    Family::each(|family| {
        route(
            family,
            None,
            End::Unreachable(libc::ENETUNREACH),
            &Expected::new("IP_INNOROUTES", family.pick("ip_error", "ip6_pkt_discard")),
        )
    })
}

#[test]
fn blackhole_route() -> Result<()> {
    Family::each(|family| {
        route(
            family,
            Some("blackhole"),
            End::Silent,
            &Expected::new("NOT_SPECIFIED", family.pick("ip_error", "dst_discard_out")),
        )
    })
}

/// The same for a pod: with `bridge-nf-call-iptables` the packet has come through netfilter hooks
/// of the bridge, which are still on the stack, but none of them has dropped it.
#[test]
fn blackhole_route_behind_a_bridge() -> Result<()> {
    Family::each(|family| {
        let lab = NodeLab::build()?;
        let (flag, address) = (family.flag(), lab.outside.address(family));
        Scenario::new(&lab, &lab.pod_a, &lab.outside, family)
            .fault(|| {
                lab.node
                    .run(&format!("ip {flag} route add blackhole {address}"))
                    .map(drop)
            })
            .drops(
                &Expected::new("NOT_SPECIFIED", family.pick("ip_error", "dst_discard_out"))
                    .at(&lab.node, "cni0"),
            )
    })
}

#[test]
fn unreachable_route() -> Result<()> {
    route(
        Family::V4,
        Some("unreachable"),
        End::Unreachable(libc::EHOSTUNREACH),
        &Expected::new("NOT_SPECIFIED", "ip_error"),
    )?;
    route(
        Family::V6,
        Some("unreachable"),
        End::Unreachable(libc::ENETUNREACH),
        &Expected::new("IP_INNOROUTES", "ip6_pkt_discard"),
    )
}

#[test]
fn forwarding_off() -> Result<()> {
    Family::each(|family| {
        let lab = RouterLab::build()?;
        let key = family.pick("ipv4/ip_forward", "ipv6/conf/all/forwarding");
        Scenario::new(&lab, &lab.client, &lab.server, family)
            .fault(|| lab.router.sysctl(key, "0"))
            .drops(
                &Expected::new("IP_INADDRERRORS", family.pick("ip_error", "ip6_forward"))
                    .at(&lab.router, "left"),
            )
    })
}

/// The address is on the link, but nobody has it.
#[test]
fn dead_neighbour() -> Result<()> {
    Family::each(|family| {
        let lab = RouterLab::build()?;
        // One question instead of three, a second apart.
        let key = family.pick("ipv4/neigh/right", "ipv6/neigh/right");
        lab.router.sysctl(&format!("{key}/mcast_solicit"), "1")?;
        let (flag, len) = (family.flag(), family.prefix_len());
        let address = lab.server.address(family);
        let reason = family.pick("NEIGH_FAILED", "NOT_SPECIFIED");
        Scenario::new(&lab, &lab.client, &lab.server, family)
            .fault(|| {
                lab.server
                    .run(&format!("ip address delete {address}/{len} dev eth0"))?;
                lab.router
                    .run(&format!("ip {flag} neighbour flush dev right"))
                    .map(drop)
            })
            .ends(End::Unreachable(libc::EHOSTUNREACH))
            .drops(&Expected::new(reason, "neigh_invalidate").at(&lab.router, "right"))
    })
}

/// The router would answer by another way than the packet came.
#[test]
fn strict_reverse_path() -> Result<()> {
    let lab = RouterLab::build()?;
    let source = lab.foreign_address(Family::V4)?;
    Scenario::new(&lab, &lab.client, &lab.server, Family::V4)
        .from(source)
        .fault(|| lab.router.sysctl("ipv4/conf/left/rp_filter", "1"))
        .drops(&Expected::new("IP_RPFILTER", "ip_rcv_finish_core").at(&lab.router, "left"))
}
