//! Handshakes that were answered, and what follows does not get through.

use std::thread;

use anyhow::{Result, bail, ensure};
use whydrop_tests::{
    attempt::AttemptTrace,
    deadline,
    expected::ExpectedAttempt,
    fault::{Chain, nft},
    lab::{
        Family, Namespace,
        topology::{NodeLab, RouterLab},
    },
    traffic::{Outcome, TcpServer, upload},
};

const PORT: u16 = 8080;

fn port(family: Family) -> u16 {
    PORT + family.pick(4, 6)
}

/// The client considers itself connected; the server never gets the last ACK.
#[test]
fn last_ack_dropped() -> Result<()> {
    let lab = NodeLab::build()?;
    Family::at_once(|family| {
        let server = lab.pod_a.socket(family, port(family));
        let _server = TcpServer::echo(&lab.pod_a, server)?;
        let answered = ExpectedAttempt::answered()
            .hops(&[(&lab.node, "eth0 in, cni0 out, veth-a out")])
            .reply_hops(&[(&lab.node, "veth-a in, cni0 in, eth0 out")]);
        let mut watch = AttemptTrace::start(&[&lab.node], [server])?;
        watch.healthy(&lab.outside, &lab.pod_a, server, &answered)?;
        let rule = format!(
            "tcp dport {} tcp flags & (syn | ack) == ack drop",
            server.port()
        );
        nft(&lab.node, Chain::inet("forward"), &rule)?;
        let attempt = watch.broken(&lab.outside, server, &answered)?;
        let stalled = ExpectedAttempt::dropped("stalled", "firewall")
            .corrects("answered")
            .hops(&[(&lab.node, "eth0 in, cni0 out, veth-a out")])
            .reply_hops(&[(&lab.node, "veth-a in, cni0 in, eth0 out")])
            .evidence("FORWARD");
        watch.expect(attempt.flow(), &stalled)?;
        watch.finish().map(drop)
    })
}

/// Where the tracer looks.
#[derive(Clone, Copy)]
enum View {
    Router,
    Client,
}

impl View {
    fn watched(self, lab: &RouterLab) -> &Namespace {
        match self {
            Self::Router => &lab.router,
            Self::Client => &lab.client,
        }
    }

    /// What is seen of a handshake there.
    fn seen(self, lab: &RouterLab, expected: ExpectedAttempt) -> ExpectedAttempt {
        let (hops, back) = match self {
            Self::Router => ("left in, right out", "right in, left out"),
            Self::Client => ("eth0 out", "eth0 in"),
        };
        let watched = self.watched(lab);
        expected
            .hops(&[(watched, hops)])
            .reply_hops(&[(watched, back)])
    }
}

/// A small conversation, then a hole for large packets, then a large upload. `stalled`: what is
/// reported in the end; `None` where it works after all.
fn upload_through(
    view: View,
    hole: impl Fn(&RouterLab, Family) -> Result<()> + Sync,
    stalled: Option<&ExpectedAttempt>,
) -> Result<()> {
    Family::at_once(|family| {
        let lab = RouterLab::build()?;
        let server = lab.server.socket(family, port(family));
        let _server = TcpServer::echo(&lab.server, server)?;
        let mut watch = AttemptTrace::start(&[view.watched(&lab)], [server])?;
        let answered = view.seen(&lab, ExpectedAttempt::answered());
        watch.healthy(&lab.client, &lab.server, server, &answered)?;
        hole(&lab, family)?;
        let attempt = watch.broken(&lab.client, server, &answered)?;
        let flow = attempt.flow();
        let Outcome::Connected(connection) = attempt.outcome(deadline())? else {
            bail!("no connection");
        };
        let transfer = {
            let connection = connection.try_clone()?;
            thread::spawn(move || upload(connection, 200_000, deadline()))
        };
        if let Some(stalled) = stalled {
            let stalled = view.seen(&lab, stalled.clone().corrects("answered"));
            watch.expect(flow, &stalled)?;
            connection.shutdown(std::net::Shutdown::Both)?;
        }
        let complete = transfer.join().expect("the transfer does not panic")?;
        ensure!(complete == stalled.is_none(), "complete: {complete}");
        watch.finish().map(drop)
    })
}

/// The router's way on takes less; the way back does not.
fn narrow(lab: &RouterLab, family: Family) -> Result<()> {
    let (flag, server) = (family.flag(), lab.server.address(family));
    lab.router
        .run(&format!(
            "ip {flag} route add {server} dev right mtu lock 1300"
        ))
        .map(drop)
}

/// … and the router's word about it is lost in its own firewall.
fn black_hole(lab: &RouterLab, family: Family) -> Result<()> {
    narrow(lab, family)?;
    let rule = family.pick(
        "icmp type destination-unreachable drop",
        "icmpv6 type packet-too-big drop",
    );
    nft(&lab.router, Chain::inet("output"), rule)
}

#[test]
fn black_hole_on_this_router() -> Result<()> {
    let expected = ExpectedAttempt::dropped("stalled", "mtu");
    upload_through(View::Router, black_hole, Some(&expected))
}

/// All that can be seen is that full-size segments are sent again and again.
#[test]
fn black_hole_elsewhere() -> Result<()> {
    let expected =
        ExpectedAttempt::failed("stalled", "mtu", "possible").evidence("a full segment has");
    upload_through(View::Client, black_hole, Some(&expected))
}

#[test]
fn path_mtu_discovery_recovers_on_this_router() -> Result<()> {
    upload_through(View::Router, narrow, None)
}

#[test]
fn path_mtu_discovery_recovers_elsewhere() -> Result<()> {
    upload_through(View::Client, narrow, None)
}

/// The two ends of a veth disagree. No ICMP error is sent, and the server has promised to take more.
#[test]
fn veth_peer_mtu() -> Result<()> {
    let hole = |lab: &RouterLab, family: Family| {
        lab.server.run("ip link set dev eth0 mtu 1300")?;
        let flag = family.flag();
        let default = lab.server.run(&format!("ip {flag} route show default"))?;
        let default = default.trim().replace(" pref medium", "");
        let advmss = family.pick(1460, 1440);
        lab.server.run(&format!(
            "ip {flag} route replace {default} advmss {advmss}"
        ))?;
        // Whole trains of segments would pass for one packet.
        lab.router.run("ethtool -K right gso off tso off")?;
        lab.client.run("ethtool -K eth0 gso off tso off").map(drop)
    };
    let expected = ExpectedAttempt::dropped("stalled", "mtu").evidence("__dev_forward_skb2");
    upload_through(View::Router, hole, Some(&expected))
}
