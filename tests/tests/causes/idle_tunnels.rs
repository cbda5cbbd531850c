//! A tunnel device that is down beside a missing route that was never by it, such as one that another
//! network plugin left behind.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const SERVER: &str = "10.20.3.3:8080";

/// A pod behind a node, and a peer that has a pod's address. The node has an old VXLAN device.
fn migrated(device: &str) -> Result<Stage> {
    let stage = Stage::new(["a", "node", "peer"])?;
    stage.veth(("a", "eth0"), ("node", "va"))?;
    stage.veth(("peer", "eth0"), ("node", "eth0"))?;
    stage.ip(
        "a",
        "addr add 10.20.2.2/24 dev eth0; route add default via 10.20.2.1",
    )?;
    stage.ip(
        "node",
        &format!(
            "addr add 10.20.2.1/24 dev va; addr add 192.168.1.1/24 dev eth0; link add flannel.1 type \
             vxlan id 1 dstport 8472 local 192.168.1.1 nolearning; {device}"
        ),
    )?;
    stage.sysctl("node", "net.ipv4.ip_forward=1")?;
    stage.ip(
        "peer",
        "addr add 192.168.1.2/24 dev eth0; addr add 10.20.3.3/32 dev lo; route add 10.20.2.0/24 via \
         192.168.1.1",
    )?;
    stage.serve("peer", SERVER)?;
    Ok(stage)
}

const OWN_ADDRESS: &str = "addr add 10.20.2.0/32 dev flannel.1";

fn peer(stage: &Stage) -> Result<()> {
    stage
        .exec(
            "node",
            "bridge fdb append 02:00:00:00:0a:02 dev flannel.1 dst 192.168.1.2",
        )
        .map(drop)
}

fn lost(stage: &Stage, to: &'static str) -> Result<Report> {
    stage.trace(["node"], to, |watch| {
        watch.dial("a", to)?;
        watch.until_drop()
    })
}

fn blames_the_route(report: &Report, because: &str) -> Result<()> {
    report
        .verdict(
            &ExpectedVerdict::any_of(["route"])
                .at_least("likely")
                .why("no route to")
                .evidence("the tunnel device flannel.1 is down")
                .evidence(because)
                .never_says(["link set dev flannel.1 up", "its routes went with it"]),
        )
        .map(drop)
}

#[test]
fn it_has_no_peer() -> Result<()> {
    let stage = migrated(OWN_ADDRESS)?;
    blames_the_route(&lost(&stage, SERVER)?, "it has no remote VTEP")
}

#[test]
fn the_destination_is_outside() -> Result<()> {
    let stage = migrated(OWN_ADDRESS)?;
    peer(&stage)?;
    let report = lost(&stage, "198.51.100.9:443")?;
    blames_the_route(&report, "none of its addresses is of that network")
}

#[test]
fn other_peers_have_routes_by_another_device() -> Result<()> {
    let stage = migrated(OWN_ADDRESS)?;
    peer(&stage)?;
    stage.ip(
        "node",
        "route add 10.20.4.0/24 via 192.168.1.4 dev eth0 proto bird",
    )?;
    blames_the_route(
        &lost(&stage, SERVER)?,
        "10.20.4.0/24 via 192.168.1.4 dev eth0",
    )
}

/// With a peer and an address of the network, it is the tunnel's fault.
#[test]
fn it_did_lead_there() -> Result<()> {
    let stage = migrated(OWN_ADDRESS)?;
    peer(&stage)?;
    lost(&stage, SERVER)?.verdict(
        &ExpectedVerdict::new("overlay", "likely")
            .why("the tunnel device flannel.1 is down")
            .fix("ip link set dev flannel.1 up"),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    let stage = migrated(OWN_ADDRESS)?;
    stage.ip("node", "route add 10.20.3.0/24 via 192.168.1.2 proto bird")?;
    let report = stage.trace(["node"], SERVER, |watch| {
        watch.dial("a", SERVER)?.ends(End::Answered).map(drop)
    })?;
    report.silent().map(drop)
}
