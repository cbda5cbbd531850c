//! The FDB entry of another node's tunnel holds this node's own address: packets go around in the
//! tunnel until their TTL is used up (flannel-io/flannel#535).

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const SERVER: &str = "10.21.2.2:8080";

/// Two nodes with flannel's tunnels; the first one's FDB entry for the second leads to this address.
fn dial(remote: &str, is_answered: bool) -> Result<Report> {
    let stage = Stage::new(["n1", "n2", "p1", "p2"])?;
    stage.veth(("n1", "eth1"), ("n2", "eth1"))?;
    for (own, other) in [(1, 2), (2, 1)] {
        let (node, pod) = (format!("n{own}"), format!("p{own}"));
        let vtep = if own == 1 { remote } else { "10.20.10.1" };
        stage.veth((&pod, "eth0"), (&node, "v"))?;
        stage.ip(
            &node,
            &format!(
                "addr add 10.20.10.{own}/24 dev eth1; link add flannel.1 type vxlan id 1 dstport \
                 8472 nolearning; link set flannel.1 address 02:00:00:00:00:0{own} mtu 1450 up; \
                 addr add 10.21.{own}.0/32 dev flannel.1; addr add 10.21.{own}.1/24 dev v; route \
                 add 10.21.{other}.0/24 via 10.21.{other}.0 dev flannel.1 onlink; neigh add \
                 10.21.{other}.0 dev flannel.1 lladdr 02:00:00:00:00:0{other} nud permanent"
            ),
        )?;
        stage.exec(
            &node,
            &format!(
                "bridge fdb append 02:00:00:00:00:0{other} dev flannel.1 dst {vtep} self permanent"
            ),
        )?;
        stage.ip(
            &pod,
            &format!("addr add 10.21.{own}.2/24 dev eth0; route add default via 10.21.{own}.1"),
        )?;
        stage.sysctl(&node, "net.ipv4.ip_forward=1")?;
    }
    stage.serve("p2", SERVER)?;
    stage.trace(["n1", "p1"], SERVER, |watch| {
        let call = watch.dial("p1", SERVER)?;
        match is_answered {
            true => call.ends(End::Answered).map(drop),
            false => watch.until_drop(),
        }
    })
}

#[test]
fn entry_holds_the_own_address() -> Result<()> {
    dial("10.20.10.1", false)?.verdict(
        &ExpectedVerdict::new("overlay", "confirmed")
            .why("10.20.10.1, an address of this node itself")
            .why("02:00:00:00:00:02")
            .fix("--iface"),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    dial("10.20.10.2", true)?.silent().map(drop)
}
