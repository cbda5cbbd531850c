//! Answers that come back to the interface of the client, and are dropped behind it: the handshake fails,
//! though the SYN-ACK was seen.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const SERVER: &str = "10.20.2.3:8080";
const MARK: &str = "0x80000";

/// A VPN's policy rules on the client, as Tailscale makes them: what has no mark leaves by the tunnel
/// (tailscale/tailscale#19537). Its packets get the mark, and the answers get it back.
fn vpn(looks_at_marks: bool) -> Result<Stage> {
    let mut stage = Stage::routed_pods()?;
    stage.add("vpn")?;
    stage.veth(("vpn", "eth0"), ("a", "tun0"))?;
    stage.serve("b", SERVER)?;
    stage.ip(
        "a",
        &format!(
            "rule add pref 5200 to 10.20.1.0/24 lookup main; rule add pref 5210 fwmark {MARK}/0xff0000 \
             lookup main; rule add pref 5270 lookup 52; route add default dev tun0 table 52"
        ),
    )?;
    stage.sysctl(
        "a",
        &format!(
            "net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.all.src_valid_mark={}",
            u8::from(looks_at_marks)
        ),
    )?;
    let mask = "--nfmask 0xff0000 --ctmask 0xff0000";
    stage.exec(
        "a",
        &format!(
            "iptables -t mangle -A PREROUTING -j CONNMARK --restore-mark {mask}
             iptables -t mangle -A OUTPUT -p tcp --dport 8080 -j MARK --set-mark {MARK}
             iptables -t mangle -A OUTPUT -j CONNMARK --save-mark {mask}
             iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE"
        ),
    )?;
    Ok(stage)
}

fn dial(stage: &Stage, end: End) -> Result<Report> {
    stage.trace(["a"], SERVER, |watch| {
        let ended = watch.dial("a", SERVER)?.ends(end);
        if end != End::Answered {
            watch.until("the outcome", |record| {
                let attempt = record.as_attempt();
                attempt.is_some_and(|attempt| attempt.outcome.name() == "unanswered")
            })?;
        }
        ended
    })
}

#[test]
fn reverse_path_filter_does_not_look_at_the_mark() -> Result<()> {
    dial(&vpn(false)?, End::Silent)?
        .outcome("unanswered")?
        .verdict(
            &ExpectedVerdict::new("rpfilter", "confirmed")
                .evidence("by its mark 0x80000, it leaves through eth0")
                .fix("net.ipv4.conf.all.src_valid_mark=1"),
        )?;
    Ok(())
}

#[test]
fn healthy_by_its_mark() -> Result<()> {
    dial(&vpn(true)?, End::Answered)?.silent().map(drop)
}

/// A firewall of the client's own admits no answers.
#[test]
fn rule_in_input_drops_the_answer() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.serve("b", SERVER)?;
    stage.exec("a", "iptables -P INPUT DROP")?;
    dial(&stage, End::Silent)?.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("firewall", "confirmed")
            .why("policy of chain INPUT")
            .fix("-A INPUT"),
    )?;
    Ok(())
}

/// The rules drop a copy only: the client has its answer.
#[test]
fn healthy_behind_a_limit() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.serve("b", SERVER)?;
    stage.exec(
        "a",
        "iptables -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT; iptables -P INPUT DROP",
    )?;
    dial(&stage, End::Answered)?.silent().map(drop)
}
