//! Handshakes that are refused: by which host or rule, and why.

use anyhow::{Result, bail, ensure};
use whydrop_tests::{
    attempt::AttemptTrace,
    deadline,
    expected::ExpectedAttempt,
    fault::{Chain, nft},
    lab::{
        Family,
        topology::{NodeLab, RouterLab},
    },
    record::Point,
    tracer::{Tracer, watching},
    traffic::{Outcome, TcpAttempt, TcpServer},
};

const PORT: u16 = 8080;

fn port(family: Family) -> u16 {
    PORT + family.pick(4, 6)
}

/// The client must have received the error.
fn refused(attempt: TcpAttempt) -> Result<()> {
    match attempt.outcome(deadline())? {
        Outcome::Refused => Ok(()),
        other => bail!("to be refused, but: {other:?}"),
    }
}

#[test]
fn closed_port_at_the_far_end() -> Result<()> {
    let lab = NodeLab::build()?;
    Family::each(|family| {
        let server = lab.outside.socket(family, port(family));
        let echo = TcpServer::echo(&lab.outside, server)?;
        let mut watch = AttemptTrace::start(&[&lab.node], [server])?;
        let hops = [(&*lab.node, "veth-a in, cni0 in, eth0 out")];
        let back = [(&*lab.node, "eth0 in, cni0 out, veth-a out")];
        watch.healthy(
            &lab.pod_a,
            &lab.outside,
            server,
            &ExpectedAttempt::answered().hops(&hops).reply_hops(&back),
        )?;
        drop(echo);
        let attempt = watch.broken(
            &lab.pod_a,
            server,
            &ExpectedAttempt::failed("refused", "socket", "likely")
                .hops(&hops)
                .reply_hops(&back)
                .by("the far end"),
        )?;
        refused(attempt)?;
        watch.finish().map(drop)
    })
}

#[test]
fn closed_port_on_this_node() -> Result<()> {
    let lab = NodeLab::build()?;
    Family::each(|family| {
        let server = lab.node.socket(family, port(family));
        let echo = TcpServer::echo(&lab.node, server)?;
        let mut watch = AttemptTrace::start(&[&lab.node], [server])?;
        let hops = [(&*lab.node, "eth0 in")];
        let back = [(&*lab.node, "eth0 out")];
        watch.healthy(
            &lab.outside,
            &lab.node,
            server,
            &ExpectedAttempt::answered().hops(&hops).reply_hops(&back),
        )?;
        drop(echo);
        let attempt = watch.broken(
            &lab.outside,
            server,
            &ExpectedAttempt::dropped("refused", "socket")
                .hops(&hops)
                .reply_hops(&back)
                .by("this node")
                .evidence("NO_SOCKET"),
        )?;
        refused(attempt)?;
        watch.finish().map(drop)
    })
}

/// A rule in FORWARD that rejects what goes to the server's port.
fn rejected(
    rule: &str,
    outcome: &'static str,
    by: impl Fn(&NodeLab, Family) -> String,
) -> Result<()> {
    let lab = NodeLab::build()?;
    Family::each(|family| {
        let server = lab.pod_a.socket(family, port(family));
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
        let rule = format!("tcp dport {} {rule}", server.port());
        nft(&lab.node, Chain::inet("forward"), &rule)?;
        let attempt = watch.broken(
            &lab.outside,
            server,
            &ExpectedAttempt::dropped(outcome, "firewall")
                .hops(&[(&lab.node, "eth0 in")])
                .reply_hops(&[(&lab.node, "eth0 out")])
                .by(by(&lab, family))
                .evidence("nft_do_chain"),
        )?;
        refused(attempt)?;
        watch.finish().map(drop)
    })
}

#[test]
fn reject_with_icmp() -> Result<()> {
    let rule = "reject with icmpx port-unreachable";
    rejected(rule, "rejected", |lab, family| {
        lab.node.address(family).to_string()
    })
}

#[test]
fn reject_with_tcp_reset() -> Result<()> {
    rejected("reject with tcp reset", "refused", |_, _| {
        "this node".to_owned()
    })
}

/// A rule on another machine rejects with an ICMP message.
fn rejected_elsewhere(with: &str, confidence: &'static str, why: &str) -> Result<()> {
    let lab = RouterLab::build()?;
    Family::each(|family| {
        let server = lab.server.socket(family, port(family));
        let _server = TcpServer::echo(&lab.server, server)?;
        let mut watch = AttemptTrace::start(&[&lab.client], [server])?;
        let (hops, back) = ([(&*lab.client, "eth0 out")], [(&*lab.client, "eth0 in")]);
        watch.healthy(
            &lab.client,
            &lab.server,
            server,
            &ExpectedAttempt::answered().hops(&hops).reply_hops(&back),
        )?;
        let rule = format!("tcp dport {} reject with icmpx {with}", server.port());
        nft(&lab.router, Chain::inet("forward"), &rule)?;
        watch.broken(
            &lab.client,
            server,
            &ExpectedAttempt::failed("rejected", "firewall", confidence)
                .why(why)
                .hops(&hops)
                .reply_hops(&back)
                .by(lab.router.address(family).to_string()),
        )?;
        watch.finish().map(drop)
    })
}

/// It says that it is a rule.
#[test]
fn prohibited_by_a_router_elsewhere() -> Result<()> {
    let why = "administratively prohibited";
    rejected_elsewhere("admin-prohibited", "likely", why)
}

