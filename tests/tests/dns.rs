//! DNS queries over UDP: answered, and not.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use whydrop_tests::{
    attempt::AttemptTrace,
    deadline,
    expected::ExpectedAttempt,
    fault::{Chain, nft},
    lab::{
        Family, Host,
        topology::{NodeLab, VoidLab},
    },
    traffic::{DnsQuery, DnsServer},
};

/// The port is all that a query is known by.
const PORT: u16 = 53;

/// A query that is answered, for itself and in its record.
fn answered(
    watch: &mut AttemptTrace,
    client: &Host,
    server: SocketAddr,
    name: &str,
    expected: &ExpectedAttempt,
) -> Result<()> {
    let query = DnsQuery::send(client, server, name)?;
    ensure!(query.answered(deadline())?, "no answer about {name}");
    watch.expect(query.flow(), expected)
}

#[test]
fn answers_with_their_codes() -> Result<()> {
    let lab = NodeLab::build()?;
    Family::each(|family| {
        let server = lab.outside.socket(family, PORT);
        let _server = DnsServer::start(&lab.outside, server)?;
        let mut watch = AttemptTrace::start(&[&lab.node], [server])?;
        for (name, rcode) in [
            ("cart.shop.example", "NOERROR"),
            ("missing.shop.example", "NXDOMAIN"),
            ("broken.shop.example", "SERVFAIL"),
        ] {
            let expected = ExpectedAttempt::answered()
                .hops(&[(&lab.node, "veth-a in, cni0 in, eth0 out")])
                .reply_hops(&[(&lab.node, "eth0 in, cni0 out, veth-a out")])
                .dns(name, "A", Some(rcode));
            answered(&mut watch, &lab.pod_a, server, name, &expected)?;
        }
        watch.finish().map(drop)
    })
}

#[test]
fn query_dropped() -> Result<()> {
    let lab = NodeLab::build()?;
    Family::each(|family| {
        let server = lab.outside.socket(family, PORT);
        let _server = DnsServer::start(&lab.outside, server)?;
        let mut watch = AttemptTrace::start(&[&lab.node], [server])?;
        let name = "cart.shop.example";
        let expected = ExpectedAttempt::answered()
            .hops(&[(&lab.node, "veth-a in, cni0 in, eth0 out")])
            .reply_hops(&[(&lab.node, "eth0 in, cni0 out, veth-a out")])
            .dns(name, "A", Some("NOERROR"));
        answered(&mut watch, &lab.pod_a, server, name, &expected)?;
        let protocol = family.pick("ip", "ip6");
        let rule = format!("{protocol} daddr {} udp dport 53 drop", server.ip());
        nft(&lab.node, Chain::inet("forward"), &rule)?;
        let query = DnsQuery::send(&lab.pod_a, server, name)?;
        watch.expect(
            query.flow(),
            &ExpectedAttempt::dropped("unanswered", "firewall")
                .hops(&[(&lab.node, "veth-a in, cni0 in")])
                .evidence("FORWARD")
                .dns(name, "A", None),
        )?;
        watch.finish().map(drop)
    })
}

#[test]
fn answer_dropped() -> Result<()> {
    let lab = NodeLab::build()?;
    let server = lab.outside.socket(Family::V4, PORT);
    let _server = DnsServer::start(&lab.outside, server)?;
    let mut watch = AttemptTrace::start(&[&lab.node], [server])?;
    let rule = "udp sport 53 drop";
    nft(&lab.node, Chain::inet("prerouting"), rule)?;
    let name = "cart.shop.example";
    let query = DnsQuery::send(&lab.pod_a, server, name)?;
    watch.expect(
        query.flow(),
        &ExpectedAttempt::dropped("unanswered", "firewall")
            .hops(&[(&lab.node, "veth-a in, cni0 in, eth0 out")])
            .reply_hops(&[(&lab.node, "eth0 in")])
            .evidence("PREROUTING")
            .dns(name, "A", Some("NOERROR")),
    )?;
    watch.finish().map(drop)
}

