//! Connects that the kernel refuses before a packet is sent: no probe at an interface sees anything.
//!
//! A kernel that lets no program look at the end of its functions skips them, and says so.

use std::{
    io::{self, Write as _},
    net::{SocketAddr, TcpStream},
    process::Command,
    time::Duration,
};

use anyhow::{Result, ensure};
use whydrop_tests::{
    expected::ExpectedVerdict,
    fault::CgroupDrop,
    incident::{End, Report, Stage, Watch},
    record::{Attempt, Outcome, Record},
};

/// A server in the next namespace.
const SERVER: &str = "10.20.1.1:8080";
/// Behind it, for all that the client knows.
const ELSEWHERE: &str = "10.30.0.9:8080";

/// A client and a server that share a link.
fn stage() -> Result<Stage> {
    let stage = Stage::with_ipv6(["client", "server"])?;
    stage.veth(("client", "eth0"), ("server", "eth0"))?;
    stage.ip(
        "client",
        "addr add 10.20.1.2/24 dev eth0; addr add fd00:20::2/64 dev eth0 nodad",
    )?;
    stage.ip(
        "server",
        "addr add 10.20.1.1/24 dev eth0; addr add fd00:20::1/64 dev eth0 nodad",
    )?;
    stage.serve("server", SERVER)?;
    Ok(stage)
}

/// Whether the trace sees failed connects at all.
fn sees(report: &Report) -> Result<bool> {
    let is_missing = report.trace().records.iter().any(|record| match record {
        Record::Started(started) => started
            .degraded
            .iter()
            .any(|sentence| sentence.contains("failing connects")),
        _ => false,
    });
    if is_missing {
        // Not by `eprintln!`, which the test harness captures.
        writeln!(
            io::stderr(),
            "skipped: this kernel shows no failing connects"
        )?;
    }
    Ok(!is_missing)
}

/// Tries to connect, in vain.
fn refused(watch: &mut Watch<'_>, to: &str) -> Result<()> {
    let server: SocketAddr = to.parse()?;
    let patience = Duration::from_secs(2);
    let connected = watch
        .stage()
        .enter("client", || TcpStream::connect_timeout(&server, patience));
    ensure!(connected.is_err(), "{to} was to be refused");
    Ok(())
}

/// Waits until such a failure is reported, where it can be seen at all.
fn until_unsent(watch: &mut Watch<'_>) -> Result<()> {
    if has_no_sight(watch)? {
        return Ok(());
    }
    watch.until("a connect that fails", |record| {
        record.as_attempt().is_some_and(is_unsent)
    })
}

/// A trace in which a connect to `to` fails. `None` where that cannot be seen.
fn fails(stage: &Stage, to: &str) -> Result<Option<Report>> {
    let report = stage.trace(["client"], to, |watch| {
        refused(watch, to)?;
        until_unsent(watch)
    })?;
    if !sees(&report)? {
        return Ok(None);
    }
    report.outcome("unsent")?;
    let attempts = report.attempts();
    let [attempt] = &attempts[..] else {
        anyhow::bail!("not one attempt, in\n{report}");
    };
    ensure!(
        attempt.syns == 0 && attempt.hops.is_empty() && attempt.process.is_some(),
        "{attempt:?}"
    );
    Ok(Some(report))
}

fn route(why: &str) -> ExpectedVerdict {
    ExpectedVerdict::new("route", "confirmed").why(why)
}

/// What is refused elsewhere leaves a connection beside it alone.
#[test]
fn healthy() -> Result<()> {
    let stage = stage()?;
    let report = stage.trace(["client", "server"], "10.0.0.0/8", |watch| {
        watch.dial("client", SERVER)?.ends(End::Answered)
    })?;
    report.silent().map(drop)
}

#[test]
fn no_route() -> Result<()> {
    let stage = stage()?;
    let Some(report) = fails(&stage, ELSEWHERE)? else {
        return Ok(());
    };
    report.verdict(
        &route("no route to 10.30.0.9")
            .evidence("got ENETUNREACH")
            .evidence("the kernel says now: 10.30.0.9: no route"),
    )?;
    Ok(())
}

#[test]
fn no_route_of_ipv6() -> Result<()> {
    let stage = stage()?;
    let Some(report) = fails(&stage, "[fd00:30::9]:8080")? else {
        return Ok(());
    };
    report.verdict(&route("no route to fd00:30::9"))?;
    Ok(())
}

/// Programs try IPv6 first, also without an IPv6 route (RFC 8305): a trace of everything does not report it.
#[test]
fn ipv6_that_the_filter_does_not_name() -> Result<()> {
    let stage = stage()?;
    let report = stage.trace(["client", "server"], "--all", |watch| {
        refused(watch, "[fd00:30::9]:8080")?;
        watch.dial("client", SERVER)?.ends(End::Answered)
    })?;
    report.silent().map(drop)
}

