//! Without conntrack, rules see fragments, of which only the first one has ports: a rule by ports lets that
//! one pass, and none of the others (cilium/cilium#9755).

use std::net::UdpSocket;

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{Report, Stage},
};

const SERVER: &str = "10.20.2.3:4433";

fn trace(policy: &str) -> Result<Report> {
    let stage = Stage::routed_pods()?;
    stage.exec(
        "node",
        &format!(
            "iptables -t raw -A PREROUTING -j CT --notrack
             iptables -A FORWARD -p udp --dport 4433 -j ACCEPT
             iptables -A FORWARD -p udp --sport 4433 -j ACCEPT
             iptables -P FORWARD {policy}"
        ),
    )?;
    stage.serve_udp("b", SERVER)?;
    // The filter has no port, as the fragments have none.
    stage.trace(["node", "a"], "10.20.2.3 --proto udp", |watch| {
        let socket = stage.enter("a", || UdpSocket::bind("10.20.1.2:0"))?;
        socket.set_read_timeout(Some(whydrop_tests::deadline()))?;
        socket.send_to(&[7; 2000], SERVER)?;
        match policy {
            "DROP" => watch.until_drop(),
            _ => Ok(socket.recv(&mut [0; 4096]).map(drop)?),
        }
    })
}

#[test]
fn rule_by_ports_takes_the_first_one_only() -> Result<()> {
    trace("DROP")?.verdict(
        &ExpectedVerdict::new("firewall", "confirmed")
            .why("drop policy of chain FORWARD")
            .evidence("it is a fragment behind the first one, which has no ports"),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    trace("ACCEPT")?.silent().map(drop)
}
