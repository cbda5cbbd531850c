//! Verdicts on routes, neighbours and source checks.

use std::net::SocketAddr;

use anyhow::Result;
use whydrop_tests::{
    fault::{Chain, nft},
    judged::Judged,
    lab::{
        Family,
        topology::{NodeLab, RouterLab},
    },
    scenario::{End, Expected, Scenario},
};

fn route_verdict() -> Judged {
    Judged::new("route", "confirmed")
}

/// The route back is there, but it goes another way.
#[test]
fn strict_reverse_path() -> Result<()> {
    let lab = RouterLab::build()?;
    let source = lab.foreign_address(Family::V4)?;
    lab.router
        .run(&format!("ip route add {source} dev right"))?;
    Scenario::new(&lab, &lab.client, &lab.server, Family::V4)
        .from(source)
        .fault(|| lab.router.sysctl("ipv4/conf/left/rp_filter", "1"))
        .drops(
            &Expected::new("IP_RPFILTER", "ip_rcv_finish_core")
                .at(&lab.router, "left")
                .judged(
                    Judged::new("rpfilter", "confirmed")
                        .why(source.to_string())
                        .evidence(format!(
                            "src {source} came in by left, but the route back goes out by right"
                        ))
                        .fix("sysctl -w net.ipv4.conf.left.rp_filter=2"),
                ),
        )
}

fn refused(family: Family, kind: &str, end: End, expected: &Expected) -> Result<()> {
    let lab = RouterLab::build()?;
    let (flag, subnet) = (family.flag(), lab.server_subnet(family));
    Scenario::new(&lab, &lab.client, &lab.server, family)
        .fault(|| {
            lab.router
                .run(&format!("ip {flag} route delete {subnet} dev right"))?;
            lab.router
                .run(&format!("ip {flag} route add {kind} {subnet}"))
                .map(drop)
        })
        .ends(end)
        .drops(
            &expected
                .clone()
                .at(&lab.router, "left")
                .judged(route_verdict().why(kind).why(&subnet).fix("ip route del")),
        )
}

#[test]
fn blackhole() -> Result<()> {
    Family::each(|family| {
        let function = family.pick("ip_error", "dst_discard_out");
        let expected = Expected::new("NOT_SPECIFIED", function);
        refused(family, "blackhole", End::Silent, &expected)
    })
}

#[test]
fn unreachable() -> Result<()> {
    refused(
        Family::V4,
        "unreachable",
        End::Unreachable(libc::EHOSTUNREACH),
        &Expected::new("NOT_SPECIFIED", "ip_error"),
    )
}

#[test]
fn prohibit() -> Result<()> {
    refused(
        Family::V4,
        "prohibit",
        End::Unreachable(libc::EHOSTUNREACH),
        &Expected::new("NOT_SPECIFIED", "ip_error"),
    )
}

#[test]
fn no_route() -> Result<()> {
    Family::each(|family| {
        let lab = RouterLab::build()?;
        let (flag, subnet) = (family.flag(), lab.server_subnet(family));
        let server = lab.server.address(family);
        let function = family.pick("ip_error", "ip6_pkt_discard");
        Scenario::new(&lab, &lab.client, &lab.server, family)
            .fault(|| {
                let delete = format!("ip {flag} route delete {subnet} dev right");
                lab.router.run(&delete).map(drop)
            })
            .ends(End::Unreachable(libc::ENETUNREACH))
            .drops(
                &Expected::new("IP_INNOROUTES", function)
                    .at(&lab.router, "left")
                    .judged(route_verdict().why(format!("no route to {server}"))),
            )
    })
}

#[test]
fn forwarding_off() -> Result<()> {
    let lab = RouterLab::build()?;
    Scenario::new(&lab, &lab.client, &lab.server, Family::V4)
        .fault(|| lab.router.sysctl("ipv4/ip_forward", "0"))
        .drops(
            &Expected::new("IP_INADDRERRORS", "ip_error")
                .at(&lab.router, "left")
                .judged(route_verdict().why("does not forward").fix("=1")),
        )
}

/// The address is on the link, but nobody has it.
#[test]
fn dead_neighbour() -> Result<()> {
    let lab = RouterLab::build()?;
    lab.router.sysctl("ipv4/neigh/right/mcast_solicit", "1")?;
    let address = lab.server.address(Family::V4);
    Scenario::new(&lab, &lab.client, &lab.server, Family::V4)
        .fault(|| {
            let delete = format!("ip address delete {address}/24 dev eth0");
            lab.server.run(&delete)?;
            lab.router.run("ip -4 neighbour flush dev right").map(drop)
        })
        .ends(End::Unreachable(libc::EHOSTUNREACH))
        .drops(
            &Expected::new("NEIGH_FAILED", "neigh_invalidate")
                .at(&lab.router, "right")
                .judged(
                    Judged::new("endpoint", "likely")
                        .why(format!("nobody answers for {address}"))
                        .evidence("dev right")
                        .evidence(format!("the neighbour entry: {address} ")),
                ),
        )
}

/// The Service still leads to a pod that is gone.
#[test]
fn stale_backend_of_a_service() -> Result<()> {
    let lab = NodeLab::build()?;
    let service = SocketAddr::new(lab.cluster_ip(Family::V4), 80);
    let backend = lab.pod_a.socket(Family::V4, Scenario::port(Family::V4));
    let rule = format!(
        "ip daddr {} tcp dport 80 dnat ip to {backend}",
        service.ip()
    );
    nft(&lab.node, Chain::dnat(), &rule)?;
    lab.node.sysctl("ipv4/neigh/cni0/mcast_solicit", "1")?;
    Scenario::new(&lab, &lab.outside, &lab.pod_a, Family::V4)
        .dial(service)
        .fault(|| {
            let delete = format!("ip address delete {}/24 dev eth0", backend.ip());
            lab.pod_a.run(&delete)?;
            lab.node.run("ip -4 neighbour flush dev cni0").map(drop)
        })
        .ends(End::Unreachable(libc::EHOSTUNREACH))
        .drops(
            &Expected::new("NEIGH_FAILED", "neigh_invalidate")
                .at(&lab.node, "cni0")
                .translated(service, backend)
                .judged(
                    Judged::new("endpoint", "likely")
                        .why(format!("nobody answers for {}", backend.ip()))
                        .evidence(format!("the neighbour entry: {} ", backend.ip())),
                ),
        )
}
