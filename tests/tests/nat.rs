//! Drops behind a Service's address: the filter is what the client asked for.

use anyhow::Result;
use std::net::SocketAddr;
use whydrop_tests::{
    expected::{ExpectedDrop, ExpectedVerdict},
    fault::{Chain, nft},
    lab::{Family, topology::NodeLab},
    scenario::Scenario,
};

#[test]
fn cluster_ip_and_a_drop_behind_it() -> Result<()> {
    let lab = NodeLab::build()?;
    Family::each(|family| {
        let service = SocketAddr::new(lab.cluster_ip(family), 80);
        let backend = lab.outside.socket(family, Scenario::port(family));
        let protocol = family.pick("ip", "ip6");
        nft(
            &lab.node,
            Chain::dnat(),
            &format!(
                "{protocol} daddr {} tcp dport 80 dnat {protocol} to {backend}",
                service.ip()
            ),
        )?;
        Scenario::new(&lab, &lab.pod_a, &lab.outside, family)
            .dial(service)
            .fault_on_port(|port| {
                nft(
                    &lab.node,
                    Chain::inet("forward"),
                    &format!("tcp dport {port} drop"),
                )
            })
            .drops(
                &ExpectedDrop::new("NETFILTER_DROP", "nft_do_chain")
                    .hook("FORWARD")
                    .at(&lab.node, "cni0")
                    .translated(service, backend)
                    .judged(
                        ExpectedVerdict::new("firewall", "confirmed")
                            .why(format!("`tcp dport {} drop`", backend.port()))
                            .fix(format!(
                                "daddr {} tcp dport {}",
                                backend.ip(),
                                backend.port()
                            )),
                    ),
            )
    })
}