#[test]
fn query_into_the_void() -> Result<()> {
    let lab = VoidLab::build()?;
    Family::each(|family| {
        let from = lab.pod.address(family).to_string();
        let near = lab.node.socket(family, PORT);
        let _server = DnsServer::start(&lab.node, near)?;
        let mut watch = AttemptTrace::start(&[&lab.node], ["--from", &from])?;
        let name = "cart.shop.example";
        let expected = ExpectedAttempt::answered()
            .hops(&[(&lab.node, "veth-a in, cni0 in")])
            .reply_hops(&[(&lab.node, "cni0 out, veth-a out")])
            .dns(name, "A", Some("NOERROR"));
        answered(&mut watch, &lab.pod, near, name, &expected)?;
        let far = SocketAddr::new(lab.far_address(family), PORT);
        let query = DnsQuery::send(&lab.pod, far, name)?;
        watch.expect(
            query.flow(),
            &ExpectedAttempt::failed("unanswered", "off-node", "likely")
                .hops(&[(&lab.node, "veth-a in, cni0 in, eth0 out")])
                .why("eth0")
                .dns(name, "A", None),
        )?;
        watch.finish().map(drop)
    })
}

/// No DNS server listens there, and the host rejects the query.
#[test]
fn no_listener() -> Result<()> {
    let lab = NodeLab::build()?;
    Family::each(|family| {
        let server = lab.outside.socket(family, PORT);
        let mut watch = AttemptTrace::start(&[&lab.node], [server])?;
        let name = "cart.shop.example";
        let query = DnsQuery::send(&lab.pod_a, server, name)?;
        watch.expect(
            query.flow(),
            &ExpectedAttempt::failed("rejected", "socket", "likely")
                .hops(&[(&lab.node, "veth-a in, cni0 in, eth0 out")])
                .reply_hops(&[(&lab.node, "eth0 in, cni0 out, veth-a out")])
                .by(server.ip().to_string())
                .dns(name, "A", None),
        )?;
        watch.finish().map(drop)
    })
}

/// Both pods ask the same question from the same port by the same id. One of them is not let through;
/// masquerading hides which of them a query on the uplink is of.
#[test]
fn two_clients_with_one_id() -> Result<()> {
    const CLIENT: u16 = 40000;
    let lab = NodeLab::build()?;
    let server = lab.outside.socket(Family::V4, PORT);
    let _server = DnsServer::start(&lab.outside, server)?;
    nft(
        &lab.node,
        Chain {
            kind: "nat",
            ..Chain::inet("postrouting")
        },
        "oifname eth0 masquerade",
    )?;
    let rule = format!(
        "ip saddr {} udp dport 53 drop",
        lab.pod_a.address(Family::V4)
    );
    nft(&lab.node, Chain::inet("forward"), &rule)?;
    let mut watch = AttemptTrace::start(&[&lab.node], [server])?;
    let name = "cart.shop.example";
    let refused = DnsQuery::send_from(&lab.pod_a, CLIENT, server, name)?;
    let admitted = DnsQuery::send_from(&lab.pod_b, CLIENT, server, name)?;
    ensure!(
        admitted.answered(deadline())?,
        "no answer for the other pod"
    );
    watch.expect(
        admitted.flow(),
        &ExpectedAttempt::answered()
            .hops(&[(&lab.node, "veth-b in, cni0 in, eth0 out")])
            .reply_hops(&[(&lab.node, "eth0 in, cni0 out, veth-b out")])
            .dns(name, "A", Some("NOERROR")),
    )?;
    watch.expect(
        refused.flow(),
        &ExpectedAttempt::dropped("unanswered", "firewall")
            .hops(&[(&lab.node, "veth-a in, cni0 in")])
            .evidence("FORWARD")
            .dns(name, "A", None),
    )?;
    watch.finish().map(drop)
}
