//! A firewall accepts what is established, and conntrack does not call the connection that: its entry is
//! gone, or a rule exempts its packets from tracking (kubernetes/kubernetes#94861, moby/moby#31208).

use std::io::{Read as _, Write as _};

use anyhow::{Result, bail};
use whydrop_tests::{
    deadline,
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
    poll_until,
    traffic::{Outcome, TcpAttempt},
};

const SERVER: &str = "10.20.2.3:8080";

/// A node that lets in what a client begins, and what is established.
fn stage() -> Result<Stage> {
    let stage = Stage::routed_pods()?;
    stage.exec(
        "node",
        "iptables -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
         iptables -A FORWARD -i va -p tcp --syn -m conntrack --ctstate NEW -j ACCEPT
         iptables -A FORWARD -j DROP",
    )?;
    stage.serve("b", SERVER)?;
    Ok(stage)
}

/// One exchange, and another one after `happens`, which gets no answer where a rule drops it.
fn talk(
    stage: &Stage,
    is_dropped: bool,
    happens: impl FnOnce(&Stage) -> Result<()>,
) -> Result<Report> {
    stage.trace(["node", "a", "b"], SERVER, |watch| {
        let attempt = TcpAttempt::start(stage.namespace("a"), None, SERVER.parse()?)?;
        let flow = attempt.flow();
        let Outcome::Connected(mut connection) = attempt.outcome(deadline())? else {
            bail!("no connection");
        };
        connection.set_read_timeout(Some(deadline()))?;
        watch.until_reported(flow)?;
        happens(stage)?;
        connection.write_all(b"hello")?;
        if is_dropped {
            return watch.until_drop();
        }
        connection.read_exact(&mut [0; 5])?;
        drop(connection);
        watch.until_all_closed()
    })
}

/// Its last segment, a FIN, is invalid without an entry, and dropped there, too.
fn forgotten() -> ExpectedVerdict {
    ExpectedVerdict::new("conntrack", "confirmed")
        .why("the first packet of a connection (NEW), though it is a later one")
        .why("rule 3 of chain FORWARD")
        .evidence("were it ESTABLISHED for conntrack, no rule at this hook would drop it")
}

#[test]
fn idle_connection_is_forgotten() -> Result<()> {
    let stage = stage()?;
    stage.sysctl(
        "node",
        "net.netfilter.nf_conntrack_tcp_timeout_established=1",
    )?;
    // The kernel removes it by itself, and notifies no process.
    let report = talk(&stage, true, |stage| {
        poll_until("the entry to expire", || {
            let entries = stage.exec("node", "conntrack -L -p tcp 2>/dev/null");
            entries
                .is_ok_and(|entries| entries.is_empty())
                .then_some(())
        })
    })?;
    report.verdict(
        &forgotten()
            .evidence("are kept for 1 s here")
            .fix("nf_conntrack_tcp_timeout_established=432000"),
    )?;
    Ok(())
}

#[test]
fn table_is_flushed() -> Result<()> {
    let stage = stage()?;
    let report = talk(&stage, true, |stage| {
        stage.exec("node", "conntrack -F").map(drop)
    })?;
    report.verdict(&forgotten().fix("keepalives"))?;
    Ok(())
}

#[test]
fn answers_are_exempted_from_tracking() -> Result<()> {
    let stage = stage()?;
    stage.exec(
        "node",
        "iptables -t raw -A PREROUTING -p tcp --sport 8080 -j CT --notrack",
    )?;
    let report = stage.trace(["node", "a", "b"], SERVER, |watch| {
        watch.dial("a", SERVER)?.ends(End::Silent)
    })?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("conntrack", "confirmed")
            .why("a rule exempts it from tracking")
            .why("rule 1 of chain PREROUTING in table raw")
            .why("rule 3 of chain FORWARD")
            .fix("notrack"),
    )?;
    Ok(())
}

/// The rule drops it in whatever state it is.
#[test]
fn rule_drops_whatever_the_state() -> Result<()> {
    let stage = stage()?;
    stage.exec(
        "node",
        "iptables -I FORWARD 1 -p tcp --dport 8080 --tcp-flags PSH PSH -j DROP
         iptables -t raw -A PREROUTING -p tcp --dport 8080 --tcp-flags PSH PSH -j CT --notrack",
    )?;
    let report = talk(&stage, true, |_| Ok(()))?;
    report.verdict(
        &ExpectedVerdict::new("firewall", "confirmed")
            .why("rule 1 of chain FORWARD")
            .fix("-I FORWARD 1")
            .never_says(["ESTABLISHED for conntrack"]),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    talk(&stage()?, false, |_| Ok(()))?.silent().map(drop)
}
