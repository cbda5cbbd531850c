//! `nft flush ruleset` took Docker's rules with it: containers send from addresses that no router beyond the
//! node knows (moby/moby#12294).

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

/// Beyond the node, where no host answers.
const SERVER: &str = "203.0.113.9:443";

/// A container behind docker0, and a host at the node's uplink that has no route back to it.
fn container() -> Result<Stage> {
    let stage = Stage::new(["pod", "node", "host"])?;
    stage.ip("node", "link add docker0 type bridge; link set docker0 up")?;
    stage.veth(("pod", "eth0"), ("node", "vp"))?;
    stage.veth(("host", "eth0"), ("node", "eth0"))?;
    stage.ip(
        "node",
        "link set vp master docker0; addr add 172.20.0.1/16 dev docker0; addr add 10.20.10.5/24 dev eth0; \
         route add default via 10.20.10.1; neigh add 10.20.10.1 lladdr 02:00:00:00:00:01 dev eth0",
    )?;
    stage.ip(
        "pod",
        "addr add 172.20.0.2/16 dev eth0; route add default via 172.20.0.1",
    )?;
    stage.ip("host", "addr add 10.20.10.9/24 dev eth0")?;
    stage.sysctl("node", "net.ipv4.ip_forward=1")?;
    stage.serve("host", "10.20.10.9:443")?;
    Ok(stage)
}

fn masquerade(stage: &Stage) -> Result<()> {
    let rule = "iptables -t nat -A POSTROUTING -s 172.20.0.0/16 ! -o docker0 -j MASQUERADE";
    stage.exec("node", rule).map(drop)
}

fn dial(stage: &Stage, peer: &str, end: End) -> Result<Report> {
    stage.trace(["node", "pod"], peer, |watch| {
        watch.dial("pod", peer)?.ends(end)
    })
}

#[test]
fn source_is_behind_the_bridge() -> Result<()> {
    dial(&container()?, SERVER, End::Silent)?.verdict(
        &ExpectedVerdict::new("off-node", "likely")
            .evidence("its source is 172.20.0.2 still, which is behind docker0")
            .fix("masquerade what 172.20.0.0/16 sends"),
    )?;
    Ok(())
}

/// It is masqueraded, and no answer comes for another reason.
#[test]
fn source_is_translated() -> Result<()> {
    let stage = container()?;
    masquerade(&stage)?;
    dial(&stage, SERVER, End::Silent)?.verdict(
        &ExpectedVerdict::new("off-node", "likely")
            .why("left this node by eth0")
            .fix("security group")
            .never_says(["masquerade"]),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    let stage = container()?;
    masquerade(&stage)?;
    dial(&stage, "10.20.10.9:443", End::Answered)?
        .silent()
        .map(drop)
}
