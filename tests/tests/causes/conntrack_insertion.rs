//! The source is translated to an address and port that another connection has: the second entry
//! cannot be inserted, and its packet is dropped behind the last rule.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Result, ensure};
use whydrop_tests::{
    expected::ExpectedVerdict,
    fault::{NetfilterDrop, NetfilterHook},
    incident::{End, Report, Stage},
    kernel,
};

/// Two pods whose traffic to a server leaves with the node's address and one of these ports.
fn masquerading(ports: &str) -> Result<Stage> {
    let stage = Stage::new(["p1", "p2", "node", "srv"])?;
    stage.veth(("p1", "eth0"), ("node", "v1"))?;
    stage.veth(("p2", "eth0"), ("node", "v2"))?;
    stage.veth(("node", "eth0"), ("srv", "eth0"))?;
    stage.ip(
        "p1",
        "addr add 10.20.1.2/24 dev eth0; route add default via 10.20.1.1",
    )?;
    stage.ip(
        "p2",
        "addr add 10.20.2.2/24 dev eth0; route add default via 10.20.2.1",
    )?;
    stage.ip(
        "node",
        "addr add 10.20.1.1/24 dev v1; addr add 10.20.2.1/24 dev v2; addr add 10.20.9.1/24 dev eth0",
    )?;
    stage.ip("srv", "addr add 10.20.9.9/24 dev eth0")?;
    stage.sysctl("node", "net.ipv4.ip_forward=1")?;
    for protocol in ["tcp", "udp"] {
        stage.exec(
            "node",
            &format!(
                "iptables -t nat -A POSTROUTING -o eth0 -p {protocol} -j MASQUERADE --to-ports {ports}"
            ),
        )?;
    }
    stage.serve("srv", "10.20.9.9:8080")?;
    stage.serve_dns("srv", "10.20.9.9:53")?;
    Ok(stage)
}

fn tcp(ports: &str, end: End) -> Result<Report> {
    let stage = masquerading(ports)?;
    stage.keep(stage.enter("p1", || TcpStream::connect("10.20.9.9:8080"))?);
    stage.trace(["node", "p1", "p2"], "10.20.9.9:8080", |watch| {
        watch.dial("p2", "10.20.9.9:8080")?.ends(end)
    })
}

/// A socket of another pod has the only port.
fn udp(ports: &str, end: End) -> Result<Report> {
    let stage = masquerading(ports)?;
    let socket = stage.enter("p1", || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))?;
    socket.send_to(b"anything but a query", ("10.20.9.9", 53))?;
    stage.keep(socket);
    stage.trace(["node", "p1", "p2"], "10.20.9.9:53", |watch| {
        watch.ask("p2", "10.20.9.9:53")?.ends(end)
    })
}

fn taken() -> ExpectedVerdict {
    ExpectedVerdict::new("conntrack", "confirmed")
        .why("insert_failed grew by")
        .evidence("the answers of the connection from 10.20.1.2:")
        .fix("--random-fully")
        .never_says(["a netfilter rule dropped it"])
}

#[test]
fn tcp_port_is_taken() -> Result<()> {
    let report = tcp("40000-40000", End::Silent)?;
    report.outcome("unanswered")?.verdict(&taken())?;
    Ok(())
}

#[test]
fn udp_port_is_taken() -> Result<()> {
    let report = udp("40000-40000", End::Silent)?;
    report
        .outcome("unanswered")?
        .verdict(&taken().fix("single-request-reopen"))?;
    Ok(())
}

/// What could not be inserted before the trace does not explain what a program drops now.
#[test]
fn program_drops_it_where_insertions_have_failed_before() -> Result<()> {
    if kernel::NO_BPF_NETFILTER.applies() {
        return Ok(());
    }
    let stage = failed_before()?;
    dial(&stage, End::Answered)?.silent()?;
    let program = NetfilterDrop::attach(stage.namespace("node"), NetfilterHook::Postrouting)?;
    dial(&stage, End::Silent)?.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("firewall", "possible")
            .why("a BPF program at the netfilter hooks may have dropped it in POSTROUTING")
            .never_says(TAKEN),
    )?;
    drop(program);
    Ok(())
}

/// Nor what the kernel drops itself at the same hook, as it has no address to masquerade with.
#[test]
fn masquerading_has_no_address_where_insertions_have_failed_before() -> Result<()> {
    let stage = failed_before()?;
    stage.ip(
        "node",
        "addr del 10.20.9.1/24 dev eth0; route add 10.20.9.0/24 dev eth0; addr del 10.20.1.1/24 dev \
         v1; addr add 10.20.1.1/24 dev v1 scope link; addr del 10.20.2.1/24 dev v2; addr add \
         10.20.2.1/24 dev v2 scope link",
    )?;
    dial(&stage, End::Silent)?.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("unknown", "possible")
            .why("netfilter dropped it in POSTROUTING")
            .never_says(TAKEN),
    )?;
    Ok(())
}

const TAKEN: [&str; 2] = ["insert_failed grew", "tuple is taken"];

/// A node on which an entry could not be inserted, and can be now.
fn failed_before() -> Result<Stage> {
    let server: SocketAddr = "10.20.9.9:8080".parse()?;
    let stage = masquerading("40000-40000")?;
    stage.keep(stage.enter("p1", || TcpStream::connect(server))?);
    let waits = Duration::from_millis(100);
    let failed = stage.enter("p2", || TcpStream::connect_timeout(&server, waits));
    ensure!(failed.is_err(), "the port was free");
    stage.exec(
        "node",
        "iptables -t nat -F POSTROUTING; iptables -t nat -A POSTROUTING -o eth0 -p tcp -j \
         MASQUERADE --to-ports 40001-50000",
    )?;
    Ok(stage)
}

fn dial(stage: &Stage, end: End) -> Result<Report> {
    stage.trace(["node", "p1", "p2"], "10.20.9.9:8080", |watch| {
        watch.dial("p2", "10.20.9.9:8080")?.ends(end)
    })
}

#[test]
fn healthy_with_room() -> Result<()> {
    tcp("40000-50000", End::Answered)?.silent()?;
    udp("40000-50000", End::Answered)?.silent().map(drop)
}