/// A route that refuses.
fn refusing(kind: &str, errno: &str) -> Result<()> {
    let stage = stage()?;
    stage.ip("client", &format!("route add {kind} 10.30.0.0/16"))?;
    let Some(report) = fails(&stage, ELSEWHERE)? else {
        return Ok(());
    };
    report.verdict(
        &route(&format!("the route {kind} 10.30.0.0/16"))
            .why("refuses what goes to 10.30.0.9")
            .evidence(errno)
            .fix("add a route to 10.30.0.9 that is more exact"),
    )?;
    Ok(())
}

#[test]
fn prohibited() -> Result<()> {
    refusing("prohibit", "EACCES")
}

#[test]
fn unreachable() -> Result<()> {
    refusing("unreachable", "EHOSTUNREACH")
}

#[test]
fn blackhole() -> Result<()> {
    refusing("blackhole", "EINVAL")
}

/// `ip rule add prohibit`: no route says it.
#[test]
fn policy_rule() -> Result<()> {
    let stage = stage()?;
    stage.ip(
        "client",
        "route add default via 10.20.1.1; rule add to 10.30.0.0/16 prohibit pref 100",
    )?;
    let Some(report) = fails(&stage, ELSEWHERE)? else {
        return Ok(());
    };
    report.verdict(
        &ExpectedVerdict::new("route", "confirmed")
            .why("the policy rule")
            .why("refuses what goes to 10.30.0.9")
            .fix("ip rule del pref 100"),
    )?;
    Ok(())
}

#[test]
fn broadcast_address() -> Result<()> {
    let stage = stage()?;
    let Some(report) = fails(&stage, "10.20.1.255:8080")? else {
        return Ok(());
    };
    report.verdict(&route("TCP does not connect to 10.20.1.255"))?;
    Ok(())
}

/// Leaves the client four local ports.
fn four_local_ports(stage: &Stage) -> Result<()> {
    let range = "/proc/sys/net/ipv4/ip_local_port_range";
    stage
        .exec("client", &format!("echo 50000 50003 >{range}"))
        .map(drop)
}

/// As many connections to one server as there are local ports.
#[test]
fn no_local_port_is_left() -> Result<()> {
    let stage = stage()?;
    four_local_ports(&stage)?;
    let report = stage.trace(["client", "server"], SERVER, |watch| {
        let server: SocketAddr = SERVER.parse()?;
        let connect = || TcpStream::connect_timeout(&server, Duration::from_secs(2));
        let connections: Vec<_> = watch
            .stage()
            .enter("client", || (0..5).map(|_| connect()).collect());
        let open = connections.iter().filter(|one| one.is_ok()).count();
        ensure!((2..=4).contains(&open), "{open} connections are open");
        until_unsent(watch)
    })?;
    if !sees(&report)? {
        return Ok(());
    }
    report.outcome("unsent")?.verdict(
        &ExpectedVerdict::new("socket", "confirmed")
            .why("no local port is left for a connection to 10.20.1.1:8080")
            .evidence("local ports from 50000 to 50003 have a connection to 10.20.1.1:8080")
            .evidence("EADDRNOTAVAIL")
            .fix("net.ipv4.ip_local_port_range"),
    )?;
    Ok(())
}

/// The same ports, and fewer connections than that.
#[test]
fn a_few_ports_are_enough() -> Result<()> {
    let stage = stage()?;
    four_local_ports(&stage)?;
    let report = stage.trace(["client", "server"], SERVER, |watch| {
        watch.dial("client", SERVER)?.ends(End::Answered)?;
        watch.dial("client", SERVER)?.ends(End::Answered)
    })?;
    report.silent().map(drop)
}

fn is_unsent(attempt: &Attempt) -> bool {
    attempt.outcome == Outcome::Unsent
}

fn has_no_sight(watch: &mut Watch<'_>) -> Result<bool> {
    watch.has_seen(|record| match record {
        Record::Started(started) => started
            .degraded
            .iter()
            .any(|sentence| sentence.contains("failing connects")),
        _ => false,
    })
}

/// A program of the client's control group decides about its connects.
#[test]
fn program_of_a_control_group() -> Result<()> {
    let stage = stage()?;
    let mut group = CgroupDrop::create()?;
    let connect = format!(
        "echo $$ > {} && exec busybox nc -w 2 10.20.1.1 8080 </dev/null",
        group.procs().display()
    );
    let connect = |stage: &Stage| {
        let run = || Command::new("sh").args(["-c", &connect]).status();
        let status = stage.enter("client", run)?;
        anyhow::Ok(status.success())
    };
    let report = stage.trace(["client", "server"], SERVER, |watch| {
        ensure!(connect(watch.stage())?, "no connection while all was well");
        group.refuse_connects()?;
        ensure!(
            !connect(watch.stage())?,
            "a connection in spite of the program"
        );
        until_unsent(watch)
    })?;
    if !sees(&report)? {
        return Ok(());
    }
    report.outcome("unsent")?.verdict(
        &ExpectedVerdict::new("firewall", "confirmed")
            .why("a cgroup program refused the connect to 10.20.1.1:8080")
            .evidence("EPERM"),
    )?;
    Ok(())
}
