//! A TPROXY rule leads to no transparent socket of the proxy (istio/istio#8059): that of iptables drops the
//! packet, and that of nft lets it go on with its mark.

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

/// The same by nft, whose rule marks the packet in front of its `tproxy`.
fn proxied_by_nft() -> Result<Stage> {
    let stage = Stage::routed_pods()?;
    stage.ip(
        "node",
        "rule add fwmark 0x200 lookup 2004; route add local 0.0.0.0/0 dev lo table 2004",
    )?;
    stage.exec(
        "node",
        "nft 'table ip proxy { chain pre { type filter hook prerouting priority mangle; iifname va tcp \
         dport 8080 meta mark set 0x200 tproxy to 127.0.0.1:15001 accept; }; }'",
    )?;
    stage.serve("b", "10.20.2.3:8080")?;
    Ok(stage)
}

fn untaken() -> ExpectedVerdict {
    ExpectedVerdict::new("firewall", "likely")
        .why("127.0.0.1:15001 (tproxy)")
        .why("its mark 0x200")
        .why("of chain pre in table ip proxy")
        .evidence("10.20.2.3 is no address of this namespace")
}

#[test]
fn proxy_of_nft_is_not_there() -> Result<()> {
    let report = dial(&proxied_by_nft()?, End::Silent)?;
    report.verdict(
        &untaken()
            .why("where no socket listens")
            .fix("start the proxy"),
    )?;
    Ok(())
}

#[test]
fn proxy_of_nft_is_not_transparent() -> Result<()> {
    let stage = proxied_by_nft()?;
    proxy(&stage, |_| Ok(()))?;
    let report = dial(&stage, End::Silent)?;
    report.verdict(&untaken().why("IP_TRANSPARENT").fix("IP_TRANSPARENT"))?;
    Ok(())
}

/// A closed port of the node's own, behind the same rule for other ports.
#[test]
fn closed_port_beside_a_proxy_of_nft() -> Result<()> {
    let stage = proxied_by_nft()?;
    let report = stage.trace(["node", "a", "b"], "10.20.1.1:8443", |watch| {
        watch.dial("a", "10.20.1.1:8443")?.ends(End::Refused)
    })?;
    report.outcome("refused")?.verdict(
        &ExpectedVerdict::new("socket", "confirmed")
            .why("port 8443")
            .never_says(["tproxy"]),
    )?;
    Ok(())
}

#[test]
fn healthy_by_nft() -> Result<()> {
    let stage = proxied_by_nft()?;
    proxy(&stage, |socket| socket.set_ip_transparent_v4(true))?;
    dial(&stage, End::Answered)?.silent().map(drop)
}
