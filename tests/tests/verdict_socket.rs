//! Verdicts on sockets: filters, buffers, closed ports, the end of a handshake, checksums.

use std::{net::SocketAddr, process};

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};
use whydrop_tests::{
    deadline,
    expected::{ExpectedDrop, ExpectedVerdict},
    fault::{Chain, nft, refuse_all},
    lab::{Family, topology::NodeLab},
    record::Drop,
    scenario::{End, Scenario, Server, Traffic},
    tracer::{Tracer, watching},
    traffic::{Outcome, TcpAttempt, TcpServer, upload, wait_until_closed},
};

const PORT: u16 = 8080;

/// From a client outside to a pod.
fn scenario(lab: &NodeLab, family: Family) -> Scenario<'_> {
    Scenario::new(lab, &lab.outside, &lab.pod_a, family)
}

fn closed(traffic: Traffic, end: End, functions: [&'static str; 2], proto: &str) -> Result<()> {
    let lab = NodeLab::build()?;
    let [v4, v6] = functions;
    Family::each(|family| {
        let (port, pod) = (Scenario::port(family), lab.pod_a.address(family));
        scenario(&lab, family).traffic(traffic).ends(end).drops(
            &ExpectedDrop::new("NO_SOCKET", family.pick(v4, v6))
                .at(&lab.pod_a, "eth0")
                .judged(
                    ExpectedVerdict::new("socket", "confirmed")
                        .why(format!("no socket listens on {proto} port {port} of {pod}")),
                ),
        )
    })
}

#[test]
fn closed_tcp_port() -> Result<()> {
    let functions = ["tcp_v4_rcv", "tcp_v6_rcv"];
    closed(Traffic::Connect, End::Refused, functions, "tcp")
}

#[test]
fn closed_udp_port() -> Result<()> {
    let functions = ["__udp4_lib_rcv", "__udp6_lib_rcv"];
    closed(Traffic::Datagram(100), End::Silent, functions, "udp")
}

fn filtered(traffic: Traffic, functions: [&'static str; 2]) -> Result<()> {
    let [v4, v6] = functions;
    Family::each(|family| {
        let lab = NodeLab::build()?;
        scenario(&lab, family)
            .traffic(traffic)
            .fault_on_server(|server| Ok(refuse_all(server)?))
            .drops(
                &ExpectedDrop::new("SOCKET_FILTER", family.pick(v4, v6))
                    .at(&lab.pod_a, "eth0")
                    .judged(
                        ExpectedVerdict::new("firewall", "confirmed")
                            .why("a socket filter or a cgroup program at ingress"),
                    ),
            )
    })
}

#[test]
fn filter_of_a_tcp_socket() -> Result<()> {
    filtered(Traffic::Connect, ["tcp_v4_rcv", "tcp_v6_rcv"])
}

#[test]
fn filter_of_a_udp_socket() -> Result<()> {
    let functions = ["udp_queue_rcv_one_skb", "udpv6_queue_rcv_one_skb"];
    filtered(Traffic::Datagram(100), functions)
}

/// The server reads no more, and its buffer is full soon.
#[test]
fn receive_buffer_full() -> Result<()> {
    Family::each(|family| {
        let lab = NodeLab::build()?;
        let function = family.pick("udp_queue_rcv_one_skb", "udpv6_queue_rcv_one_skb");
        scenario(&lab, family)
            .traffic(Traffic::Burst(12, 1000))
            .fault_on_server(|server| match server {
                Server::Udp(server) => Ok(server.go_deaf(1)?),
                Server::Tcp(_) => bail!("datagrams go to a UDP server"),
            })
            .drops(
                &ExpectedDrop::new("SOCKET_RCVBUFF", function)
                    .at(&lab.pod_a, "eth0")
                    .judged(
                        ExpectedVerdict::new("socket", "confirmed")
                            .why("the receiving socket's buffer is full"),
                    ),
            )
    })
}

/// A trace of a node and its pod, and nothing of the client's.
fn watch(lab: &NodeLab, server: SocketAddr) -> Result<Tracer> {
    let mut arguments = watching(&[&lab.node, &lab.pod_a]);
    arguments.push(server.to_string());
    Tracer::start(arguments)
}

/// Ends the trace: its drops are all of this reason and function, and judged so.
fn only(tracer: Tracer, (reason, function): (&str, &str), judged: &ExpectedVerdict) -> Result<()> {
    let trace = tracer.stop()?;
    ensure!(trace.drops().count() > 0, "no drop");
    for drop in trace.drops() {
        let is_it = drop.reason.is(reason) && drop.function.as_deref() == Some(function);
        ensure!(is_it, "another drop: {drop:?}");
        if let Some(mismatch) = judged.mismatch(&drop.verdict) {
            bail!(mismatch);
        }
    }
    Ok(())
}

/// Opens a connection, which must succeed, and keeps it.
fn connected(lab: &NodeLab, server: SocketAddr) -> Result<std::net::TcpStream> {
    match TcpAttempt::start(&lab.outside, None, server)?.outcome(deadline())? {
        Outcome::Connected(connection) => Ok(connection),
        other => bail!("no connection: {other:?}"),
    }
}

/// The accept queue has room for the SYN, and none for the ACK that ends the handshake.
fn last_acknowledgement(family: Family, cookies: &str, expected: (&str, &str)) -> Result<()> {
    const BACKLOG: i32 = 3;
    let lab = NodeLab::build()?;
    let server = lab.pod_a.socket(family, PORT);
    let _server = TcpServer::deaf(&lab.pod_a, server, BACKLOG)?;
    lab.pod_a.sysctl("ipv4/tcp_syncookies", cookies)?;
    let mut tracer = watch(&lab, server)?;

    // Nothing but SYNs gets out: the client has its SYN-ACK, and the server not its answer.
    let chain = Chain::inet("output");
    let rule = format!("tcp dport {PORT} tcp flags & (syn | ack) == ack drop");
    nft(&lab.outside, chain, &rule)?;
    let mut late = connected(&lab, server)?;
    lab.outside.run("nft flush ruleset")?;
    let held: Vec<_> = (0..=BACKLOG)
        .map(|_| connected(&lab, server))
        .collect::<Result<_>>()?;

    std::io::Write::write_all(&mut late, b"too late")?;
    let sport = late.local_addr()?.port();
    let is_late = |drop: &Drop| drop.flow.sport == Some(sport);
    tracer.wait_for("the drop of the last acknowledgement", |record| {
        record.as_drop().is_some_and(is_late)
    })?;
    let judged = ExpectedVerdict::new("listener", "confirmed")
        .why(format!(
            "the accept queue of the listener at {server} is full"
        ))
        .evidence(format!("pid {}", process::id()))
        .evidence("Recv-Q 4, backlog (Send-Q) 3");
    // The connections stay open until the trace has ended.
    only(tracer, expected, &judged)?;
    drop((held, late));
    Ok(())
}

#[test]
fn accept_queue_is_full_at_the_end_of_a_handshake() -> Result<()> {
    Family::each(|family| {
        let function = family.pick("tcp_v4_rcv", "tcp_v6_rcv");
        last_acknowledgement(family, "0", ("TCP_LISTEN_OVERFLOW", function))
    })
}

#[test]
fn accept_queue_is_full_when_a_cookie_comes_back() -> Result<()> {
    Family::each(|family| {
        let function = family.pick("cookie_v4_check", "cookie_v6_check");
        last_acknowledgement(family, "2", ("NO_SOCKET", function))
    })
}

/// A segment whose checksum was never filled in.
fn corrupt_segment(lab: &NodeLab, family: Family, server: SocketAddr) -> Result<()> {
    let domain = family.pick(Domain::IPV4, Domain::IPV6);
    let socket = lab
        .outside
        .enter(|| Socket::new(domain, Type::RAW, Some(Protocol::TCP)))?;
    let mut segment = [0; 20];
    segment[..2].copy_from_slice(&4242_u16.to_be_bytes());
    segment[2..4].copy_from_slice(&server.port().to_be_bytes());
    segment[12] = 0x50;
    segment[13] = 0x02;
    socket.send_to(&segment, &SocketAddr::new(server.ip(), 0).into())?;
    Ok(())
}

#[test]
fn wrong_checksum() -> Result<()> {
    Family::each(|family| {
        let lab = NodeLab::build()?;
        let server = lab.pod_a.socket(family, PORT);
        let _server = TcpServer::echo(&lab.pod_a, server)?;
        let mut tracer = watch(&lab, server)?;
        let healthy = connected(&lab, server)?;
        let port = healthy.local_addr()?.port();
        ensure!(upload(healthy, 100, deadline())?, "the transfer stalled");
        wait_until_closed(&lab.pod_a, port)?;
        corrupt_segment(&lab, family, server)?;
        tracer
            .wait_for("the drop of a corrupt packet", |record| {
                record.as_drop().is_some()
            })
            .context("a wrong checksum")?;
        let judged =
            ExpectedVerdict::new("checksum", "confirmed").why("the checksum is wrong (TCP_CSUM)");
        let function = family.pick("tcp_v4_rcv", "tcp_v6_rcv");
        only(tracer, ("TCP_CSUM", function), &judged)
    })
}