/// The error does not show it, but no closed TCP port answers like this.
#[test]
fn port_unreachable_by_a_router_elsewhere() -> Result<()> {
    let why = "port unreachable, which is a rule there that rejects";
    rejected_elsewhere("port-unreachable", "possible", why)
}

/// No host has the address: the router's ARP probes stay unanswered, and it reports that by ICMP.
fn host_unreachable(watch_router: bool) -> Result<()> {
    let lab = RouterLab::build()?;
    Family::each(|family| {
        let server = lab.server.socket(family, port(family));
        let _server = TcpServer::echo(&lab.server, server)?;
        let (hops, back, expected) = if watch_router {
            let here = &*lab.router;
            let expected = ExpectedAttempt::dropped("rejected", "endpoint");
            ([(here, "left in")], [(here, "left out")], expected)
        } else {
            let here = &*lab.client;
            let expected = ExpectedAttempt::failed("rejected", "endpoint", "likely");
            ([(here, "eth0 out")], [(here, "eth0 in")], expected)
        };
        let healthy = ExpectedAttempt::answered();
        let healthy = if watch_router {
            healthy
                .hops(&[(&lab.router, "left in, right out")])
                .reply_hops(&[(&lab.router, "right in, left out")])
        } else {
            healthy.hops(&hops).reply_hops(&back)
        };
        let mut watch = AttemptTrace::start(&[hops[0].0], [server])?;
        watch.healthy(&lab.client, &lab.server, server, &healthy)?;
        // One question instead of three, and a short wait for the answer.
        let neighbors = format!("{}/neigh/right", family.pick("ipv4", "ipv6"));
        lab.router
            .sysctl(&format!("{neighbors}/mcast_solicit"), "1")?;
        let wait = format!("{neighbors}/retrans_time_ms");
        lab.router.sysctl(&wait, "100")?;
        let flag = family.flag();
        lab.server
            .run(&format!("ip {flag} address flush dev eth0"))?;
        lab.router
            .run(&format!("ip {flag} neighbor flush dev right"))?;
        watch.broken(
            &lab.client,
            server,
            &expected
                .hops(&hops)
                .reply_hops(&back)
                .by(lab.router.address(family).to_string()),
        )?;
        watch.finish().map(drop)
    })
}

#[test]
fn host_unreachable_says_this_router() -> Result<()> {
    host_unreachable(true)
}

#[test]
fn host_unreachable_says_a_router_elsewhere() -> Result<()> {
    host_unreachable(false)
}

/// With the kernel's usual patience, the verdict on silence comes before that on the address.
#[test]
fn a_pod_that_is_gone() -> Result<()> {
    let lab = NodeLab::build()?;
    Family::at_once(|family| {
        let pod = if family == Family::V4 {
            &lab.pod_a
        } else {
            &lab.pod_b
        };
        let server = pod.socket(family, port(family));
        let mut watch = AttemptTrace::start(&[&lab.node], [server])?;
        let flag = family.flag();
        pod.run(&format!("ip {flag} address flush dev eth0"))?;
        let hops = [(&*lab.node, "eth0 in")];
        let attempt = watch.broken(
            &lab.outside,
            server,
            &ExpectedAttempt::failed("unanswered", "endpoint", "likely")
                .hops(&hops)
                .why(format!("no host answers for {}", server.ip()))
                .evidence("the packet is queued behind them"),
        )?;
        watch.expect(
            attempt.flow(),
            &ExpectedAttempt::dropped("rejected", "endpoint")
                .corrects("unanswered")
                .hops(&hops)
                .reply_hops(&[(&lab.node, "eth0 out")])
                .by(lab.node.address(family).to_string()),
        )?;
        watch.finish().map(drop)
    })
}

/// A pod that misses the first question for its address, and answers the second: slow is not gone.
#[test]
fn a_pod_that_is_slow_to_answer_arp() -> Result<()> {
    let lab = NodeLab::build()?;
    let server = lab.pod_a.socket(Family::V4, PORT);
    let _server = TcpServer::echo(&lab.pod_a, server)?;
    let mut arguments = watching(&[&lab.node]);
    arguments.push(server.to_string());
    let tracer = Tracer::start(arguments)?;
    // `8`: do not reply for any address.
    lab.pod_a.sysctl("ipv4/conf/eth0/arp_ignore", "8")?;
    lab.node.run("ip -4 neighbor flush dev cni0")?;
    let attempt = TcpAttempt::start(&lab.outside, None, server)?;
    lab.pod_a.sysctl("ipv4/conf/eth0/arp_ignore", "0")?;
    let Outcome::Connected(_connection) = attempt.outcome(deadline())? else {
        bail!("the pod answers the second question");
    };
    let trace = tracer.stop()?;
    let attempts: Vec<_> = trace.attempts().collect();
    ensure!(!attempts.is_empty(), "nothing was reported");
    for attempt in &attempts {
        let point = attempt.verdict.as_ref().map(|verdict| verdict.point);
        ensure!(
            point.is_none_or(|point| point != Point::Endpoint),
            "{attempt:?}"
        );
    }
    let last = attempts.last().map(|attempt| attempt.outcome.name());
    ensure!(last == Some("answered"), "{last:?}");
    Ok(())
}
