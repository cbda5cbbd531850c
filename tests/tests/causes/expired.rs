//! Packets whose TTL runs out on their way: a routing loop, a sender that allows too few hops, and
//! traceroute, which means them to be dropped.

use std::net::UdpSocket;

use anyhow::{Result, ensure};
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const BEYOND: &str = "10.20.7.7:8080";
const SERVER: &str = "10.20.2.3:8080";

/// The node's default route leads to a router that sends everything back.
fn looping() -> Result<Stage> {
    let mut stage = Stage::routed_pods()?;
    stage.add("gw")?;
    stage.veth(("gw", "eth0"), ("node", "up"))?;
    stage.ip(
        "node",
        "addr add 10.20.9.1/24 dev up; route add default via 10.20.9.2",
    )?;
    stage.ip(
        "gw",
        "addr add 10.20.9.2/24 dev eth0; route add default via 10.20.9.1",
    )?;
    stage.sysctl("gw", "net.ipv4.ip_forward=1")?;
    Ok(stage)
}

fn dial(stage: &Stage, to: &str, end: End) -> Result<Report> {
    stage.trace(["node"], to, |watch| watch.dial("a", to)?.ends(end))
}

#[test]
fn two_routers_send_it_to_each_other() -> Result<()> {
    dial(&looping()?, BEYOND, End::Failed(libc::EHOSTUNREACH))?.verdict(
        &ExpectedVerdict::new("route", "confirmed")
            .why("a routing loop: the SYN passed up")
            .never_says(["too small"]),
    )?;
    Ok(())
}

/// It is dropped in the namespace that is watched, and the model has the loop.
#[test]
fn the_loop_ends_where_it_is_watched() -> Result<()> {
    let stage = looping()?;
    // An odd number of hops is left at the node.
    stage.sysctl("a", "net.ipv4.ip_default_ttl=63")?;
    dial(&stage, BEYOND, End::Failed(libc::EHOSTUNREACH))?.verdict(
        &ExpectedVerdict::new("route", "confirmed")
            .why("a routing loop through")
            .names("up")
            .names("eth0")
            .fix("ip route get 10.20.7.7")
            .never_says(["too small"]),
    )?;
    Ok(())
}

#[test]
fn the_sender_allows_too_few_hops() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.serve("b", SERVER)?;
    stage.sysctl("a", "net.ipv4.ip_default_ttl=1")?;
    dial(&stage, SERVER, End::Failed(libc::EHOSTUNREACH))?.verdict(
        &ExpectedVerdict::new("route", "possible")
            .why("without a loop: the sender's TTL is too small")
            .fix("ip_default_ttl")
            .never_says(["a routing loop through"]),
    )?;
    Ok(())
}

/// The answer is allowed one hop, as by the metadata service of AWS (opstrace/opstrace#1382): no
/// traceroute sends such packets.
#[test]
fn the_answer_is_allowed_too_few_hops() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.serve("b", SERVER)?;
    stage.sysctl("b", "net.ipv4.ip_default_ttl=1")?;
    dial(&stage, SERVER, End::Silent)?
        .outcome("unanswered")?
        .verdict(
            &ExpectedVerdict::new("route", "likely")
                .why("it is an answer")
                .why("so its TTL is too small")
                .evidence("it was sent with one hop left")
                .fix("ip_default_ttl")
                .never_says(["traceroute", "a routing loop through"]),
        )?;
    Ok(())
}

/// One datagram for each hop, until one arrives, where no socket takes it.
#[test]
fn traceroute_is_no_failure() -> Result<()> {
    let stage = Stage::routed_pods()?;
    let report = stage.trace(["node", "b"], "--from 10.20.1.2", |watch| {
        let socket = stage.enter("a", || UdpSocket::bind("10.20.1.2:0"))?;
        for (ttl, port) in (1..).zip(33_434..33_438) {
            socket.set_ttl(ttl)?;
            // The error of an earlier one is reported once.
            let sent = socket.send_to(b"where are you?", ("10.20.2.3", port));
            if sent.is_err() {
                socket.send_to(b"where are you?", ("10.20.2.3", port))?;
            }
        }
        // A datagram for a closed port that is none of these.
        socket.set_ttl(64)?;
        let closed = socket.send_to(b"hello?", ("10.20.2.3", 9));
        if closed.is_err() {
            socket.send_to(b"hello?", ("10.20.2.3", 9))?;
        }
        watch.until_drop()
    })?;
    let trace = report.trace();
    ensure!(trace.summary.noise >= 4, "{:?}", trace.summary);
    let mut shown = trace.drops().map(|drop| drop.flow.dport);
    ensure!(shown.all(|port| port == Some(9)), "{report}");
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    let stage = looping()?;
    stage.serve("b", SERVER)?;
    dial(&stage, SERVER, End::Answered)?.silent()?;
    // The router has the destination, and the way back is another one.
    let stage = looping()?;
    stage.ip("gw", "addr add 10.20.7.7/32 dev lo")?;
    stage.serve("gw", BEYOND)?;
    dial(&stage, BEYOND, End::Answered)?.silent().map(drop)
}
