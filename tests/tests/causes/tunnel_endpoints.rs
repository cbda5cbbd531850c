//! A rule drops a tunnel's packets, and what the node's tunnels say of where they come from: of one with
//! a remote, all; of one that takes its remotes from routes or programs, nothing.

use std::{net::TcpStream, time::Duration};

use anyhow::{Result, ensure};
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const SERVER: &str = "10.21.1.2:8080";
const STRANGE: &str = "no tunnel of this namespace leads to 10.20.10.1, which sent it";
const UNKNOWN: &str = "do not show whether that is a tunnel endpoint";

/// Two nodes with a tunnel between them: what each one's is created with, and what the second one
/// drops.
fn dial(kinds: &[String; 2], drops: Option<&str>) -> Result<Report> {
    let stage = Stage::new(["n1", "n2"])?;
    stage.veth(("n1", "eth1"), ("n2", "eth1"))?;
    for ((own, other), kind) in [(1, 2), (2, 1)].into_iter().zip(kinds) {
        let encap = match kind.contains("external") {
            true => format!("encap ip id 7 dst 10.20.10.{other}"),
            false => String::new(),
        };
        let mut commands = format!(
            "addr add 10.20.10.{own}/24 dev eth1; link add tun1 type {kind}; addr add \
             10.21.1.{own}/32 dev tun1; link set tun1 mtu 1400 up; route add 10.21.1.{other}/32 \
             {encap} dev tun1"
        );
        if !kind.starts_with("ipip") {
            commands += &format!(
                "; link set tun1 address 02:00:00:00:00:0{own}; neigh add 10.21.1.{other} dev tun1 \
                 lladdr 02:00:00:00:00:0{other}"
            );
        }
        stage.ip(&format!("n{own}"), &commands)?;
    }
    stage.serve("n2", SERVER)?;
    if let Some(rule) = drops {
        stage.exec(
            "n2",
            &format!(
                "nft 'table ip own {{ chain in {{ type filter hook input priority 0; {rule} drop; \
                 }}; }}'"
            ),
        )?;
    }
    stage.trace(["n2"], SERVER, |watch| {
        if drops.is_none() {
            return watch.dial("n1", SERVER)?.ends(End::Answered).map(drop);
        }
        // What comes from a stranger opens no attempt: the drop is all that is reported.
        let server = SERVER.parse()?;
        let patience = Duration::from_secs(1);
        let connected = watch
            .stage()
            .enter("n1", || TcpStream::connect_timeout(&server, patience));
        ensure!(connected.is_err(), "the rule drops the tunnel's packets");
        watch.until_drop()
    })
}

/// Kinds of tunnels, with the rule that drops their packets. Not every kernel has them all.
const KINDS: [(&str, &str, &str); 3] = [
    ("vxlan dstport 4789", "id 7", "udp dport 4789"),
    ("geneve", "id 7", "udp dport 6081"),
    ("ipip", "", "ip protocol ipip"),
];

/// Runs a test with each kind of tunnel that this kernel has.
fn each(run: impl Fn(&str, &str, &str) -> Result<()>) -> Result<()> {
    let probe = Stage::new(["n1"])?;
    for (kind, id, rule) in KINDS {
        let is_there = probe.ip(
            "n1",
            &format!("link add probe type {kind} external; link del probe"),
        );
        if is_there.is_ok() {
            run(kind, id, rule)?;
        }
    }
    Ok(())
}

fn filtered(confidence: &'static str) -> ExpectedVerdict {
    ExpectedVerdict::new("overlay", confidence).why("drops the overlay's own packets")
}

/// The remote is that of the tunnel: the packets belong to it, and may be let in.
#[test]
fn tunnel_with_a_remote_is_filtered() -> Result<()> {
    each(|kind, id, rule| {
        let kinds = [2, 1].map(|other| format!("{kind} {id} remote 10.20.10.{other}"));
        dial(&kinds, None)?.silent()?;
        dial(&kinds, Some(rule))?.verdict(
            &filtered("confirmed")
                .fix("ip saddr 10.20.10.1")
                .never_says([STRANGE, UNKNOWN]),
        )?;
        Ok(())
    })
}

/// Any host can send what looks like the packets of a tunnel that leads elsewhere.
#[test]
fn tunnel_with_another_remote_knows_no_such_endpoint() -> Result<()> {
    each(|kind, id, rule| {
        let kinds = [2, 9].map(|other| format!("{kind} {id} remote 10.20.10.{other}"));
        dial(&kinds, Some(rule))?.verdict(&filtered("likely").evidence(STRANGE))?;
        Ok(())
    })
}

/// Routes or programs choose the remote of each packet: no tunnel says where packets come from.
#[test]
fn external_tunnel_knows_of_no_endpoint() -> Result<()> {
    each(|kind, _, rule| {
        let kinds = [(); 2].map(|()| format!("{kind} external"));
        dial(&kinds, None)?.silent()?;
        let expected = filtered("likely").evidence(UNKNOWN).never_says([STRANGE]);
        dial(&kinds, Some(rule))?.verdict(&expected)?;
        Ok(())
    })
}
