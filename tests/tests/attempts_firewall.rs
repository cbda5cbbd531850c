//! Handshakes that a rule on this node breaks: the attempt's verdict is its drop's.

use anyhow::Result;
use whydrop_tests::{
    attempt::AttemptTrace,
    expected::ExpectedAttempt,
    fault::{Chain, nft},
    lab::{Family, topology::NodeLab},
    traffic::TcpServer,
};

const PORT: u16 = 8080;

#[test]
fn syn_dropped_in_forward() -> Result<()> {
    let lab = NodeLab::build()?;
    Family::each(|family| {
        let server = lab.pod_a.socket(family, PORT + family.pick(4, 6));
        let _server = TcpServer::echo(&lab.pod_a, server)?;
        let mut watch = AttemptTrace::start(&[&lab.node], [server])?;
        watch.healthy(
            &lab.outside,
            &lab.pod_a,
            server,
            &ExpectedAttempt::answered()
                .hops(&[(&lab.node, "eth0 in, cni0 out, veth-a out")])
                .reply_hops(&[(&lab.node, "veth-a in, cni0 in, eth0 out")]),
        )?;
        let rule = format!("tcp dport {} drop", server.port());
        nft(&lab.node, Chain::inet("forward"), &rule)?;
        watch.silent(
            &lab.outside,
            server,
            &ExpectedAttempt::dropped("unanswered", "firewall")
                .hops(&[(&lab.node, "eth0 in")])
                .evidence("nft_do_chain")
                .evidence("FORWARD"),
        )?;
        watch.finish().map(drop)
    })
}

/// With both ends in sight.
#[test]
fn syn_dropped_where_it_arrives() -> Result<()> {
    let lab = NodeLab::build()?;
    let server = lab.pod_b.socket(Family::V4, PORT);
    let _server = TcpServer::echo(&lab.pod_b, server)?;
    let watched = [&*lab.node, &lab.pod_a, &lab.pod_b];
    let mut watch = AttemptTrace::start(&watched, [server])?;
    let hops = [
        (&*lab.pod_a, "eth0 out"),
        (&lab.node, "veth-a in, veth-b out"),
        (&lab.pod_b, "eth0 in"),
    ];
    watch.healthy(
        &lab.pod_a,
        &lab.pod_b,
        server,
        &ExpectedAttempt::answered().hops(&hops).reply_hops(&[
            (&lab.pod_b, "eth0 out"),
            (&lab.node, "veth-b in, veth-a out"),
            (&lab.pod_a, "eth0 in"),
        ]),
    )?;
    let rule = format!("tcp dport {PORT} drop");
    nft(&lab.pod_b, Chain::inet("input"), &rule)?;
    watch.silent(
        &lab.pod_a,
        server,
        &ExpectedAttempt::dropped("unanswered", "firewall")
            .hops(&hops)
            .evidence("nft_do_chain")
            .evidence("INPUT"),
    )?;
    watch.finish().map(drop)
}

#[test]
fn syn_ack_dropped_on_the_way_back() -> Result<()> {
    let lab = NodeLab::build()?;
    Family::each(|family| {
        let server = lab.outside.socket(family, PORT + family.pick(4, 6));
        let _server = TcpServer::echo(&lab.outside, server)?;
        let mut watch = AttemptTrace::start(&[&lab.node], [server])?;
        let hops = [(&*lab.node, "veth-a in, cni0 in, eth0 out")];
        watch.healthy(
            &lab.pod_a,
            &lab.outside,
            server,
            &ExpectedAttempt::answered()
                .hops(&hops)
                .reply_hops(&[(&lab.node, "eth0 in, cni0 out, veth-a out")]),
        )?;
        let rule = format!("tcp sport {} drop", server.port());
        nft(&lab.node, Chain::inet("prerouting"), &rule)?;
        watch.silent(
            &lab.pod_a,
            server,
            &ExpectedAttempt::dropped("unanswered", "firewall")
                .hops(&hops)
                .reply_hops(&[(&lab.node, "eth0 in")])
                .evidence("nft_do_chain")
                .evidence("PREROUTING"),
        )?;
        watch.finish().map(drop)
    })
}

/// The packets that were lost are those that were sent first: the next one gets through.
#[test]
fn a_late_answer_corrects_the_outcome() -> Result<()> {
    let lab = NodeLab::build()?;
    Family::each(|family| {
        let server = lab.pod_a.socket(family, PORT + family.pick(4, 6));
        let _server = TcpServer::echo(&lab.pod_a, server)?;
        let options = ["--timeout", "500ms", &server.to_string()];
        let mut watch = AttemptTrace::start(&[&lab.node], options)?;
        let rule = format!("tcp dport {} drop", server.port());
        nft(&lab.node, Chain::inet("forward"), &rule)?;
        let attempt = watch.broken(
            &lab.outside,
            server,
            &ExpectedAttempt::dropped("unanswered", "firewall")
                .hops(&[(&lab.node, "eth0 in")])
                .syns(1),
        )?;
        lab.node.run("nft flush ruleset")?;
        watch.expect(
            attempt.flow(),
            &ExpectedAttempt::answered()
                .corrects("unanswered")
                .hops(&[(&lab.node, "eth0 in, cni0 out, veth-a out")])
                .reply_hops(&[(&lab.node, "veth-a in, cni0 in, eth0 out")])
                .syns(2),
        )?;
        let trace = watch.finish()?;
        let waited: Vec<u64> = trace.attempts().map(|attempt| attempt.waited_ms).collect();
        anyhow::ensure!(
            matches!(waited[..], [first, then] if first >= 500 && then >= 1000 && first < then),
            "waited {waited:?} ms, with a timeout of 500"
        );
        Ok(())
    })
}
