//! What is counted is counted exactly, however fast it comes.

use anyhow::{Result, ensure};
use whydrop_tests::{
    fault::{Chain, counted_packets, nft},
    lab::{Family, Topology, topology::NodeLab},
    machine,
    tracer::{Tracer, watching},
    traffic::UdpClient,
};

#[test]
fn a_storm_of_drops() -> Result<()> {
    const PACKETS: usize = 200_000;
    const PORT: u16 = 9999;

    let _alone = machine::alone();
    let lab = NodeLab::build()?;
    let chain = Chain::inet("forward");
    nft(&lab.node, chain, &format!("udp dport {PORT} counter drop"))?;
    let target = lab.pod_a.socket(Family::V4, PORT);
    let mut arguments = watching(&lab.namespaces());
    arguments.push(target.to_string());
    let tracer = Tracer::start(arguments)?;
    UdpClient::connect(&lab.outside, None, target)?.storm(PACKETS)?;
    let trace = tracer.stop()?;

    let by_the_rule = counted_packets(&lab.node, chain)?;
    // A busy machine may overflow a CPU's backlog on the way: drops too, but not the rule's.
    let on_the_way: u64 = trace
        .drops()
        .filter(|drop| !drop.reason.is("NETFILTER_DROP"))
        .map(|drop| drop.count)
        .sum();
    ensure!(
        by_the_rule + on_the_way == PACKETS as u64,
        "{PACKETS} sent, {by_the_rule} dropped by the rule, {on_the_way} on the way"
    );
    ensure!(
        trace.summary.drops == by_the_rule + on_the_way,
        "the rule has counted {by_the_rule}, and {on_the_way} were lost before it: {:?}",
        trace.summary
    );
    Ok(())
}
