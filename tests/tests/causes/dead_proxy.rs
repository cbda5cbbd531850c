//! A TPROXY rule drops what no transparent socket of the proxy takes (istio/istio#8059).

use std::io;

use anyhow::Result;
use socket2::Socket;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

/// A node whose traffic from `a` to port 8080 goes to a proxy at port 15001.
fn proxied() -> Result<Stage> {
    let stage = Stage::routed_pods()?;
    stage.ip(
        "node",
        "rule add fwmark 0x200 lookup 2004; route add local 0.0.0.0/0 dev lo table 2004",
    )?;
    stage.exec(
        "node",
        "for p in tcp udp; do iptables -t mangle -A PREROUTING -i va -p $p --dport 8080:8081 \
         -j TPROXY --tproxy-mark 0x200/0xffffffff --on-ip 127.0.0.1 --on-port 15001; done",
    )?;
    stage.serve("b", "10.20.2.3:8080")?;
    Ok(stage)
}

fn proxy(stage: &Stage, set_up: impl FnOnce(&Socket) -> io::Result<()> + Send) -> Result<()> {
    stage.serve_with("node", "127.0.0.1:15001", set_up, |mut connection| {
        // The client may be gone by now.
        let _ = io::copy(
            &mut connection.try_clone().expect("a socket"),
            &mut connection,
        );
    })
}

fn dial(stage: &Stage, end: End) -> Result<Report> {
    stage.trace(["node", "a", "b"], "10.20.2.3:8080", |watch| {
        watch.dial("a", "10.20.2.3:8080")?.ends(end)
    })
}

fn dead() -> ExpectedVerdict {
    ExpectedVerdict::new("firewall", "likely")
        .why("127.0.0.1:15001")
        .why("rule 1 of chain PREROUTING in table mangle")
}

#[test]
fn proxy_is_not_there() -> Result<()> {
    let report = dial(&proxied()?, End::Silent)?;
    report
        .outcome("unanswered")?
        .verdict(&dead().why("where no socket listens").fix("start the proxy"))?;
    Ok(())
}

/// It listens, but only for the node's own addresses.
#[test]
fn proxy_is_not_transparent() -> Result<()> {
    let stage = proxied()?;
    proxy(&stage, |_| Ok(()))?;
    let report = dial(&stage, End::Silent)?;
    report
        .outcome("unanswered")?
        .verdict(&dead().why("IP_TRANSPARENT").fix("IP_TRANSPARENT"))?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    let stage = proxied()?;
    proxy(&stage, |socket| socket.set_ip_transparent_v4(true))?;
    dial(&stage, End::Answered)?.silent().map(drop)
}
