//! A connection keeps the translation that its first packet got, or the lack of one: its packets
//! pass by the rules of now (kubernetes/kubernetes#106274, kubernetes/kubernetes#125467).

use std::{
    collections::HashSet,
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
    record::Outcome,
};

use super::dns_service::{self, PORT, SERVICE, make_entry, translate_to};

/// The namespace tracks connections, which it does only where a rule needs it.
fn stage() -> Result<Stage> {
    let stage = dns_service::stage()?;
    stage.exec(
        "node",
        "iptables -t nat -A POSTROUTING -s 10.20.1.0/24 -o eth0 -j MASQUERADE",
    )?;
    Ok(stage)
}

/// The entry still leads to this endpoint, and the rules to a pod.
fn stage_with_entry_for(former: &str) -> Result<Stage> {
    let stage = stage()?;
    translate_to(&stage, "-A PREROUTING", former)?;
    make_entry(&stage)?;
    translate_to(&stage, "-R PREROUTING 1", "10.20.2.3:53")?;
    Ok(stage)
}

fn forget_entries(stage: &Stage) -> Result<()> {
    stage.exec("node", "conntrack -D -p udp --orig-dst 10.20.96.53")?;
    Ok(())
}

fn ask(stage: &Stage, end: End) -> Result<Report> {
    stage.trace(["node", "a", "b"], SERVICE, |watch| {
        watch.ask_from("a", PORT, SERVICE)?.ends(end)
    })
}

fn stale() -> ExpectedVerdict {
    ExpectedVerdict::new("conntrack", "likely")
        .why("the conntrack entry of 10.20.1.2:5353")
        .fix("conntrack -D -p udp --orig-dst 10.20.96.53")
        .never_says(["security group"])
}

#[test]
fn entry_made_without_translation() -> Result<()> {
    let stage = stage()?;
    make_entry(&stage)?;
    translate_to(&stage, "-A PREROUTING", "10.20.2.3:53")?;
    let report = ask(&stage, End::Silent)?;
    report.outcome("unanswered")?.verdict(
        &stale()
            .why("without a translation of 10.20.96.53:53")
            .why("10.20.2.3:53"),
    )?;
    Ok(())
}

/// The endpoint has moved; nothing has the old address, off this node.
#[test]
fn entry_of_an_endpoint_that_has_moved() -> Result<()> {
    let stage = stage_with_entry_for("10.20.96.77:53")?;
    let report = ask(&stage, End::Silent)?;
    report.outcome("unanswered")?.verdict(
        &stale()
            .why("still translates 10.20.96.53:53 to 10.20.96.77:53")
            .why("lead to 10.20.2.3:53 now"),
    )?;
    Ok(())
}

/// The same on this node: the drop says that nothing answers at the old address.
#[test]
fn entry_of_a_pod_that_is_gone() -> Result<()> {
    let stage = stage_with_entry_for("10.20.2.99:53")?;
    let report = stage.trace(["node", "a", "b"], SERVICE, |watch| {
        let socket = watch
            .stage()
            .enter("a", || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)))?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        socket.send_to(b"anything but a query", SERVICE)?;
        watch.until_drop()
    })?;
    report.verdict(&stale().why("10.20.2.99:53"))?;
    Ok(())
}

/// All of them are dropped at once, and the kernel sends few events of one kind: the others were
/// counted only.
#[test]
fn burst_of_queries_to_a_pod_that_is_gone() -> Result<()> {
    const QUERIES: u16 = 5;
    let stage = stage_with_entry_for("10.20.2.99:53")?;
    let report = stage.trace(["node", "a", "b"], SERVICE, |watch| {
        let socket = watch
            .stage()
            .enter("a", || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)))?;
        for id in 0..QUERIES {
            socket.send_to(&query(id), SERVICE)?;
        }
        let mut rejected = HashSet::new();
        watch.until("all queries to be rejected", |record| {
            let attempt = record.as_attempt();
            let attempt = attempt.filter(|one| one.outcome == Outcome::Rejected);
            rejected.extend(attempt.and_then(|one| one.dns.as_ref()).map(|dns| dns.id));
            rejected.len() == usize::from(QUERIES)
        })
    })?;
    let expected = ExpectedVerdict::any_of(["conntrack", "endpoint"])
        .at_least("likely")
        .why("10.20.2.99")
        .never_says(["no host answers for 10.20.96.53"]);
    for attempt in report.trace().attempts() {
        let verdict = attempt.verdict.as_ref().context("a verdict")?;
        let wrong = expected.mismatch(verdict);
        ensure!(wrong.is_none(), "{wrong:?} in {verdict:?}");
    }
    Ok(())
}

/// A DNS query for an address of `shop.example`.
fn query(id: u16) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    bytes.extend(b"\x04shop\x07example\x00\x00\x01\x00\x01");
    bytes
}

#[test]
fn healthy() -> Result<()> {
    let stage = stage()?;
    make_entry(&stage)?;
    translate_to(&stage, "-A PREROUTING", "10.20.2.3:53")?;
    forget_entries(&stage)?;
    ask(&stage, End::Answered)?.silent()?;
    // An entry that the rules still agree with.
    ask(&stage, End::Answered)?.silent().map(drop)
}
