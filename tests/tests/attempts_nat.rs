//! Handshakes through NAT: one unbroken ladder, whichever address the filter names.

use std::net::SocketAddr;

use anyhow::Result;
use whydrop_tests::{
    attempt::AttemptTrace,
    expected::ExpectedAttempt,
    fault::{Chain, nft},
    lab::{Family, topology::NodeLab},
    traffic::TcpServer,
};

const HOPS: &str = "veth-a in, cni0 in, eth0 out";
const BACK: &str = "eth0 in, cni0 out, veth-a out";

/// A Service in front of `backend`, and the node's own address in front of the pods.
fn translate(
    lab: &NodeLab,
    family: Family,
    service: SocketAddr,
    backend: SocketAddr,
) -> Result<()> {
    let protocol = family.pick("ip", "ip6");
    let (address, port) = (service.ip(), service.port());
    nft(
        &lab.node,
        Chain::dnat(),
        &format!("{protocol} daddr {address} tcp dport {port} dnat {protocol} to {backend}"),
    )?;
    let port = backend.port();
    nft(
        &lab.node,
        Chain {
            kind: "nat",
            ..Chain::inet("postrouting")
        },
        &format!("oifname eth0 tcp dport {port} masquerade"),
    )
}

/// A healthy attempt, and one whose translated SYN is dropped.
fn through_nat(arguments: impl Fn(&NodeLab, SocketAddr, SocketAddr) -> Vec<String>) -> Result<()> {
    let lab = NodeLab::build()?;
    Family::each(|family| {
        let service = SocketAddr::new(lab.cluster_ip(family), 80);
        let backend = lab.outside.socket(family, family.pick(8004, 8006));
        translate(&lab, family, service, backend)?;
        let _server = TcpServer::echo(&lab.outside, backend)?;
        let mut watch = AttemptTrace::start(&[&lab.node], arguments(&lab, service, backend))?;
        watch.healthy(
            &lab.pod_a,
            &lab.outside,
            service,
            &ExpectedAttempt::answered()
                .hops(&[(&lab.node, HOPS)])
                .reply_hops(&[(&lab.node, BACK)])
                .translated(backend),
        )?;
        let rule = format!("tcp dport {} drop", backend.port());
        nft(&lab.node, Chain::inet("forward"), &rule)?;
        watch.silent(
            &lab.pod_a,
            service,
            &ExpectedAttempt::dropped("unanswered", "firewall")
                .hops(&[(&lab.node, "veth-a in, cni0 in")])
                .evidence("FORWARD"),
        )?;
        watch.finish().map(drop)
    })
}

#[test]
fn filter_on_the_service() -> Result<()> {
    through_nat(|_, service, _| vec![service.to_string()])
}

#[test]
fn filter_on_the_backend() -> Result<()> {
    through_nat(|_, _, backend| vec![backend.to_string()])
}

#[test]
fn filter_on_the_client() -> Result<()> {
    through_nat(|lab, _, backend| {
        let family = if backend.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        vec!["--from".to_owned(), lab.pod_a.address(family).to_string()]
    })
}

/// The pod behind the node's port: the SYN comes from outside, and the filter names the pod.
#[test]
fn node_port() -> Result<()> {
    let lab = NodeLab::build()?;
    Family::each(|family| {
        let node_port = lab.node.socket(family, family.pick(30004, 30006));
        let pod = lab.pod_a.socket(family, family.pick(8004, 8006));
        translate(&lab, family, node_port, pod)?;
        let _server = TcpServer::echo(&lab.pod_a, pod)?;
        let mut watch = AttemptTrace::start(&[&lab.node], [pod])?;
        watch.healthy(
            &lab.outside,
            &lab.pod_a,
            node_port,
            &ExpectedAttempt::answered()
                .hops(&[(&lab.node, "eth0 in, cni0 out, veth-a out")])
                .reply_hops(&[(&lab.node, "veth-a in, cni0 in, eth0 out")])
                .translated(pod),
        )?;
        watch.finish().map(drop)
    })
}
