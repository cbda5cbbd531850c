//! SYNPROXY makes the handshake in the server's place, with timestamps of its own, and where its rule is
//! missing, the exemption from tracking in front of it stays.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const SERVER: &str = "10.20.2.3:8080";

fn trace(rule: &str, end: End) -> Result<Report> {
    let stage = Stage::routed_pods()?;
    stage.sysctl(
        "node",
        "net.netfilter.nf_conntrack_tcp_loose=0 net.ipv4.tcp_syncookies=1",
    )?;
    stage.exec(
        "node",
        &format!(
            "iptables -t raw -A PREROUTING -i va -p tcp --syn --dport 8080 -j CT --notrack
             {rule}
             iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP"
        ),
    )?;
    stage.serve("b", SERVER)?;
    stage.trace(["node", "a", "b"], SERVER, |watch| {
        watch.dial("a", SERVER)?.ends(end)
    })
}

#[test]
fn rule_is_missing() -> Result<()> {
    trace("true", End::Silent)?.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("conntrack", "confirmed")
            .why("conntrack calls the packet invalid")
            .fix("first packet of the connection"),
    )?;
    Ok(())
}

/// The server gets an ACK that echoes a timestamp of the proxy's, and drops it.
#[test]
fn healthy() -> Result<()> {
    let rule = "iptables -A FORWARD -i va -p tcp --dport 8080 -m conntrack --ctstate INVALID,UNTRACKED \
                -j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460";
    trace(rule, End::Answered)?.silent().map(drop)
}
