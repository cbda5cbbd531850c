//! A tunnel's packet with a wrong outer checksum, as of a NIC that computes it wrong: what is inside is
//! not looked at.

use std::net::SocketAddrV4;

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{Report, Stage},
    traffic::{Flow, ForgedSegment, Protocol},
};

const SERVER: &str = "10.21.1.2:8080";

/// A SYN inside of VXLAN, with this UDP checksum.
fn dial(sum: u16) -> Result<Report> {
    let stage = Stage::new(["n1", "n2"])?;
    stage.veth(("n1", "eth1"), ("n2", "eth1"))?;
    for (own, other, macs) in [(1, 2, ["04", "02"]), (2, 1, ["02", "04"])] {
        let [mac, far] = macs.map(|byte| [byte; 6].join(":"));
        stage.ip(
            &format!("n{own}"),
            &format!(
                "addr add 10.20.10.{own}/24 dev eth1; link add vx type vxlan id 1 dstport 4789 remote \
                 10.20.10.{other}; link set vx address {mac} mtu 1450 up; addr add \
                 10.21.1.{own}/24 dev vx; neigh add 10.21.1.{other} dev vx lladdr {far}"
            ),
        )?;
    }
    stage.serve("n2", SERVER)?;
    let segment = ForgedSegment::syn(
        Flow {
            protocol: Protocol::Tcp,
            src: "10.21.1.1:40000".parse()?,
            dst: SERVER.parse()?,
        },
        7,
    )?;
    let ends: (SocketAddrV4, SocketAddrV4) =
        ("10.20.10.1:50000".parse()?, "10.20.10.2:4789".parse()?);
    stage.trace(["n2"], SERVER, |watch| {
        let from = watch.stage().namespace("n1");
        segment
            .with_checksum()
            .send_in_vxlan_with(from, ends, sum)?;
        match sum {
            0 => watch.until("an outcome", |record| record.as_attempt().is_some()),
            _ => watch.until_drop(),
        }
    })
}

#[test]
fn outer_checksum_is_wrong() -> Result<()> {
    dial(0x1234)?.verdict(
        &ExpectedVerdict::new("checksum", "confirmed")
            .why("the outer UDP checksum of VXLAN from 10.20.10.1 is wrong")
            .evidence("the packet inside was not looked at yet")
            .fix("ethtool -K vx tx-checksum-ip-generic off"),
    )?;
    Ok(())
}

/// Without a checksum, nothing is wrong.
#[test]
fn healthy() -> Result<()> {
    dial(0)?.silent().map(drop)
}
