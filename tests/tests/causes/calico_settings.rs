//! Rules of Calico that drop for its own settings, and for no network policy (projectcalico/calico#4520).

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const POD: &str = "10.20.2.3:8080";
const NODE: &str = "10.20.1.1:9100";

/// The chains of felix on a node that knows these of its pods' interfaces.
fn workloads(known: &[&str]) -> Result<Stage> {
    let stage = Stage::routed_pods()?;
    stage.serve("b", POD)?;
    stage.serve("node", NODE)?;
    let known = known
        .iter()
        .map(|interface| format!("iptables -A cali-from-wl-dispatch -i {interface} -j RETURN\n"));
    stage.exec(
        "node",
        &format!(
            "for chain in FORWARD INPUT from-wl-dispatch wl-to-host; do iptables -N cali-$chain; done
             iptables -A FORWARD -m comment --comment cali:wUHhoiAYhphO9Mso -j cali-FORWARD
             iptables -A INPUT -m comment --comment cali:Cz_u1IQiXIMmKD4c -j cali-INPUT
             iptables -A cali-FORWARD -i v+ -j cali-from-wl-dispatch
             {}
             iptables -A cali-from-wl-dispatch -m comment --comment cali:zTj6P0TIgYvgz-md -m comment \
             --comment 'Unknown interface' -j DROP
             iptables -A cali-INPUT -i va -g cali-wl-to-host
             iptables -A cali-wl-to-host -p tcp --dport 10250 -j ACCEPT
             iptables -A cali-wl-to-host -m comment --comment cali:nSZbcOoG1xPONxb8 -m comment --comment \
             'Configured DefaultEndpointToHostAction' -j DROP",
            known.collect::<String>()
        ),
    )?;
    Ok(stage)
}

fn dial(stage: &Stage, peer: &str, end: End) -> Result<Report> {
    stage.trace(["node", "a", "b"], peer, |watch| {
        watch.dial("a", peer)?.ends(end)
    })
}

fn setting() -> ExpectedVerdict {
    ExpectedVerdict::new("firewall", "confirmed")
        .why("Calico")
        .never_says(["a network policy rule"])
}

#[test]
fn interface_is_unknown() -> Result<()> {
    let report = dial(&workloads(&["vb"])?, POD, End::Silent)?;
    report.verdict(
        &setting()
            .evidence("no workload endpoint for the interface va")
            .fix("calico-node"),
    )?;
    Ok(())
}

#[test]
fn pods_are_kept_from_their_node() -> Result<()> {
    let report = dial(&workloads(&["va", "vb"])?, NODE, End::Silent)?;
    report.verdict(
        &setting()
            .evidence("no network policy is involved")
            .fix("defaultEndpointToHostAction"),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    dial(&workloads(&["va", "vb"])?, POD, End::Answered)?
        .silent()
        .map(drop)
}
