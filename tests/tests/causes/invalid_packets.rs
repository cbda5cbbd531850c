//! A rule drops what conntrack calls invalid, and conntrack's entry of the connection says why: the
//! answers take another way (kubernetes/kubernetes#94861), or there is no entry any more.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
    traffic::{Outcome, TcpAttempt},
};

const SERVER: &str = "10.20.2.9:8080";

/// The client's way leads by the node, and so does the server's, or by another router.
fn stage(is_symmetric: bool) -> Result<Stage> {
    let stage = Stage::new(["cl", "node", "other", "srv"])?;
    stage.veth(("cl", "eth0"), ("node", "v0"))?;
    stage.veth(("node", "v1"), ("srv", "eth0"))?;
    stage.veth(("srv", "eth1"), ("other", "e0"))?;
    stage.veth(("other", "e1"), ("cl", "eth1"))?;
    stage.ip("cl", "addr add 10.20.1.2/24 dev eth0; addr add 10.20.4.2/24 dev eth1; route add 10.20.2.0/24 via 10.20.1.1")?;
    stage.ip(
        "node",
        "addr add 10.20.1.1/24 dev v0; addr add 10.20.2.1/24 dev v1",
    )?;
    stage.ip("other", "addr add 10.20.3.1/24 dev e0; addr add 10.20.4.1/24 dev e1; route add 10.20.1.2/32 via 10.20.4.2")?;
    stage.ip(
        "srv",
        "addr add 10.20.2.9/24 dev eth0; addr add 10.20.3.9/24 dev eth1",
    )?;
    let back = match is_symmetric {
        true => "route add 10.20.1.0/24 via 10.20.2.1",
        false => "route add 10.20.1.2/32 via 10.20.3.1",
    };
    stage.ip("srv", back)?;
    for role in ["node", "other"] {
        stage.sysctl(role, "net.ipv4.ip_forward=1")?;
    }
    for role in ["cl", "srv", "other", "node"] {
        stage.sysctl(role, "net.ipv4.conf.all.rp_filter=0")?;
    }
    stage.exec(
        "node",
        "iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP",
    )?;
    stage.serve("srv", SERVER)?;
    Ok(stage)
}

fn trace(is_symmetric: bool, end: End) -> Result<Report> {
    stage(is_symmetric)?.trace(["node"], SERVER, |watch| {
        watch.dial("cl", SERVER)?.ends(end)
    })
}

fn invalid() -> ExpectedVerdict {
    ExpectedVerdict::any_of(["conntrack"])
        .at_least("confirmed")
        .why("conntrack calls the packet invalid")
}

#[test]
fn answers_take_another_way() -> Result<()> {
    trace(false, End::Silent)?.verdict(
        &invalid()
            .evidence("no answer: the answers take another way")
            .fix("both directions"),
    )?;
    Ok(())
}

/// The table was flushed, and what goes on without a SYN is no connection.
#[test]
fn entry_was_flushed() -> Result<()> {
    let stage = stage(true)?;
    stage.sysctl("node", "net.netfilter.nf_conntrack_tcp_loose=0")?;
    let report = stage.trace(["node"], SERVER, |watch| {
        let peer = SERVER.parse()?;
        let attempt = TcpAttempt::start(watch.stage().namespace("cl"), None, peer)?;
        let Outcome::Connected(mut connection) = attempt.outcome(whydrop_tests::deadline())? else {
            anyhow::bail!("no connection");
        };
        watch.stage().exec("node", "conntrack -F")?;
        std::io::Write::write_all(&mut connection, b"hello")?;
        watch.until_drop()
    })?;
    report.verdict(&invalid().evidence("conntrack has no entry of its connection"))?;
    Ok(())
}

/// Without a rule that needs it, conntrack gives no packet an entry: the answer is not invalid for that.
#[test]
fn conntrack_is_not_in_use() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.serve("b", "10.20.2.3:8080")?;
    stage.exec("b", "nft 'table ip f { chain out { type filter hook output priority 0; tcp sport 8080 drop; }; }'")?;
    let report = stage.trace(["b"], "10.20.2.3:8080", |watch| {
        watch.dial("a", "10.20.2.3:8080")?.ends(End::Silent)
    })?;
    report.verdict(
        &ExpectedVerdict::new("firewall", "confirmed")
            .why("tcp sport 8080 drop")
            .fix("accept"),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    trace(true, End::Answered)?.silent().map(drop)
}
